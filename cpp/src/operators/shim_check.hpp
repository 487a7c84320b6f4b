// Argument checks of the C shim.
#ifndef AOTBUILD_SRC_OPERATORS_SHIM_CHECK_HPP_
#define AOTBUILD_SRC_OPERATORS_SHIM_CHECK_HPP_

#include <cstdint>

#include "base/error.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {

inline Tensor& checked(AtenTensorHandle handle, const char* function, const char* argument) {
  if (handle == nullptr) fail(function, "argument '", argument, "' is null");
  if (handle->storage == nullptr) fail(function, "argument '", argument, "' is an undefined tensor");
  return *handle;
}

template <typename T>
T& checked_result(T* pointer, const char* function) {
  if (pointer == nullptr) fail(function, "the place for the result is null");
  return *pointer;
}

inline ScalarType checked_dtype(std::int32_t dtype, const char* function) {
  const auto type = static_cast<ScalarType>(dtype);
  if (element_size(type) == 0) fail(function, "there is no element type with the number ", dtype);
  return type;
}

inline void check_dims(std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides,
                       const char* function) {
  if (ndim < 0 || ndim > 64) fail(function, "a tensor cannot have ", ndim, " dimensions");
  if (ndim > 0 && (sizes == nullptr || strides == nullptr)) fail(function, "sizes or strides are null");
}

// The numbers of c10::DeviceType.
inline constexpr std::int32_t kCpuType = 0;
inline constexpr std::int32_t kCudaType = 1;

inline void check_device_type(std::int32_t device_type, const char* function) {
  if (device_type != kCpuType && device_type != kCudaType) {
    fail(function, "device type ", device_type, " is neither the CPU nor CUDA");
  }
}

// A dimension counted from the end when negative. A tensor of no dimensions counts as one of one.
inline std::int32_t checked_dim(std::int64_t dim, std::int32_t ndim, const char* function) {
  const std::int32_t count = ndim == 0 ? 1 : ndim;
  const std::int64_t wrapped = dim < 0 ? dim + count : dim;
  if (wrapped < 0 || wrapped >= count) {
    fail(function, "dimension ", dim, " is outside of a tensor of ", ndim, " dimensions");
  }
  return static_cast<std::int32_t>(wrapped);
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_OPERATORS_SHIM_CHECK_HPP_
