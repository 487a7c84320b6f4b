// What generated run functions are written in: owning and borrowed tensor handles over the AOTInductor C shim.
// Included by wrapper.hpp, where the shim is the runtime's own, and by torch_wrapper.hpp, where it is libtorch's; each
// defines `AOTBUILD_SHIM`, the namespace that keeps the two apart in one program, and check_shim().
// Private to generated code. The names of types and macros are the ones that TorchInductor's C++ code generator emits.
#ifndef AOTBUILD_DETAIL_HANDLES_HPP_
#define AOTBUILD_DETAIL_HANDLES_HPP_

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "aotbuild/detail/attention_shape.hpp"

// Size arithmetic in the names that Inductor's printer writes. Rounds towards minus infinity, as Python does.
namespace c10 {

inline std::int64_t div_mod(std::int64_t a, std::int64_t b) {
  if (b == 0) throw std::domain_error("ZeroDivisionError: a size or number of the model is divided by zero");
  if (b == -1) return 0;  // of the least number, the machine's division has no quotient
  const std::int64_t remainder = a % b;
  return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

inline std::int64_t div_floor_integer(std::int64_t a, std::int64_t b) {
  const std::int64_t whole = a - div_mod(a, b);
  return b == -1 ? static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(whole)) : whole / b;
}

inline double div_floor_floating(double a, double b) { return std::floor(a / b); }

}  // namespace c10

#define AOTI_TORCH_ERROR_CODE_CHECK(call) ::aotbuild::detail::check_shim(call)
#define AOTI_TORCH_CHECK(condition, message)             \
  do {                                                   \
    if (!(condition)) throw std::runtime_error(message); \
  } while (0)

namespace aotbuild::detail {
inline namespace AOTBUILD_SHIM {

// c10::ScalarType, c10::DeviceType and c10::Layout, as the shim numbers them.
inline constexpr std::int32_t kUInt8 = 0, kInt8 = 1, kInt16 = 2, kInt32 = 3, kInt64 = 4, kFloat16 = 5, kFloat32 = 6,
                              kFloat64 = 7, kComplex64 = 9, kComplex128 = 10, kBool = 11, kBFloat16 = 15,
                              kFloat8E5M2 = 23, kFloat8E4M3FN = 24;
inline constexpr std::int32_t kCpu = 0;
inline constexpr std::int32_t kStrided = 0;

// A tensor that somebody else owns: an input or a weight.
class BorrowedTensor {
 public:
  BorrowedTensor(std::nullptr_t) : handle_(nullptr) {}          // NOLINT: an absent optional operand
  BorrowedTensor(AtenTensorHandle handle) : handle_(handle) {}  // NOLINT: implicit, as generated code expects
  operator AtenTensorHandle() const { return handle_; }         // NOLINT
  AtenTensorHandle get() const { return handle_; }
  void reset() {}  // the end of a borrow

  void* data_ptr() const {
    void* data = nullptr;
    check_shim(aoti_torch_get_data_ptr(handle_, &data));
    return data;
  }
  template <typename T>
  T* data() const {
    return static_cast<T*>(data_ptr());
  }
  const std::int64_t* sizes() const {
    std::int64_t* sizes = nullptr;
    check_shim(aoti_torch_get_sizes(handle_, &sizes));
    return sizes;
  }
  const std::int64_t* strides() const {
    std::int64_t* strides = nullptr;
    check_shim(aoti_torch_get_strides(handle_, &strides));
    return strides;
  }
  std::int64_t size(std::int64_t dim) const { return sizes()[dim]; }
  std::int64_t stride(std::int64_t dim) const { return strides()[dim]; }

 protected:
  AtenTensorHandle handle_;
};

// A tensor that this function owns.
class RAIIAtenTensorHandle : public BorrowedTensor {
 public:
  RAIIAtenTensorHandle() : BorrowedTensor(nullptr) {}
  RAIIAtenTensorHandle(AtenTensorHandle handle) : BorrowedTensor(handle) {}  // NOLINT
  RAIIAtenTensorHandle(RAIIAtenTensorHandle&& other) noexcept : BorrowedTensor(other.release()) {}
  RAIIAtenTensorHandle& operator=(RAIIAtenTensorHandle&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = other.release();
    }
    return *this;
  }
  RAIIAtenTensorHandle(const RAIIAtenTensorHandle&) = delete;
  RAIIAtenTensorHandle& operator=(const RAIIAtenTensorHandle&) = delete;
  ~RAIIAtenTensorHandle() { reset(); }

  AtenTensorHandle release() { return std::exchange(handle_, nullptr); }
  void reset() {
    if (handle_ != nullptr) aoti_torch_delete_tensor_object(release());
  }
};

inline RAIIAtenTensorHandle wrap_with_raii_handle_if_needed(AtenTensorHandle handle) { return handle; }
inline RAIIAtenTensorHandle wrap_with_raii_handle_if_needed(RAIIAtenTensorHandle&& handle) { return std::move(handle); }
inline const RAIIAtenTensorHandle& wrap_with_raii_handle_if_needed(const RAIIAtenTensorHandle& handle) {
  return handle;
}

// A new handle on the memory of `self` with other sizes, strides and storage offset (in elements).
inline AtenTensorHandle reinterpret_tensor_wrapper(AtenTensorHandle self, std::int64_t ndim, const std::int64_t* sizes,
                                                   const std::int64_t* strides, std::int64_t storage_offset) {
  AtenTensorHandle view = nullptr;
  check_shim(aoti_torch__reinterpret_tensor(self, ndim, sizes, strides, storage_offset, &view));
  return view;
}

// A second handle on the same tensor: for a result that is an input, a weight or another result.
inline RAIIAtenTensorHandle new_handle(AtenTensorHandle self) {
  AtenTensorHandle handle = nullptr;
  check_shim(aoti_torch_new_tensor_handle(self, &handle));
  return handle;
}

// Lays a result out with these strides, where it has others.
inline void match_strides(RAIIAtenTensorHandle& tensor, std::initializer_list<std::int64_t> strides) {
  const auto rank = static_cast<std::int64_t>(strides.size());
  const std::int64_t* const sizes = tensor.sizes();
  bool same = true;
  for (std::int64_t dim = 0; dim < rank; ++dim) {
    same = same && (sizes[dim] == 1 || tensor.strides()[dim] == strides.begin()[dim]);
  }
  if (same) return;
  std::int32_t dtype = 0;
  check_shim(aoti_torch_get_dtype(tensor, &dtype));
  AtenTensorHandle handle = nullptr;
  check_shim(aoti_torch_empty_strided(rank, sizes, strides.begin(), dtype, kCpu, 0, &handle));
  RAIIAtenTensorHandle copy(handle);
  check_shim(aoti_torch_copy_(copy, tensor, 0));
  tensor = std::move(copy);
}

template <typename T>
T& temporary_reference(T&& value) {
  return value;
}

// A number among the outputs. Values of small integers, and what is computed from them, are of any of C++'s types.
template <typename T>
inline RAIIAtenTensorHandle scalar_to_tensor_handle(T value) {
  AtenTensorHandle handle = nullptr;
  if constexpr (std::is_same_v<T, bool>) {
    check_shim(aoti_torch_scalar_to_tensor_bool(value, &handle));
  } else if constexpr (std::is_integral_v<T>) {
    check_shim(aoti_torch_scalar_to_tensor_int64(static_cast<std::int64_t>(value), &handle));
  } else {
    check_shim(aoti_torch_scalar_to_tensor_float64(static_cast<double>(value), &handle));
  }
  return handle;
}

// Of x[n.item()], with what is negative counted from the end.
inline void check_index(std::int64_t index, std::int64_t size) {
  if (index >= 0 && index < size) return;
  throw std::out_of_range("an index is outside 0 <= index < " + std::to_string(size) + ": " + std::to_string(index));
}

// Export does not always tie the sizes of attention's operands to one another, so a call may bring any.
inline void check_attention(bool fits, const char* what, std::int64_t actual, std::int64_t expected) {
  if (fits) return;
  throw std::invalid_argument("scaled_dot_product_attention: " + std::string(what) + " is " + std::to_string(actual) +
                              ", expected " + std::to_string(expected));
}

// Scaled dot product attention over [batch, heads, rows, head_dim] tensors; `mask` may be null and broadcasts.
inline void attention(AttentionKernel kernel, const BorrowedTensor& query, const BorrowedTensor& key,
                      const BorrowedTensor& value, const BorrowedTensor& mask, bool causal, bool unseen_is_zero,
                      double scale, const BorrowedTensor& output) {
  AttentionShape shape{};
  const std::int64_t* sizes = query.sizes();
  shape.batch = sizes[0];
  shape.heads = sizes[1];
  shape.queries = sizes[2];
  shape.head_dim = sizes[3];
  shape.kv_heads = key.sizes()[1];
  shape.keys = key.sizes()[2];
  shape.value_dim = value.sizes()[3];
  const auto match = [&](const BorrowedTensor& tensor, int dim, const char* what, std::int64_t expected) {
    check_attention(tensor.sizes()[dim] == expected, what, tensor.sizes()[dim], expected);
  };
  match(key, 0, "the batch size of key", shape.batch);
  match(value, 0, "the batch size of value", shape.batch);
  match(value, 1, "the number of heads of value", shape.kv_heads);
  match(value, 2, "the length of value", shape.keys);
  match(key, 3, "the last size of key", shape.head_dim);
  shape.scale = static_cast<float>(scale);
  shape.causal = causal;
  shape.unseen_is_zero = unseen_is_zero;
  const auto copy_strides = [](const BorrowedTensor& tensor, std::int64_t* strides) {
    for (int dim = 0; dim < 4; ++dim) strides[dim] = tensor.strides()[dim];
  };
  copy_strides(query, shape.query_strides);
  copy_strides(key, shape.key_strides);
  copy_strides(value, shape.value_strides);
  copy_strides(output, shape.output_strides);
  const float* mask_data = nullptr;
  if (mask.get() != nullptr) {
    std::int64_t rank = 0;
    check_shim(aoti_torch_get_dim(mask, &rank));
    const std::int64_t scores[4] = {shape.batch, shape.heads, shape.queries, shape.keys};
    for (std::int64_t dim = 0; dim < rank; ++dim) {  // right-aligned, as broadcasting has it
      const std::int64_t size = mask.sizes()[dim];
      const std::int64_t expected = scores[4 - rank + dim];
      check_attention(size == 1 || size == expected, "a size of the mask", size, expected);
      shape.mask_strides[4 - rank + dim] = size == 1 ? 0 : mask.strides()[dim];
    }
    mask_data = mask.data<const float>();
  }
  kernel(shape, query.data<const float>(), key.data<const float>(), value.data<const float>(), mask_data,
         output.data<float>());
}

}  // namespace AOTBUILD_SHIM
}  // namespace aotbuild::detail

#endif  // AOTBUILD_DETAIL_HANDLES_HPP_
