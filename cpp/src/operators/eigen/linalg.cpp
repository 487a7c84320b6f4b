#include "operators/eigen/linalg.hpp"

#include <algorithm>
#include <string>

namespace aotbuild::detail::eigen {

Array::Array(AtenTensorHandle handle) : handle_(handle), tensor_() {
  check(aotbuild_kernel_describe(handle, &tensor_));
}

Array::Array(AtenTensorHandle handle, const char* function, const char* argument) : handle_(handle), tensor_() {
  if (handle == nullptr) fail(function, "argument '", argument, "' is null");
  check(aotbuild_kernel_describe(handle, &tensor_));
}

namespace {
AtenTensorHandle allocate(std::int32_t dtype, const Sizes& sizes) {
  AtenTensorHandle handle = nullptr;
  check(aotbuild_kernel_allocate(dtype, static_cast<std::int64_t>(sizes.size()), sizes.data(), &handle));
  return handle;
}
}  // namespace

OwnedArray::OwnedArray(std::int32_t dtype, const Sizes& sizes) : Array(allocate(dtype, sizes)) {}

Array checked_matrices(AtenTensorHandle handle, const char* function, const char* argument) {
  const Array array(handle, function, argument);
  if (array.ndim() < 2) fail(function, argument, " has ", array.ndim(), " dimensions, expected 2 or more");
  return array;
}

Array checked_square(AtenTensorHandle handle, const char* function, const char* argument) {
  const Array array = checked_matrices(handle, function, argument);
  if (array.size(-2) != array.size(-1)) {
    fail(function, argument, " has matrices of ", array.size(-2), " by ", array.size(-1));
  }
  return array;
}

void check_real_type(const Array& array, const char* function) {
  if (array.dtype() != AOTBUILD_KERNEL_FLOAT32 && array.dtype() != kDouble) {
    fail(function, "element type ", array.dtype(), " is not supported, expected float32 or float64");
  }
}

Sizes broadcast(const Sizes& a, const Sizes& b, const char* function) {
  Sizes result(std::max(a.size(), b.size()));
  for (std::size_t i = 0; i < result.size(); ++i) {  // from the last size on
    const std::int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const std::int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) fail(function, "batches of the sizes ", x, " and ", y, " do not fit");
    result[result.size() - 1 - i] = x == 1 ? y : x;
  }
  return result;
}

OwnedArray converted(const Array& array, std::int32_t dtype, const Sizes& sizes) {
  OwnedArray result(dtype, sizes);
  check(aotbuild_torch_copy_(result.handle(), array.handle(), 0));
  return result;
}

OwnedArray viewed(const Array& array, const Sizes& sizes, const Sizes& strides) {
  AtenTensorHandle handle = nullptr;
  const auto ndim = static_cast<std::int64_t>(sizes.size());
  check(aotbuild_torch__reinterpret_tensor(array.handle(), ndim, sizes.data(), strides.data(), 0, &handle));
  return OwnedArray(handle);
}

Sizes row_major(const Sizes& sizes) {
  Sizes strides(sizes.size());
  std::int64_t stride = 1;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= std::max<std::int64_t>(sizes[i], 1);
  }
  return strides;
}

void check_info(const Array& info, const char* name) {
  const OwnedArray values = converted(info, kInt);
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    const std::int32_t value = values.data<std::int32_t>()[i];
    if (value == 0) continue;
    const std::string which = info.ndim() == 0 ? "the matrix" : "matrix " + std::to_string(i) + " of the batch";
    if (std::string(name).find("cholesky") != std::string::npos) {
      fail(name, which, " is not positive-definite: the leading minor of order ", value, " is not positive");
    }
    fail(name, which, " is singular: the diagonal element ", value, " of its factor U is zero");
  }
}

}  // namespace aotbuild::detail::eigen

using namespace aotbuild::detail::eigen;  // NOLINT: what follows is a C function

AOTITorchError aotbuild_torch_cpu__linalg_check_errors(AtenTensorHandle info, const char* api_name, std::int32_t) {
  constexpr const char* function = "aoti_torch_cpu__linalg_check_errors";
  return guarded([&] { check_info(Array(info, function, "info"), api_name); });
}
