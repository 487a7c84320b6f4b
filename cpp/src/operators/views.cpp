// The C shim: views and copies of complex tensors, for which TorchInductor generates no code.
#include <algorithm>
#include <vector>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"
#include "tensor/lines.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

// A bound of a slice: counted from the end when negative, and cut to [0, size].
std::int64_t slice_bound(std::int64_t bound, std::int64_t size) {
  return std::clamp<std::int64_t>(bound < 0 ? bound + size : bound, 0, size);
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_slice_Tensor(AtenTensorHandle self, std::int64_t dim, std::int64_t* start,
                                               std::int64_t* end, std::int64_t step, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_slice_Tensor";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    if (given.ndim == 0 || step < 1) fail(function, "a step of ", step, " in a tensor of ", given.ndim, " dimensions");
    const std::int32_t along = checked_dim(dim, given.ndim, function);
    const std::int64_t size = given.sizes()[along];
    const std::int64_t first = slice_bound(start != nullptr ? *start : 0, size);
    const std::int64_t last = std::max(first, slice_bound(end != nullptr ? *end : size, size));
    std::vector<std::int64_t> sizes(given.sizes(), given.sizes() + given.ndim);
    std::vector<std::int64_t> strides(given.strides(), given.strides() + given.ndim);
    sizes[static_cast<std::size_t>(along)] = (last - first + step - 1) / step;
    strides[static_cast<std::size_t>(along)] *= step;
    const std::int64_t offset = given.offset + first * given.strides()[along];
    checked_result(ret, function) =
        make_view(given, given.dtype, given.ndim, sizes.data(), strides.data(), offset).release();
  });
}

AOTITorchError aotbuild_torch_cpu_permute(AtenTensorHandle self, const std::int64_t* dims, std::int64_t dims_len,
                                          AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_permute";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    if (dims_len != given.ndim || (dims_len > 0 && dims == nullptr)) {
      fail(function, dims_len, " dimensions for a tensor of ", given.ndim);
    }
    std::vector<std::int64_t> sizes;
    std::vector<std::int64_t> strides;
    for (std::int64_t i = 0; i < dims_len; ++i) {
      const std::int32_t dim = checked_dim(dims[i], given.ndim, function);
      sizes.push_back(given.sizes()[dim]);
      strides.push_back(given.strides()[dim]);
    }
    checked_result(ret, function) =
        make_view(given, given.dtype, given.ndim, sizes.data(), strides.data(), given.offset).release();
  });
}

AOTITorchError aotbuild_torch_cpu_squeeze_dim(AtenTensorHandle self, std::int64_t dim, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_squeeze_dim";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const std::int32_t along = checked_dim(dim, given.ndim, function);
    std::vector<std::int64_t> sizes(given.sizes(), given.sizes() + given.ndim);
    std::vector<std::int64_t> strides(given.strides(), given.strides() + given.ndim);
    if (given.ndim > 0 && given.sizes()[along] == 1) {
      sizes.erase(sizes.begin() + along);
      strides.erase(strides.begin() + along);
    }
    const auto rank = static_cast<std::int64_t>(sizes.size());
    checked_result(ret, function) =
        make_view(given, given.dtype, rank, sizes.data(), strides.data(), given.offset).release();
  });
}

AOTITorchError aotbuild_torch_cpu_clone(AtenTensorHandle self, std::int32_t*, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_clone";
  return guarded(
      [&] { checked_result(ret, function) = clone_contiguous(checked(self, function, "self"), function).release(); });
}

AOTITorchError aotbuild_torch_cpu_constant_pad_nd(AtenTensorHandle self, const std::int64_t* pad, std::int64_t pad_len,
                                                  double value, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_constant_pad_nd";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    if (pad_len % 2 != 0 || pad_len / 2 > given.ndim || (pad_len > 0 && pad == nullptr)) {
      fail(function, pad_len, " paddings for a tensor of ", given.ndim, " dimensions");
    }
    // Pairs begin at the last dimension. Negative ones cut.
    std::vector<std::int64_t> sizes(given.sizes(), given.sizes() + given.ndim);
    std::vector<std::int64_t> kept = sizes;
    std::int64_t from = given.offset;
    std::vector<std::int64_t> shifts(sizes.size(), 0);
    for (std::int64_t i = 0; i < pad_len / 2; ++i) {
      const std::int32_t dim = given.ndim - 1 - static_cast<std::int32_t>(i);
      const auto d = static_cast<std::size_t>(dim);
      const std::int64_t before = pad[2 * i];
      const std::int64_t after = pad[2 * i + 1];
      sizes[d] += before + after;
      kept[d] += std::min<std::int64_t>(before, 0) + std::min<std::int64_t>(after, 0);
      if (sizes[d] < 0 || kept[d] < 0) fail(function, "a padding of ", before, " and ", after, " is too negative");
      from += std::max<std::int64_t>(-before, 0) * given.strides()[dim];
      shifts[d] = std::max<std::int64_t>(before, 0);
    }
    TensorPtr out = make_tensor(given.dtype, given.ndim, sizes.data(), nullptr);
    dispatch(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T element = convert<T>(value);
      fill(*out, &element, function);
    });
    std::int64_t to = out->offset;
    for (std::size_t d = 0; d < shifts.size(); ++d) to += shifts[d] * out->strides()[d];
    const TensorPtr target = make_view(*out, out->dtype, given.ndim, kept.data(), out->strides(), to);
    copy(*target, *make_view(given, given.dtype, given.ndim, kept.data(), given.strides(), from), function);
    checked_result(ret, function) = out.release();
  });
}
