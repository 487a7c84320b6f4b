// Element types of 8 and 16 bits that C++ has none for, as they are stored.
#ifndef AOTBUILD_FLOATS_HPP_
#define AOTBUILD_FLOATS_HPP_

#include <cstdint>
#include <cstring>

#include "aotbuild/detail/version.h"

namespace aotbuild {
inline namespace AOTBUILD_NAMESPACE {

// IEEE 754 binary16 as it is stored. Convert to float to compute with it.
struct float16 {
  std::uint16_t bits = 0;  // as they are stored

  float16() = default;              // zero
  explicit float16(float value);    // rounds to nearest, ties to even
  explicit operator float() const;  // the same number
  // The number that these bits are.
  static float16 from_bits(std::uint16_t bits) {
    float16 result;
    result.bits = bits;
    return result;
  }
};

// The upper half of an IEEE 754 binary32, as it is stored. Convert to float to compute with it.
struct bfloat16 {
  std::uint16_t bits = 0;  // as they are stored

  bfloat16() = default;             // zero
  explicit bfloat16(float value);   // rounds to nearest, ties to even
  explicit operator float() const;  // the same number
  // The number that these bits are.
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
  std::uint8_t bits = 0;  // as they are stored

  float8() = default;  // zero
  // Rounds to nearest, ties to even; what is beyond becomes the greatest number or, with 5 bits, infinity.
  explicit float8(float value);
  explicit operator float() const;  // the same number
  // The number that these bits are.
  static float8 from_bits(std::uint8_t bits) {
    float8 result;
    result.bits = bits;
    return result;
  }
};
using float8_e4m3fn = float8<4>;  // up to 448, without infinities
using float8_e5m2 = float8<5>;    // up to 57344, with infinities

}  // namespace AOTBUILD_NAMESPACE

namespace detail {
inline namespace AOTBUILD_NAMESPACE {

// A number as it is stored.
inline std::uint32_t float_bits(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// What is stored as a number.
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

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild

#endif  // AOTBUILD_FLOATS_HPP_
