#include "tensor/dtype.hpp"

namespace aotbuild::detail {

std::size_t element_size(ScalarType dtype) noexcept {
  switch (dtype) {
    case ScalarType::kUInt8:
    case ScalarType::kInt8:
    case ScalarType::kBool:
    case ScalarType::kFloat8E5M2:
    case ScalarType::kFloat8E4M3FN:
    case ScalarType::kFloat8E5M2FNUZ:
    case ScalarType::kFloat8E4M3FNUZ:
      return 1;
    case ScalarType::kInt16:
    case ScalarType::kUInt16:
    case ScalarType::kFloat16:
    case ScalarType::kBFloat16:
      return 2;
    case ScalarType::kInt32:
    case ScalarType::kUInt32:
    case ScalarType::kFloat32:
    case ScalarType::kComplex32:
      return 4;
    case ScalarType::kInt64:
    case ScalarType::kUInt64:
    case ScalarType::kFloat64:
    case ScalarType::kComplex64:
      return 8;
    case ScalarType::kComplex128:
      return 16;
  }
  return 0;
}

const char* dtype_name(ScalarType dtype) noexcept {
  switch (dtype) {
    case ScalarType::kUInt8:
      return "uint8";
    case ScalarType::kInt8:
      return "int8";
    case ScalarType::kInt16:
      return "int16";
    case ScalarType::kInt32:
      return "int32";
    case ScalarType::kInt64:
      return "int64";
    case ScalarType::kFloat16:
      return "float16";
    case ScalarType::kFloat32:
      return "float32";
    case ScalarType::kFloat64:
      return "float64";
    case ScalarType::kComplex32:
      return "complex32";
    case ScalarType::kComplex64:
      return "complex64";
    case ScalarType::kComplex128:
      return "complex128";
    case ScalarType::kBool:
      return "bool";
    case ScalarType::kBFloat16:
      return "bfloat16";
    case ScalarType::kFloat8E5M2:
      return "float8_e5m2";
    case ScalarType::kFloat8E4M3FN:
      return "float8_e4m3fn";
    case ScalarType::kFloat8E5M2FNUZ:
      return "float8_e5m2fnuz";
    case ScalarType::kFloat8E4M3FNUZ:
      return "float8_e4m3fnuz";
    case ScalarType::kUInt16:
      return "uint16";
    case ScalarType::kUInt32:
      return "uint32";
    case ScalarType::kUInt64:
      return "uint64";
  }
  return "unknown";
}

namespace {
struct Pair {
  aotbuild_dtype dtype;
  ScalarType scalar;
};
constexpr Pair kTypes[] = {{{AOTBUILD_FLOAT, 32, 1}, ScalarType::kFloat32},
                           {{AOTBUILD_INT, 64, 1}, ScalarType::kInt64},
                           {{AOTBUILD_BOOL, 8, 1}, ScalarType::kBool},
                           {{AOTBUILD_FLOAT, 64, 1}, ScalarType::kFloat64},
                           {{AOTBUILD_FLOAT, 16, 1}, ScalarType::kFloat16},
                           {{AOTBUILD_BFLOAT, 16, 1}, ScalarType::kBFloat16},
                           {{AOTBUILD_INT, 32, 1}, ScalarType::kInt32},
                           {{AOTBUILD_INT, 16, 1}, ScalarType::kInt16},
                           {{AOTBUILD_INT, 8, 1}, ScalarType::kInt8},
                           {{AOTBUILD_UINT, 8, 1}, ScalarType::kUInt8},
                           {{AOTBUILD_UINT, 16, 1}, ScalarType::kUInt16},
                           {{AOTBUILD_UINT, 32, 1}, ScalarType::kUInt32},
                           {{AOTBUILD_FLOAT8_E4M3FN, 8, 1}, ScalarType::kFloat8E4M3FN},
                           {{AOTBUILD_FLOAT8_E5M2, 8, 1}, ScalarType::kFloat8E5M2},
                           {{AOTBUILD_UINT, 64, 1}, ScalarType::kUInt64},
                           {{AOTBUILD_COMPLEX, 32, 1}, ScalarType::kComplex32},
                           {{AOTBUILD_COMPLEX, 64, 1}, ScalarType::kComplex64},
                           {{AOTBUILD_COMPLEX, 128, 1}, ScalarType::kComplex128}};
}  // namespace

bool scalar_type_of(aotbuild_dtype dtype, ScalarType* out) noexcept {
  for (const Pair& pair : kTypes) {
    if (pair.dtype == dtype) {
      *out = pair.scalar;
      return true;
    }
  }
  return false;
}

std::string dtype_name(aotbuild_dtype dtype) {
  ScalarType scalar;
  if (scalar_type_of(dtype, &scalar)) return dtype_name(scalar);
  return concat("unknown (code ", int{dtype.code}, ", ", int{dtype.bits}, " bits, ", dtype.lanes, " lanes)");
}

float half_to_float(std::uint16_t bits) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  std::uint32_t exponent = (bits >> 10) & 0x1fU;
  std::uint32_t mantissa = bits & 0x3ffU;
  std::uint32_t word;
  if (exponent == 0x1fU) {
    word = sign | 0x7f800000U | (mantissa << 13);
  } else if (exponent != 0) {
    word = sign | ((exponent + 112U) << 23) | (mantissa << 13);
  } else if (mantissa == 0) {
    word = sign;
  } else {  // subnormal: shift the leading one into place
    exponent = 113U;
    while ((mantissa & 0x400U) == 0) {
      mantissa <<= 1;
      --exponent;
    }
    word = sign | (exponent << 23) | ((mantissa & 0x3ffU) << 13);
  }
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

std::uint16_t float_to_half(float value) noexcept {
  std::uint32_t word;
  std::memcpy(&word, &value, sizeof word);
  const std::uint32_t sign = (word >> 16) & 0x8000U;
  const std::uint32_t magnitude = word & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7e00U);   // NaN
  if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);  // rounds to infinity
  if (magnitude < 0x33000000U) return static_cast<std::uint16_t>(sign);             // rounds to zero
  std::uint32_t mantissa = magnitude & 0x7fffffU;
  const std::uint32_t exponent = magnitude >> 23;
  std::uint32_t shift = 13;
  std::uint32_t base = 0;
  if (exponent < 113U) {  // subnormal result
    mantissa |= 0x800000U;
    shift = 126U - exponent;
  } else {
    base = (exponent - 112U) << 10;
  }
  const std::uint32_t half_way = 1U << (shift - 1);
  const std::uint32_t rest = mantissa & ((1U << shift) - 1U);
  std::uint32_t result = base + (mantissa >> shift);
  if (rest > half_way || (rest == half_way && (result & 1U) != 0)) ++result;  // a carry into the exponent is right
  return static_cast<std::uint16_t>(sign | result);
}

}  // namespace aotbuild::detail
