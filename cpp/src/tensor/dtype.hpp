// Element types: the numbers of c10::ScalarType, their sizes and names, and the C++ types that stand for them.
#ifndef AOTBUILD_SRC_TENSOR_DTYPE_HPP_
#define AOTBUILD_SRC_TENSOR_DTYPE_HPP_

#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "aotbuild/c_api.h"
#include "base/error.hpp"

namespace aotbuild::detail {

enum class ScalarType : std::int32_t {
  kUInt8 = 0,
  kInt8 = 1,
  kInt16 = 2,
  kInt32 = 3,
  kInt64 = 4,
  kFloat16 = 5,
  kFloat32 = 6,
  kFloat64 = 7,
  kComplex32 = 8,
  kComplex64 = 9,
  kComplex128 = 10,
  kBool = 11,
  kBFloat16 = 15,
  kFloat8E5M2 = 23,
  kFloat8E4M3FN = 24,
  kFloat8E5M2FNUZ = 25,
  kFloat8E4M3FNUZ = 26,
  kUInt16 = 27,
  kUInt32 = 28,
  kUInt64 = 29,
};

// Bytes of one element; 0 for a number that is no type known here.
std::size_t element_size(ScalarType dtype) noexcept;
// What data must be aligned to: half of a complex element, else the element.
inline std::size_t component_size(ScalarType dtype) noexcept {
  const bool is_complex = dtype == ScalarType::kComplex64 || dtype == ScalarType::kComplex128;
  return is_complex ? element_size(dtype) / 2 : element_size(dtype);
}
const char* dtype_name(ScalarType dtype) noexcept;

// From the DLPack numbers of the C ABI. False when there is no such type here.
bool scalar_type_of(aotbuild_dtype dtype, ScalarType* out) noexcept;
std::string dtype_name(aotbuild_dtype dtype);

inline bool operator==(aotbuild_dtype a, aotbuild_dtype b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}
inline bool operator!=(aotbuild_dtype a, aotbuild_dtype b) { return !(a == b); }

float half_to_float(std::uint16_t bits) noexcept;
std::uint16_t float_to_half(float value) noexcept;

// IEEE 754 binary16, converted in software: for copies and for kernels without a oneDNN implementation.
struct Half {
  std::uint16_t bits;
  Half() = default;
  explicit Half(float value) : bits(float_to_half(value)) {}
  explicit operator float() const { return half_to_float(bits); }
};

struct BFloat16 {
  std::uint16_t bits;
  BFloat16() = default;
  explicit BFloat16(float value) {
    std::uint32_t word;
    std::memcpy(&word, &value, sizeof word);
    const bool is_nan = (word & 0x7fffffffU) > 0x7f800000U;
    // Round to nearest, ties to even.
    bits = is_nan ? std::uint16_t{0x7fc0} : static_cast<std::uint16_t>((word + 0x7fffU + ((word >> 16) & 1U)) >> 16);
  }
  explicit operator float() const {
    const std::uint32_t word = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
};

inline bool is_half_type(ScalarType dtype) noexcept {
  return dtype == ScalarType::kFloat16 || dtype == ScalarType::kBFloat16;
}
template <typename T>
inline constexpr bool is_half = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;
template <typename T>
struct IsComplex : std::false_type {};
template <typename T>
struct IsComplex<std::complex<T>> : std::true_type {};
template <typename T>
inline constexpr bool is_complex = IsComplex<T>::value;

// The type that sums of T are kept in.
template <typename T>
using Accumulator = std::conditional_t<is_half<T>, float, std::conditional_t<std::is_same_v<T, bool>, bool, T>>;

// One element converted as torch's `copy_` does: real part of complex, non-zero for bool.
template <typename To, typename From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (is_half<From>) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (is_complex<From>) {
    if constexpr (is_complex<To>) {
      using Real = typename To::value_type;
      return To(static_cast<Real>(value.real()), static_cast<Real>(value.imag()));
    } else if constexpr (std::is_same_v<To, bool>) {
      return value != From(0);
    } else {
      return convert<To>(value.real());
    }
  } else if constexpr (is_complex<To>) {
    return To(static_cast<typename To::value_type>(value));
  } else if constexpr (is_half<To>) {
    return To(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // Out of range is undefined in C++. Going through int64 wraps for the narrow types, as torch does on x86-64.
    constexpr From limit = static_cast<From>(9223372036854775808.0);
    if (!(value >= -limit && value < limit)) {
      if (std::is_same_v<To, std::uint64_t> && value >= limit && value < 2 * limit) return static_cast<To>(value);
      return static_cast<To>(INT64_MIN);
    }
    return static_cast<To>(static_cast<std::int64_t>(value));
  } else {
    return static_cast<To>(value);
  }
}

template <typename T>
struct TypeTag {
  using type = T;
};

// Calls `body(TypeTag<T>{})` with the C++ type of `dtype`. `function` begins the error text.
template <typename Body>
void dispatch(ScalarType dtype, const char* function, Body&& body) {
  switch (dtype) {
    case ScalarType::kUInt8:
      return body(TypeTag<std::uint8_t>{});
    case ScalarType::kInt8:
      return body(TypeTag<std::int8_t>{});
    case ScalarType::kInt16:
      return body(TypeTag<std::int16_t>{});
    case ScalarType::kInt32:
      return body(TypeTag<std::int32_t>{});
    case ScalarType::kInt64:
      return body(TypeTag<std::int64_t>{});
    case ScalarType::kFloat16:
      return body(TypeTag<Half>{});
    case ScalarType::kFloat32:
      return body(TypeTag<float>{});
    case ScalarType::kFloat64:
      return body(TypeTag<double>{});
    case ScalarType::kComplex64:
      return body(TypeTag<std::complex<float>>{});
    case ScalarType::kComplex128:
      return body(TypeTag<std::complex<double>>{});
    case ScalarType::kBool:
      return body(TypeTag<bool>{});
    case ScalarType::kBFloat16:
      return body(TypeTag<BFloat16>{});
    default:
      fail(function, "element type ", dtype_name(dtype), " is not supported");
  }
}

// Like `dispatch`, for real floating-point types only.
template <typename Body>
void dispatch_real(ScalarType dtype, const char* function, Body&& body) {
  dispatch(dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_floating_point_v<T> || is_half<T>) {
      body(tag);
    } else {
      fail(function, "element type ", dtype_name(dtype), " is not supported, expected a real floating-point type");
    }
  });
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_TENSOR_DTYPE_HPP_
