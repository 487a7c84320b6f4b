#include "cuda/delivery.hpp"

#include <memory>
#include <optional>

#include "tensor/copy.hpp"

namespace aotbuild::detail::cuda {

namespace {

constexpr const char* kFunction = "aotbuild_model_run";

}  // namespace

void OutputDelivery::deliver() {
  const std::size_t count = made_.size();
  std::size_t dims = 0;
  for (std::size_t i = 0; i < count; ++i) {
    dims += 2 * static_cast<std::size_t>(checked_output(call_, made_, i).ndim);
  }
  if (call_.overlaps_inputs) detach_from_caller();
  std::optional<ResultBuilder> builder;
  for (std::size_t i = 0; i < count; ++i) {
    if (call_.outputs[i].data == nullptr) {
      if (!builder) builder.emplace(call_, dims);
      allocate(i, &*builder);
    } else if (wants_device(call_.outputs[i])) {
      write_to_caller(i, *made_[i]);
    }
  }
  read_to_staging();
  const bool must_wait = call_.stream == nullptr || reads_to_host_;
  if (program_.communicator() != nullptr) program_.communicator()->watch(stream_);
  if (must_wait) {
    device_.check(device_.driver().stream_synchronize(stream_), "cuStreamSynchronize");
    if (program_.communicator() != nullptr) program_.communicator()->check();
    program_.check_indices(workspace_, false);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (call_.outputs[i].data == nullptr || wants_device(call_.outputs[i])) continue;
    write_to_caller(i, staged_[i] != nullptr ? *staged_[i] : *made_[i]);
  }
  workspace_.end(stream_, must_wait);
  if (builder) builder->finish();
}

void OutputDelivery::detach_from_caller() {
  for (std::size_t i = 0; i < made_.size(); ++i) {
    Tensor& tensor = *made_[i];
    if (tensor.storage->owned || tensor.data() == data_of(call_.outputs[i]) ||
        tensor.data() == cuda_call_.result_data(i)) {
      continue;
    }
    tensor.assign(*clone_preserving(tensor, kFunction));
  }
}

void OutputDelivery::write_to_caller(std::size_t i, const Tensor& tensor) {
  const aotbuild_tensor& output = call_.outputs[i];
  void* data = data_of(output);
  if (tensor.data() == data && has_strides(output, tensor.strides())) return;
  const TensorPtr target = make_given(output, tensor.dtype, 0);
  copy(*target, tensor, kFunction);
}

void OutputDelivery::allocate(std::size_t i, ResultBuilder* builder) {
  const aotbuild_tensor_info& info = call_.signature.outputs[i].info();
  Tensor& tensor = *made_[i];
  const bool on_host = !wants_device(call_.outputs[i]);
  const aotbuild_device device = on_host ? aotbuild_device{AOTBUILD_CPU, 0} : cuda_call_.device();
  const bool is_its_memory = cuda_call_.result_data(i) != nullptr && tensor.data() == cuda_call_.result_data(i);
  const bool keeps_strides = has_promised_strides(info, tensor) && is_dense(tensor);
  if (is_its_memory && keeps_strides) {
    builder->add(i, tensor.data(), device, tensor);
  } else {
    std::vector<std::int64_t> strides(tensor.strides(), tensor.strides() + tensor.ndim);
    if (!keeps_strides) strides = copy_strides(info, tensor);
    const std::size_t nbytes = extent_bytes(tensor.dtype, tensor.ndim, tensor.sizes(), strides.data());
    // The memory that the tensor may lie in stays until it was copied.
    const std::shared_ptr<void> before = cuda_call_.take_result(i);
    void* data = cuda_call_.allocate_result(i, nbytes, on_host);
    const TensorPtr target =
        make_borrowed(data, nbytes, tensor.dtype, tensor.ndim, tensor.sizes(), strides.data(), device);
    if (on_host && tensor.on_device()) {
      read(data, tensor, *target);
    } else {
      copy(*target, tensor, kFunction);
    }
    builder->add(i, data, device, *target);
  }
  builder->result().device_blocks.push_back(cuda_call_.take_result(i));
}

void OutputDelivery::read(void* data, const Tensor& tensor, const Tensor& layout) {
  TensorPtr gathered;
  const Tensor* source = &tensor;
  if (!same_strides(tensor.ndim, tensor.sizes(), tensor.strides(), layout.strides())) {
    gathered = make_device_tensor(cuda_call_, tensor.dtype, tensor.ndim, tensor.sizes(), layout.strides());
    copy(*gathered, tensor, kFunction);
    source = gathered.get();
  }
  const std::size_t nbytes = extent_bytes(tensor.dtype, tensor.ndim, tensor.sizes(), layout.strides());
  if (nbytes == 0) return;
  device_.check(device_.driver().copy_to_host(data, device_pointer(source->data()), nbytes, stream_),
                "cuMemcpyDtoHAsync", " for ", nbytes, " bytes");
  reads_to_host_ = true;
}

void OutputDelivery::read_to_staging() {
  staged_.resize(made_.size());
  std::size_t total = 0;
  for (std::size_t i = 0; i < made_.size(); ++i) {
    if (!is_read(i)) continue;
    const Tensor& tensor = *made_[i];
    const std::size_t nbytes = static_cast<std::size_t>(tensor.numel()) * tensor.element_size();
    total += staged_size(nbytes);
  }
  if (total == 0) return;
  // Only calls that wait use it, so nothing that is queued does.
  char* at = workspace_.output_staging.reserve(total);
  for (std::size_t i = 0; i < made_.size(); ++i) {
    if (!is_read(i)) continue;
    const Tensor& tensor = *made_[i];
    const std::size_t nbytes = static_cast<std::size_t>(tensor.numel()) * tensor.element_size();
    staged_[i] = make_borrowed(at, nbytes, tensor.dtype, tensor.ndim, tensor.sizes(),
                               is_dense(tensor) ? tensor.strides() : nullptr);
    read(at, tensor, *staged_[i]);
    at += staged_size(nbytes);
  }
}

bool OutputDelivery::is_read(std::size_t i) const {
  const aotbuild_tensor& output = call_.outputs[i];
  return output.data != nullptr && !wants_device(output) && made_[i]->on_device();
}

}  // namespace aotbuild::detail::cuda
