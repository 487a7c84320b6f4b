#include "model/call.hpp"

#include <algorithm>
#include <utility>

namespace aotbuild::detail {

Range range_of(const aotbuild_tensor& tensor, ScalarType dtype) {
  const auto* begin = static_cast<const char*>(data_of(tensor));
  if (std::find(tensor.shape, tensor.shape + tensor.ndim, 0) != tensor.shape + tensor.ndim) return {};
  std::int64_t last = 0;
  std::int64_t count = 1;
  for (std::int32_t d = tensor.ndim - 1; d >= 0; --d) {
    const std::int64_t size = tensor.shape[d];
    if (size != 1) last += (size - 1) * (tensor.strides != nullptr ? tensor.strides[d] : count);
    count *= size;
  }
  return {begin, begin + (last + 1) * static_cast<std::int64_t>(element_size(dtype))};
}

TensorPtr make_given(const aotbuild_tensor& tensor, ScalarType dtype, std::size_t nbytes) {
  if (tensor.strides == nullptr) {
    return make_borrowed(data_of(tensor), nbytes, dtype, tensor.ndim, tensor.shape, nullptr, tensor.device);
  }
  SmallArray<std::int64_t, 8> strides(static_cast<std::size_t>(tensor.ndim));
  contiguous_strides(tensor.ndim, tensor.shape, strides.data());
  if (std::find(tensor.shape, tensor.shape + tensor.ndim, 0) == tensor.shape + tensor.ndim) {
    for (std::int32_t d = 0; d < tensor.ndim; ++d) {
      if (tensor.shape[d] != 1) strides[static_cast<std::size_t>(d)] = tensor.strides[d];
    }
  }
  return make_borrowed(data_of(tensor), nbytes, dtype, tensor.ndim, tensor.shape, strides.data(), tensor.device);
}

Tensor& checked_output(const CheckedCall& call, OwnedHandles& handles, std::size_t i) {
  Tensor* made = handles[i];
  const TensorChecker& checker = call.signature.outputs[i];
  const char* name = checker.info().name;
  if (made == nullptr || made->storage == nullptr) fail("aotbuild_model_run", "output '", name, "' was not made");
  if (made->dtype != checker.dtype() || made->ndim != checker.info().ndim) {
    fail("aotbuild_model_run", "output '", name, "' was made as ", dtype_name(made->dtype), " of sizes ",
         format_dims(made->ndim, made->sizes()));
  }
  const aotbuild_tensor& wanted = call.outputs[i];
  if (wanted.data != nullptr && !std::equal(made->sizes(), made->sizes() + made->ndim, wanted.shape)) {
    fail(AOTBUILD_INVALID_ARGUMENT, "output '", name, "' has sizes ", format_dims(made->ndim, made->sizes()),
         ", but the given buffer has ", format_dims(wanted.ndim, wanted.shape));
  }
  return *made;
}

bool has_promised_strides(const aotbuild_tensor_info& info, const Tensor& tensor) {
  if (info.strides == nullptr) return is_contiguous(tensor);
  for (std::int32_t d = 0; d < tensor.ndim; ++d) {
    if (tensor.sizes()[d] > 1 && info.strides[d] != -1 && info.strides[d] != tensor.strides()[d]) return false;
  }
  return true;
}

std::vector<std::int64_t> copy_strides(const aotbuild_tensor_info& info, const Tensor& tensor) {
  std::vector<std::int64_t> strides(static_cast<std::size_t>(tensor.ndim));
  contiguous_strides(tensor.ndim, tensor.sizes(), strides.data());
  if (info.strides == nullptr) return strides;
  const bool varies = std::find(info.strides, info.strides + tensor.ndim, -1) != info.strides + tensor.ndim;
  if (!varies) {
    strides.assign(info.strides, info.strides + tensor.ndim);
  } else if (is_dense(tensor)) {
    strides.assign(tensor.strides(), tensor.strides() + tensor.ndim);
  }
  return strides;
}

ResultBuilder::ResultBuilder(const CheckedCall& call, std::size_t dims)
    : call_(call), result_(std::make_unique<aotbuild_result>()) {
  result_->dims = std::make_unique<std::int64_t[]>(dims);
  at_ = result_->dims.get();
  filled_.assign(call.outputs, call.outputs + call.signature.outputs.size());
}

void ResultBuilder::add(std::size_t i, void* data, aotbuild_device device, const Tensor& tensor) {
  aotbuild_tensor& filled = filled_[i];
  filled = {};
  filled.data = data;
  filled.device = device;
  filled.ndim = tensor.ndim;
  filled.dtype = call_.signature.outputs[i].info().dtype;
  filled.shape = std::exchange(at_, at_ + tensor.ndim);
  filled.strides = std::exchange(at_, at_ + tensor.ndim);
  std::copy_n(tensor.sizes(), tensor.ndim, filled.shape);
  std::copy_n(tensor.strides(), tensor.ndim, filled.strides);
}

void ResultBuilder::finish() noexcept {
  std::copy(filled_.begin(), filled_.end(), call_.outputs);
  *call_.result = result_.release();
}

}  // namespace aotbuild::detail
