#include "compare.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "error.hpp"

namespace aotbuild::tune {

namespace {

// How far sums in another order may be apart, in units of the largest value: a few roundings of the type.
double tolerance_of(const std::string& dtype) {
  if (dtype == "bfloat16") return 4e-2;
  if (dtype == "float16") return 8e-3;
  if (dtype == "float32") return 2e-4;
  return 1e-9;  // float64
}

bool is_floating(const std::string& dtype) { return dtype.rfind("float", 0) == 0 || dtype == "bfloat16"; }

std::size_t size_of(const std::string& dtype) { return dtype == "float64" ? 8 : dtype == "float32" ? 4 : 2; }

double from_half(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31) return fraction != 0 ? std::nan("") : sign * HUGE_VAL;
  return exponent == 0 ? sign * std::ldexp(fraction, -24) : sign * std::ldexp(1024 + fraction, exponent - 25);
}

// The element at `at`; of types that are stored in 2, 4 and 8 bytes.
double element(const std::string& dtype, const unsigned char* at) {
  if (dtype == "float64") {
    double value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  std::uint32_t bits = 0;
  std::memcpy(&bits, at, size_of(dtype));
  if (dtype == "float16") return from_half(static_cast<std::uint16_t>(bits));
  if (dtype == "bfloat16") bits <<= 16;
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return static_cast<double>(value);
}

void write_element(const std::string& dtype, double value, unsigned char* at) {
  const auto narrow = static_cast<float>(value);
  std::uint32_t bits = 0;
  std::memcpy(&bits, &narrow, sizeof bits);
  if (dtype == "float64") {
    std::memcpy(at, &value, sizeof value);
  } else if (dtype == "float32") {
    std::memcpy(at, &bits, sizeof bits);
  } else {
    // Towards zero. The magnitude is in [2^-12, 1], where float16 has normal numbers.
    const std::uint32_t half = (bits >> 16 & 0x8000) | (((bits >> 23 & 255) - 112) << 10) | (bits >> 13 & 1023);
    const auto stored = static_cast<std::uint16_t>(dtype == "float16" ? half : bits >> 16);
    std::memcpy(at, &stored, sizeof stored);
  }
}

}  // namespace

std::vector<unsigned char> initial_value(const Argument& argument, const Bundle& bundle, std::mt19937_64& random) {
  if (argument.has_data) {
    const unsigned char* const begin = bundle.data.data() + argument.data.offset;
    return {begin, begin + argument.data.size};
  }
  std::vector<unsigned char> values(argument.nbytes);
  const std::string& dtype = argument.dtype;
  if (dtype != "float16" && dtype != "bfloat16" && dtype != "float32" && dtype != "float64") return values;
  const std::size_t size = size_of(dtype);
  for (std::size_t i = 0; i + size <= values.size(); i += size) {
    const std::uint64_t bits = random();
    const double magnitude = std::max(static_cast<double>(bits >> 11) * 0x1p-53, 0x1p-12);
    write_element(dtype, (bits & 1) != 0 ? magnitude : -magnitude, &values[i]);
  }
  return values;
}

std::string difference(const std::string& dtype, const std::vector<unsigned char>& values,
                       const std::vector<unsigned char>& expected) {
  if (!is_floating(dtype) || dtype.rfind("float8", 0) == 0) {
    const auto found = std::mismatch(values.begin(), values.end(), expected.begin());
    if (found.first == values.end()) return "";
    return detail::concat("byte ", found.first - values.begin(), " (", dtype, ") is ", int{*found.first},
                          ", and with the first candidate ", int{*found.second});
  }
  const std::size_t size = size_of(dtype);
  double largest = 0;
  for (std::size_t i = 0; i + size <= expected.size(); i += size) {
    const double value = std::abs(element(dtype, &expected[i]));
    if (std::isfinite(value)) largest = std::max(largest, value);
  }
  const double allowed = tolerance_of(dtype) * largest;
  for (std::size_t i = 0; i + size <= expected.size(); i += size) {
    if (std::memcmp(&values[i], &expected[i], size) == 0) continue;
    const double value = element(dtype, &values[i]);
    const double wanted = element(dtype, &expected[i]);
    const bool same_kind = std::isnan(value) == std::isnan(wanted) && std::isinf(value) == std::isinf(wanted);
    if (same_kind && (!std::isfinite(value) || std::abs(value - wanted) <= allowed)) continue;
    return detail::concat("element ", i / size, " (", dtype, ") is ", value, ", and with the first candidate ", wanted);
  }
  return "";
}

}  // namespace aotbuild::tune
