#include "tensor/copy.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "tensor/device_call.hpp"
#include "tensor/half_rows.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

namespace {

template <typename To, typename From>
void convert_row(char* to, const char* from, std::int64_t count, std::int64_t to_stride, std::int64_t from_stride) {
  const bool is_dense =
      to_stride == static_cast<std::int64_t>(sizeof(To)) && from_stride == static_cast<std::int64_t>(sizeof(From));
  if constexpr (is_half<From> && std::is_same_v<To, float>) {
    if (is_dense) return widen(reinterpret_cast<const From*>(from), count, reinterpret_cast<float*>(to));
  }
  if constexpr (is_half<To> && std::is_same_v<From, float>) {
    if (is_dense) return narrow(reinterpret_cast<const float*>(from), count, reinterpret_cast<To*>(to));
  }
  for (std::int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from + i * from_stride, sizeof value);
    const To converted = convert<To>(value);
    std::memcpy(to + i * to_stride, &converted, sizeof converted);
  }
}

template <std::size_t kWidth>
void copy_row(char* to, const char* from, std::int64_t count, std::int64_t to_stride, std::int64_t from_stride) {
  constexpr auto width = static_cast<std::int64_t>(kWidth);
  if (to_stride == width && from_stride == width) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * kWidth);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) std::memcpy(to + i * to_stride, from + i * from_stride, kWidth);
}

using RowFunction = void (*)(char*, const char*, std::int64_t, std::int64_t, std::int64_t);

RowFunction row_function(ScalarType to, ScalarType from, const char* function) {
  if (to == from) {
    switch (element_size(to)) {
      case 1:
        return copy_row<1>;
      case 2:
        return copy_row<2>;
      case 4:
        return copy_row<4>;
      case 8:
        return copy_row<8>;
      default:
        return copy_row<16>;
    }
  }
  RowFunction result = nullptr;
  dispatch(to, function, [&](auto to_tag) {
    dispatch(from, function, [&](auto from_tag) {
      result = convert_row<typename decltype(to_tag)::type, typename decltype(from_tag)::type>;
    });
  });
  return result;
}

// Whether both are one piece of memory with their elements in the same order.
bool lie_alike(const Tensor& a, const Tensor& b) {
  return a.ndim == b.ndim && std::equal(a.sizes(), a.sizes() + a.ndim, b.sizes()) &&
         same_strides(a.ndim, a.sizes(), a.strides(), b.strides()) && is_dense(a);
}

}  // namespace

StridedLoop<2> copy_loop(const Tensor& destination, const Tensor& source, const char* function) {
  const std::int32_t ndim = destination.ndim;
  if (source.ndim > ndim) {
    fail(function, "cannot copy a tensor of sizes ", format_dims(source.ndim, source.sizes()), " to one of sizes ",
         format_dims(ndim, destination.sizes()));
  }
  StridedLoop<2> loop;
  const std::int32_t lead = ndim - source.ndim;
  for (std::int32_t d = 0; d < ndim; ++d) {
    const std::int64_t size = destination.sizes()[d];
    const std::int64_t source_size = d < lead ? 1 : source.sizes()[d - lead];
    if (source_size != size && source_size != 1) {
      fail(function, "cannot copy a tensor of sizes ", format_dims(source.ndim, source.sizes()), " to one of sizes ",
           format_dims(ndim, destination.sizes()));
    }
    const std::int64_t source_stride = source_size == 1 ? 0 : source.strides()[d - lead];
    loop.add_dim(size, {destination.strides()[d] * static_cast<std::int64_t>(destination.element_size()),
                        source_stride * static_cast<std::int64_t>(source.element_size())});
  }
  return loop;
}

void copy(Tensor& destination, const Tensor& source, const char* function) {
  if (destination.on_device() || source.on_device()) {
    return current_device_call(function).copy(destination, source, function);
  }
  const StridedLoop<2> loop = copy_loop(destination, source, function);
  if (loop.is_empty()) return;
  const RowFunction row = row_function(destination.dtype, source.dtype, function);
  if (lie_alike(destination, source)) {  // one row, whatever the order of the dimensions is
    return row(destination.data_as<char>(), source.data_as<char>(), destination.numel(),
               static_cast<std::int64_t>(destination.element_size()), static_cast<std::int64_t>(source.element_size()));
  }
  loop.run({destination.data_as<char>(), source.data_as<char>()},
           [row](const std::array<char*, 2>& at, std::int64_t count, const std::array<std::int64_t, 2>& steps) {
             row(at[0], at[1], count, steps[0], steps[1]);
           });
}

void fill(Tensor& destination, const void* value, const char* function) {
  if (destination.on_device()) return current_device_call(function).fill(destination, value, function);
  const std::size_t width = destination.element_size();
  StridedLoop<1> loop;
  for (std::int32_t d = 0; d < destination.ndim; ++d) {
    loop.add_dim(destination.sizes()[d], {destination.strides()[d] * static_cast<std::int64_t>(width)});
  }
  if (loop.is_empty()) return;
  char element[16];
  std::memcpy(element, value, width);
  const bool all_zero = std::all_of(element, element + width, [](char byte) { return byte == 0; });
  loop.run({destination.data_as<char>()},
           [&](const std::array<char*, 1>& at, std::int64_t count, const std::array<std::int64_t, 1>& steps) {
             if (all_zero && steps[0] == static_cast<std::int64_t>(width)) {
               std::memset(at[0], 0, static_cast<std::size_t>(count) * width);
               return;
             }
             for (std::int64_t i = 0; i < count; ++i) std::memcpy(at[0] + i * steps[0], element, width);
           });
}

TensorPtr clone_contiguous(const Tensor& tensor, const char* function) {
  TensorPtr result = make_tensor_beside(tensor, tensor.dtype, tensor.ndim, tensor.sizes(), nullptr);
  copy(*result, tensor, function);
  return result;
}

TensorPtr clone_preserving(const Tensor& tensor, const char* function) {
  TensorPtr result = make_tensor_beside(tensor, tensor.dtype, tensor.ndim, tensor.sizes(),
                                        is_dense(tensor) ? tensor.strides() : nullptr);
  copy(*result, tensor, function);
  return result;
}

}  // namespace aotbuild::detail
