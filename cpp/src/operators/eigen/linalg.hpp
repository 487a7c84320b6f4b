// What the operators on Eigen have in common: tensors by the C shim alone, and batches of matrices.
//
// These operators are no part of the shared runtime: a model that calls them has them in its own library, whichever
// runtime it is linked with. So they are compiled once, and use nothing of the runtime but its C functions.
// All is computed in double precision: half of the code, and results at least as exact as in single precision.
#ifndef AOTBUILD_SRC_OPERATORS_EIGEN_LINALG_HPP_
#define AOTBUILD_SRC_OPERATORS_EIGEN_LINALG_HPP_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

#include "aotbuild/detail/shim.h"
#include "aotbuild/kernel.h"
#include "operators/eigen/eigen.hpp"

namespace aotbuild::detail::eigen {

template <typename... Args>
[[noreturn]] void fail(const char* function, const Args&... args) {
  std::ostringstream text;
  ((text << function << ": ") << ... << args);
  throw std::runtime_error(text.str());
}

// Runs `body` of a shim function: success, or failure and the thread's last error.
template <typename Body>
AOTITorchError guarded(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return AOTI_TORCH_SUCCESS;
  } catch (const std::exception& error) {
    return aotbuild_kernel_fail(error.what());
  }
}

// Of the functions of the C shim, whose message says which it was.
inline void check(AOTITorchError status) {
  if (status != AOTI_TORCH_SUCCESS) throw std::runtime_error(aotbuild_last_error());
}

using Sizes = std::vector<std::int64_t>;

inline std::int64_t count_of(const Sizes& sizes) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return count;
}

// A handle with its properties. It is borrowed.
class Array {
 public:
  Array(AtenTensorHandle handle, const char* function, const char* argument);

  AtenTensorHandle handle() const { return handle_; }
  std::int32_t dtype() const { return tensor_.dtype; }
  std::int64_t ndim() const { return tensor_.ndim; }
  std::int64_t numel() const { return tensor_.numel; }
  // The size of a dimension; negative ones count from the end.
  std::int64_t size(std::int64_t dim) const { return tensor_.sizes[dim < 0 ? dim + tensor_.ndim : dim]; }
  Sizes sizes() const { return Sizes(tensor_.sizes, tensor_.sizes + tensor_.ndim); }
  // The sizes without the last `count`.
  Sizes batch(std::int64_t count) const { return Sizes(tensor_.sizes, tensor_.sizes + (tensor_.ndim - count)); }
  template <typename T>
  T* data() const {
    return static_cast<T*>(tensor_.data);
  }

 protected:
  explicit Array(AtenTensorHandle handle);

  AtenTensorHandle handle_;
  aotbuild_kernel_tensor tensor_;
};

// One that was made here.
class OwnedArray : public Array {
 public:
  // Row-major, with undefined values.
  OwnedArray(std::int32_t dtype, const Sizes& sizes);
  explicit OwnedArray(AtenTensorHandle handle) : Array(handle) {}
  OwnedArray(OwnedArray&& other) noexcept : Array(other) { other.handle_ = nullptr; }
  OwnedArray(const OwnedArray&) = delete;
  OwnedArray& operator=(const OwnedArray&) = delete;
  OwnedArray& operator=(OwnedArray&&) = delete;
  ~OwnedArray() {
    if (handle_ != nullptr) aotbuild_kernel_release(handle_);
  }

  // Hands the tensor over as a result.
  void give(AtenTensorHandle* ret, const char* function) {
    if (ret == nullptr) fail(function, "the place for the result is null");
    *ret = std::exchange(handle_, nullptr);
  }
};

Array checked_matrices(AtenTensorHandle handle, const char* function, const char* argument);
Array checked_square(AtenTensorHandle handle, const char* function, const char* argument);
void check_real_type(const Array& array, const char* function);

inline Sizes joined(Sizes batch, std::initializer_list<std::int64_t> rest) {
  batch.insert(batch.end(), rest);
  return batch;
}

// The sizes that two batches have after broadcasting.
Sizes broadcast(const Sizes& a, const Sizes& b, const char* function);

// A row-major copy in another element type; `sizes` are the array's, or those that it is broadcast to.
OwnedArray converted(const Array& array, std::int32_t dtype, const Sizes& sizes);
inline OwnedArray converted(const Array& array, std::int32_t dtype) { return converted(array, dtype, array.sizes()); }

// The memory of an array with other sizes and strides.
OwnedArray viewed(const Array& array, const Sizes& sizes, const Sizes& strides);
Sizes row_major(const Sizes& sizes);

inline constexpr std::int32_t kInt = AOTBUILD_KERNEL_INT32;
inline constexpr std::int32_t kDouble = AOTBUILD_KERNEL_FLOAT64;
inline constexpr std::int32_t kComplexDouble = AOTBUILD_KERNEL_COMPLEX128;

// Stores a result that was computed in double precision in the element type of the operator.
inline void give(AtenTensorHandle* ret, const Array& computed, std::int32_t dtype, const char* function) {
  converted(computed, dtype).give(ret, function);
}

// The sizes of what stands for a result that was not asked for.
inline const Sizes kAbsent = {0};

inline void give_absent(AtenTensorHandle* ret, std::int32_t dtype, const char* function) {
  OwnedArray(dtype, kAbsent).give(ret, function);
}

using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;
using MatrixMap = Eigen::Map<Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
using VectorMap = Eigen::Map<Vector>;

// Matrix `index` of a row-major batch in double precision.
inline MatrixMap matrix(const Array& batch, std::int64_t index) {
  const std::int64_t rows = batch.size(-2);
  const std::int64_t columns = batch.size(-1);
  return MatrixMap(batch.data<double>() + index * rows * columns, rows, columns);
}

inline VectorMap vector(const Array& batch, std::int64_t index) {
  return VectorMap(batch.data<double>() + index * batch.size(-1), batch.size(-1));
}

// Throws for the first matrix of a batch that could not be factorised; `info` is as LAPACK has it.
void check_info(const Array& info, const char* name);

}  // namespace aotbuild::detail::eigen

#endif  // AOTBUILD_SRC_OPERATORS_EIGEN_LINALG_HPP_
