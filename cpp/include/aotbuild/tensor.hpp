// Typed tensors: views over the user's memory and results that own theirs. Element type and rank are in the type.
#ifndef AOTBUILD_TENSOR_HPP_
#define AOTBUILD_TENSOR_HPP_

#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aotbuild/c_api.h"
#include "aotbuild/error.hpp"

namespace aotbuild {
inline namespace AOTBUILD_NAMESPACE {

// IEEE 754 binary16 as it is stored. Convert to float to compute with it.
struct float16 {
  std::uint16_t bits = 0;

  float16() = default;
  explicit float16(float value);  // rounds to nearest, ties to even
  explicit operator float() const;
  static float16 from_bits(std::uint16_t bits) {
    float16 result;
    result.bits = bits;
    return result;
  }
};

// The upper half of an IEEE 754 binary32, as it is stored. Convert to float to compute with it.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  explicit bfloat16(float value);  // rounds to nearest, ties to even
  explicit operator float() const;
  static bfloat16 from_bits(std::uint16_t bits) {
    bfloat16 result;
    result.bits = bits;
    return result;
  }
};

// A floating-point number of 8 bits as it is stored, of the OCP's formats: 4 bits of exponent without infinities
// (float8_e4m3fn), or 5 bits with them (float8_e5m2). Convert to float to compute with it.
template <int ExponentBits>
struct float8 {
  std::uint8_t bits = 0;

  float8() = default;
  // Rounds to nearest, ties to even; what is beyond becomes the greatest number or, with 5 bits, infinity.
  explicit float8(float value);
  explicit operator float() const;
  static float8 from_bits(std::uint8_t bits) {
    float8 result;
    result.bits = bits;
    return result;
  }
};
using float8_e4m3fn = float8<4>;
using float8_e5m2 = float8<5>;

}  // namespace AOTBUILD_NAMESPACE

namespace detail {
inline namespace AOTBUILD_NAMESPACE {

inline std::uint32_t float_bits(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline float bits_float(std::uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail

inline namespace AOTBUILD_NAMESPACE {

inline float16::operator float() const {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1FU;
  const std::uint32_t fraction = bits & 0x3FFU;
  if (exponent == 0x1F) return detail::bits_float(sign | 0x7F800000U | (fraction << 13));
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  return detail::bits_float(sign | ((exponent + 112) << 23) | (fraction << 13));
}

inline float16::float16(float value) {
  const std::uint32_t source = detail::float_bits(value);
  const std::uint32_t sign = (source >> 16) & 0x8000U;
  const std::uint32_t magnitude = source & 0x7FFFFFFFU;
  std::uint32_t result = 0;
  if (magnitude > 0x7F800000U) {
    result = 0x7E00U;  // NaN
  } else if (magnitude >= 0x477FF000U) {
    result = 0x7C00U;  // rounds to infinity
  } else if (magnitude < 0x38800000U) {
    // Subnormal: adding 0.5 leaves fraction * 2^-24 in the low bits, rounded by the addition itself.
    result = detail::float_bits(detail::bits_float(magnitude) + 0.5F) - detail::float_bits(0.5F);
  } else {
    const std::uint32_t odd = (magnitude >> 13) & 1U;
    result = (magnitude - (112U << 23) + 0xFFFU + odd) >> 13;
  }
  bits = static_cast<std::uint16_t>(sign | result);
}

inline bfloat16::operator float() const { return detail::bits_float(static_cast<std::uint32_t>(bits) << 16); }

inline bfloat16::bfloat16(float value) {
  const std::uint32_t source = detail::float_bits(value);
  const bool is_nan = (source & 0x7FFFFFFFU) > 0x7F800000U;
  const std::uint32_t rounded = is_nan ? source | 0x400000U : source + 0x7FFFU + ((source >> 16) & 1U);
  bits = static_cast<std::uint16_t>(rounded >> 16);
}

template <int ExponentBits>
inline float8<ExponentBits>::operator float() const {
  constexpr std::uint32_t kFractionBits = 7 - ExponentBits;
  const std::uint32_t sign = (bits & 0x80U) << 24;
  const std::uint32_t magnitude = bits & 0x7FU;
  constexpr std::uint32_t kBias = (1U << (ExponentBits - 1)) - 1;
  if (magnitude > (ExponentBits == 4 ? 0x7EU : 0x7CU)) return detail::bits_float(sign | 0x7FC00000U);
  if (ExponentBits == 5 && magnitude == 0x7CU) return detail::bits_float(sign | 0x7F800000U);
  const std::uint32_t exponent = magnitude >> kFractionBits;
  if (exponent == 0) {  // zero or subnormal
    const float scale = detail::bits_float((128 - kBias - kFractionBits) << 23);
    const float value = static_cast<float>(magnitude) * scale;
    return sign != 0 ? -value : value;
  }
  return detail::bits_float(sign | ((magnitude << (23 - kFractionBits)) + ((127 - kBias) << 23)));
}

template <int ExponentBits>
inline float8<ExponentBits>::float8(float value) {
  constexpr std::uint32_t kFractionBits = 7 - ExponentBits;
  constexpr std::uint32_t kBias = (1U << (ExponentBits - 1)) - 1;
  constexpr std::uint32_t kGreatest = ExponentBits == 4 ? 0x7EU : 0x7BU;
  constexpr std::uint32_t kBeyond = ExponentBits == 4 ? kGreatest : 0x7CU;
  const std::uint32_t source = detail::float_bits(value);
  const std::uint32_t magnitude = source & 0x7FFFFFFFU;
  const std::uint32_t smallest_normal = (128 - kBias) << 23;
  std::uint32_t result = 0;
  if (magnitude > 0x7F800000U) {
    result = 0x7FU;  // NaN
  } else if (magnitude < smallest_normal) {
    // Subnormal: the addition of a number whose last bit is worth the smallest one rounds to it.
    const float shifter = detail::bits_float((128 - kBias + 23 - kFractionBits) << 23);
    result = detail::float_bits(detail::bits_float(magnitude) + shifter) - detail::float_bits(shifter);
  } else {
    constexpr std::uint32_t kDropped = 23 - kFractionBits;
    const std::uint32_t odd = (magnitude >> kDropped) & 1U;
    result = (magnitude - ((127 - kBias) << 23) + ((1U << (kDropped - 1)) - 1) + odd) >> kDropped;
    if (result > kGreatest) result = kBeyond;
  }
  bits = static_cast<std::uint8_t>((source >> 24 & 0x80U) | result);
}

// A complex number of two float16, as it is stored. Convert to std::complex<float> to compute with it.
struct complex32 {
  float16 real;
  float16 imag;

  complex32() = default;
  explicit complex32(std::complex<float> value) : real(value.real()), imag(value.imag()) {}
  explicit operator std::complex<float>() const { return {static_cast<float>(real), static_cast<float>(imag)}; }
};

// The element type `T` as the C ABI and DLPack number it.
template <typename T>
struct dtype_of;

// clang-format off
template <> struct dtype_of<double> { static constexpr aotbuild_dtype value{AOTBUILD_FLOAT, 64, 1}; };
template <> struct dtype_of<float> { static constexpr aotbuild_dtype value{AOTBUILD_FLOAT, 32, 1}; };
template <> struct dtype_of<float16> { static constexpr aotbuild_dtype value{AOTBUILD_FLOAT, 16, 1}; };
template <> struct dtype_of<bfloat16> { static constexpr aotbuild_dtype value{AOTBUILD_BFLOAT, 16, 1}; };
template <> struct dtype_of<float8_e4m3fn> { static constexpr aotbuild_dtype value{AOTBUILD_FLOAT8_E4M3FN, 8, 1}; };
template <> struct dtype_of<float8_e5m2> { static constexpr aotbuild_dtype value{AOTBUILD_FLOAT8_E5M2, 8, 1}; };
template <> struct dtype_of<std::int64_t> { static constexpr aotbuild_dtype value{AOTBUILD_INT, 64, 1}; };
template <> struct dtype_of<std::int32_t> { static constexpr aotbuild_dtype value{AOTBUILD_INT, 32, 1}; };
template <> struct dtype_of<std::int16_t> { static constexpr aotbuild_dtype value{AOTBUILD_INT, 16, 1}; };
template <> struct dtype_of<std::int8_t> { static constexpr aotbuild_dtype value{AOTBUILD_INT, 8, 1}; };
template <> struct dtype_of<std::uint8_t> { static constexpr aotbuild_dtype value{AOTBUILD_UINT, 8, 1}; };
template <> struct dtype_of<std::uint16_t> { static constexpr aotbuild_dtype value{AOTBUILD_UINT, 16, 1}; };
template <> struct dtype_of<std::uint32_t> { static constexpr aotbuild_dtype value{AOTBUILD_UINT, 32, 1}; };
template <> struct dtype_of<std::uint64_t> { static constexpr aotbuild_dtype value{AOTBUILD_UINT, 64, 1}; };
template <> struct dtype_of<bool> { static constexpr aotbuild_dtype value{AOTBUILD_BOOL, 8, 1}; };
template <> struct dtype_of<complex32> { static constexpr aotbuild_dtype value{AOTBUILD_COMPLEX, 32, 1}; };
template <> struct dtype_of<std::complex<float>> { static constexpr aotbuild_dtype value{AOTBUILD_COMPLEX, 64, 1}; };
template <> struct dtype_of<std::complex<double>> { static constexpr aotbuild_dtype value{AOTBUILD_COMPLEX, 128, 1}; };
// clang-format on

template <typename T>
AOTBUILD_HIDDEN inline constexpr aotbuild_dtype dtype_v = dtype_of<std::remove_const_t<T>>::value;

inline constexpr bool operator==(const aotbuild_dtype& a, const aotbuild_dtype& b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}
inline constexpr bool operator!=(const aotbuild_dtype& a, const aotbuild_dtype& b) { return !(a == b); }

// "float32", "int64", "bool": the names that PyTorch and NumPy use.
inline std::string dtype_name(aotbuild_dtype dtype) {
  if (dtype.code == AOTBUILD_BOOL) return "bool";
  if (dtype.code == AOTBUILD_FLOAT8_E4M3FN) return "float8_e4m3fn";
  if (dtype.code == AOTBUILD_FLOAT8_E5M2) return "float8_e5m2";
  const char* kind = "unknown";
  switch (dtype.code) {
    case AOTBUILD_INT:
      kind = "int";
      break;
    case AOTBUILD_UINT:
      kind = "uint";
      break;
    case AOTBUILD_FLOAT:
      kind = "float";
      break;
    case AOTBUILD_BFLOAT:
      kind = "bfloat";
      break;
    case AOTBUILD_COMPLEX:
      kind = "complex";
      break;
    default:
      break;
  }
  return kind + detail::number_text(dtype.bits);
}

// `Rank` sizes or strides, from any integers: `{batch, length}` works whatever integer types the two have.
template <std::size_t Rank>
class Extents : public std::array<std::int64_t, Rank> {
 public:
  Extents() : std::array<std::int64_t, Rank>{} {}
  Extents(const std::array<std::int64_t, Rank>& values) : std::array<std::int64_t, Rank>(values) {}
  template <typename... Integers, typename = std::enable_if_t<sizeof...(Integers) == Rank && (Rank > 0) &&
                                                              (std::is_integral_v<std::decay_t<Integers>> && ...)>>
  Extents(Integers... values) : std::array<std::int64_t, Rank>{{static_cast<std::int64_t>(values)...}} {}
};

AOTBUILD_HIDDEN inline constexpr aotbuild_device kCpuDevice{AOTBUILD_CPU, 0};

}  // namespace AOTBUILD_NAMESPACE

namespace detail {
inline namespace AOTBUILD_NAMESPACE {

// A template, so that code with and code without exceptions in one program do not share one of the two.
template <bool kThrows>
[[noreturn]] void refuse_to_iterate() {
  constexpr const char* kWhy = "begin(): the tensor is not contiguous; index it with operator()";
#if AOTBUILD_EXCEPTIONS
  if constexpr (kThrows) throw Error(AOTBUILD_INVALID_ARGUMENT, kWhy);
#endif
  std::fputs(kWhy, stderr);
  std::abort();
}

template <std::size_t Rank>
Extents<Rank> contiguous_strides(const Extents<Rank>& sizes) {
  Extents<Rank> strides;
  std::int64_t stride = 1;
  for (std::size_t i = Rank; i-- > 0;) {
    strides[i] = stride;
    stride *= sizes[i] > 1 ? sizes[i] : 1;
  }
  return strides;
}

// What the views of host and of device memory have in common: everything but the elements.
template <typename T, std::size_t Rank>
class ViewBase {
 public:
  using element_type = T;
  using value_type = std::remove_const_t<T>;
  static constexpr std::size_t rank = Rank;

  T* data() const { return data_; }
  const Extents<Rank>& sizes() const { return sizes_; }
  const Extents<Rank>& strides() const { return strides_; }
  std::int64_t size(std::size_t dim) const { return sizes_[dim]; }
  std::int64_t stride(std::size_t dim) const { return strides_[dim]; }
  aotbuild_device device() const { return device_; }

  std::int64_t numel() const {
    std::int64_t count = 1;
    for (std::int64_t size : sizes_) count *= size;
    return count;
  }

  bool is_contiguous() const {
    const Extents<Rank> expected = contiguous_strides<Rank>(sizes_);
    for (std::size_t i = 0; i < Rank; ++i) {
      if (sizes_[i] == 0) return true;
      if (sizes_[i] != 1 && strides_[i] != expected[i]) return false;
    }
    return true;
  }

  // The same view for the C ABI; it points into this object.
  aotbuild_tensor c_tensor() const {
    aotbuild_tensor tensor{};
    tensor.data = const_cast<value_type*>(data_);
    tensor.device = device_;
    tensor.ndim = static_cast<std::int32_t>(Rank);
    tensor.dtype = dtype_v<T>;
    tensor.shape = const_cast<std::int64_t*>(sizes_.data());
    tensor.strides = const_cast<std::int64_t*>(strides_.data());
    return tensor;
  }

 protected:
  ViewBase() = default;
  ViewBase(T* data, const Extents<Rank>& sizes, const Extents<Rank>& strides, aotbuild_device device)
      : data_(data), sizes_(sizes), strides_(strides), device_(device) {}

 private:
  T* data_ = nullptr;
  Extents<Rank> sizes_;
  Extents<Rank> strides_;
  aotbuild_device device_ = kCpuDevice;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail

inline namespace AOTBUILD_NAMESPACE {

// A tensor in somebody else's host memory, `T const` for one that is only read. Copying copies the view, not the
// elements. Strides count elements.
template <typename T, std::size_t Rank>
class TensorView : public detail::ViewBase<T, Rank> {
  using Base = detail::ViewBase<T, Rank>;

 public:
  TensorView() = default;

  // Contiguous (row-major) memory.
  TensorView(T* data, const Extents<Rank>& sizes) : TensorView(data, sizes, detail::contiguous_strides<Rank>(sizes)) {}

  TensorView(T* data, const Extents<Rank>& sizes, const Extents<Rank>& strides)
      : Base(data, sizes, strides, kCpuDevice) {}

  // One value, for rank 0.
  template <std::size_t R = Rank, typename = std::enable_if_t<R == 0>>
  TensorView(T& value) : TensorView(&value, Extents<Rank>()) {}

  // std::vector, std::array, std::span and the like, for rank 1.
  template <typename Container, std::size_t R = Rank,
            typename =
                std::enable_if_t<R == 1 && std::is_convertible_v<decltype(std::data(std::declval<Container&>())), T*> &&
                                 std::is_integral_v<std::decay_t<decltype(std::size(std::declval<Container&>()))>>>>
  TensorView(Container&& container) : TensorView(std::data(container), Extents<1>(std::size(container))) {}

  // A read-only view of the same elements.
  template <typename U, typename = std::enable_if_t<std::is_same_v<const U, T>>>
  TensorView(const TensorView<U, Rank>& other) : TensorView(other.data(), other.sizes(), other.strides()) {}

  // view(i, j, ...): one element. Indices are not checked.
  template <typename... Indices>
  T& operator()(Indices... indices) const {
    static_assert(sizeof...(Indices) == Rank, "give one index for each dimension");
    const std::array<std::int64_t, Rank> index{{static_cast<std::int64_t>(indices)...}};
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < Rank; ++i) offset += index[i] * this->stride(i);
    return this->data()[offset];
  }

  // view[i]: the i-th slice along the first dimension; an element for rank 1. The index is not checked.
  decltype(auto) operator[](std::int64_t index) const {
    static_assert(Rank > 0, "a tensor of rank 0 has one element: use view()");
    T* const slice = this->data() + index * this->stride(0);
    if constexpr (Rank == 1) {
      return static_cast<T&>(*slice);
    } else {
      Extents<Rank - 1> sizes;
      Extents<Rank - 1> strides;
      for (std::size_t i = 1; i < Rank; ++i) {
        sizes[i - 1] = this->size(i);
        strides[i - 1] = this->stride(i);
      }
      return TensorView<T, Rank - 1>(slice, sizes, strides);
    }
  }

  // All elements in row-major order; only a contiguous view has them in one run. For others it throws Error, and ends
  // the program where there are no exceptions.
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  T* begin() const {
    if (!this->is_contiguous()) detail::refuse_to_iterate<kThrows>();
    return this->data();
  }
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  T* end() const {
    return begin<kThrows>() + this->numel();
  }
};

}  // namespace AOTBUILD_NAMESPACE

namespace detail {
inline namespace AOTBUILD_NAMESPACE {

// What Tensor and DeviceTensor have in common: a view, and a share of the memory that it shows.
template <template <typename, std::size_t> class ViewOf, typename T, std::size_t Rank>
class OwnedView {
 public:
  using View = ViewOf<T, Rank>;
  using value_type = T;
  static constexpr std::size_t rank = Rank;

  OwnedView() = default;
  // `owner` keeps the memory of `view` alive.
  OwnedView(const View& view, std::shared_ptr<void> owner) : view_(view), owner_(std::move(owner)) {}
  OwnedView(OwnedView&&) noexcept = default;
  OwnedView& operator=(OwnedView&&) noexcept = default;
  OwnedView(const OwnedView&) = delete;
  OwnedView& operator=(const OwnedView&) = delete;

  View view() { return view_; }
  ViewOf<const T, Rank> view() const { return view_; }
  operator View() { return view_; }
  operator ViewOf<const T, Rank>() const { return view_; }

  T* data() { return view_.data(); }
  const T* data() const { return view_.data(); }
  const Extents<Rank>& sizes() const { return view_.sizes(); }
  const Extents<Rank>& strides() const { return view_.strides(); }
  std::int64_t size(std::size_t dim) const { return view_.size(dim); }
  std::int64_t stride(std::size_t dim) const { return view_.stride(dim); }
  aotbuild_device device() const { return view_.device(); }
  std::int64_t numel() const { return view_.numel(); }
  bool is_contiguous() const { return view_.is_contiguous(); }

 private:
  View view_;
  std::shared_ptr<void> owner_;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail

inline namespace AOTBUILD_NAMESPACE {

// A tensor that owns its host memory, or a share of it: what a model returns. It outlives the model that made it.
template <typename T, std::size_t Rank>
class Tensor : public detail::OwnedView<TensorView, T, Rank> {
 public:
  using detail::OwnedView<TensorView, T, Rank>::OwnedView;

  template <typename... Indices>
  T& operator()(Indices... indices) {
    return this->view()(indices...);
  }
  template <typename... Indices>
  const T& operator()(Indices... indices) const {
    return this->view()(indices...);
  }
  decltype(auto) operator[](std::int64_t index) { return this->view()[index]; }
  decltype(auto) operator[](std::int64_t index) const { return this->view()[index]; }

  // As of the view.
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  T* begin() {
    return this->view().template begin<kThrows>();
  }
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  T* end() {
    return this->view().template end<kThrows>();
  }
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  const T* begin() const {
    return this->view().template begin<kThrows>();
  }
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  const T* end() const {
    return this->view().template end<kThrows>();
  }
};

// A view whose element type and rank are known at run time only: weights by name.
class AnyTensorView {
 public:
  AnyTensorView() = default;

  template <typename T, std::size_t Rank>
  AnyTensorView(const TensorView<T, Rank>& view)
      : AnyTensorView(view.c_tensor().data, dtype_v<T>, {view.sizes().begin(), view.sizes().end()},
                      {view.strides().begin(), view.strides().end()}, view.device()) {}

  AnyTensorView(const void* data, aotbuild_dtype dtype, std::vector<std::int64_t> sizes,
                std::vector<std::int64_t> strides, aotbuild_device device = kCpuDevice)
      : data_(data), dtype_(dtype), sizes_(std::move(sizes)), strides_(std::move(strides)), device_(device) {}

  // The same view for the C ABI; it points into this object.
  aotbuild_tensor c_tensor() const {
    aotbuild_tensor tensor{};
    tensor.data = const_cast<void*>(data_);
    tensor.device = device_;
    tensor.ndim = static_cast<std::int32_t>(sizes_.size());
    tensor.dtype = dtype_;
    tensor.shape = const_cast<std::int64_t*>(sizes_.data());
    tensor.strides = strides_.empty() ? nullptr : const_cast<std::int64_t*>(strides_.data());
    return tensor;
  }

 private:
  const void* data_ = nullptr;
  aotbuild_dtype dtype_{};
  std::vector<std::int64_t> sizes_;
  std::vector<std::int64_t> strides_;
  aotbuild_device device_ = kCpuDevice;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild

#endif  // AOTBUILD_TENSOR_HPP_
