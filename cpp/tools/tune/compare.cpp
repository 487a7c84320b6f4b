#include "compare.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/error.hpp"

namespace aotbuild::tune {

namespace {

// The formats of floating-point elements. Each has its storage, conversions from and to float64, and how far sums in
// another order may be apart, in units of the largest value: a few roundings.
struct Float64 {
  using Storage = double;
  static constexpr double kTolerance = 1e-9;
  static double read(double value) { return value; }
  static double write(double value) { return value; }
};

struct Float32 {
  using Storage = float;
  static constexpr double kTolerance = 2e-4;
  static double read(float value) { return static_cast<double>(value); }
  static float write(double value) { return static_cast<float>(value); }
};

std::uint32_t bits_of(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

struct BFloat16 {
  using Storage = std::uint16_t;
  static constexpr double kTolerance = 4e-2;
  static double read(std::uint16_t stored) {
    const std::uint32_t bits = std::uint32_t{stored} << 16;
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return static_cast<double>(value);
  }
  static std::uint16_t write(double value) {
    return static_cast<std::uint16_t>(bits_of(static_cast<float>(value)) >> 16);
  }
};

struct Float16 {
  using Storage = std::uint16_t;
  static constexpr double kTolerance = 8e-3;
  static double read(std::uint16_t bits) {
    const int exponent = (bits >> 10) & 31;
    const int fraction = bits & 1023;
    const double sign = (bits & 0x8000) != 0 ? -1 : 1;
    if (exponent == 31) return fraction != 0 ? std::nan("") : sign * HUGE_VAL;
    return exponent == 0 ? sign * std::ldexp(fraction, -24) : sign * std::ldexp(1024 + fraction, exponent - 25);
  }
  // Towards zero, for magnitudes in [2^-14, 65504), where there are normal numbers.
  static std::uint16_t write(double value) {
    const std::uint32_t bits = bits_of(static_cast<float>(value));
    return static_cast<std::uint16_t>((bits >> 16 & 0x8000) | (((bits >> 23 & 255) - 112) << 10) | (bits >> 13 & 1023));
  }
};

// Calls `body` with the format of that name. False: it is none of these.
template <typename Body>
bool with_format(const std::string& dtype, Body&& body) {
  if (dtype == "float16") {
    body(Float16{});
  } else if (dtype == "bfloat16") {
    body(BFloat16{});
  } else if (dtype == "float32") {
    body(Float32{});
  } else if (dtype == "float64") {
    body(Float64{});
  } else {
    return false;
  }
  return true;
}

template <typename Format>
std::vector<typename Format::Storage> elements(const std::vector<unsigned char>& bytes) {
  std::vector<typename Format::Storage> result(bytes.size() / sizeof(typename Format::Storage));
  std::memcpy(result.data(), bytes.data(), result.size() * sizeof(typename Format::Storage));
  return result;
}

template <typename Format>
std::string difference_of(const std::vector<unsigned char>& values, const std::vector<unsigned char>& expected) {
  const auto found = elements<Format>(values);
  const auto wanted = elements<Format>(expected);
  double largest = 0;
  for (const auto stored : wanted) {
    const double value = std::abs(Format::read(stored));
    if (std::isfinite(value)) largest = std::max(largest, value);
  }
  const double allowed = Format::kTolerance * largest;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (std::memcmp(&found[i], &wanted[i], sizeof found[i]) == 0) continue;
    const double a = Format::read(found[i]);
    const double b = Format::read(wanted[i]);
    const bool same_kind = std::isnan(a) == std::isnan(b) && std::isinf(a) == std::isinf(b);
    if (same_kind && (!std::isfinite(a) || std::abs(a - b) <= allowed)) continue;
    return detail::concat("element ", i, " is ", a, ", and with the first candidate ", b);
  }
  return "";
}

}  // namespace

std::vector<unsigned char> initial_value(const Argument& argument, const Bundle& bundle, std::mt19937_64& random) {
  if (argument.has_data) {
    const unsigned char* const begin = bundle.data.data() + argument.data.offset;
    return {begin, begin + argument.data.size};
  }
  std::vector<unsigned char> values(argument.nbytes);
  with_format(argument.dtype, [&](auto format) {
    using Format = decltype(format);
    using Storage = typename Format::Storage;
    for (std::size_t i = 0; i + sizeof(Storage) <= values.size(); i += sizeof(Storage)) {
      const std::uint64_t bits = random();
      const double magnitude = std::max(static_cast<double>(bits >> 11) * 0x1p-53, 0x1p-12);
      const Storage stored = Format::write((bits & 1) != 0 ? magnitude : -magnitude);
      std::memcpy(&values[i], &stored, sizeof stored);
    }
  });
  return values;
}

std::string difference(const std::string& dtype, const std::vector<unsigned char>& values,
                       const std::vector<unsigned char>& expected) {
  if (values == expected) return "";
  std::string result;
  const auto compare = [&](auto format) { result = difference_of<decltype(format)>(values, expected); };
  if (with_format(dtype, compare)) return result;
  const auto found = std::mismatch(values.begin(), values.end(), expected.begin());
  return detail::concat("byte ", found.first - values.begin(), " is ", int{*found.first},
                        ", and with the first candidate ", int{*found.second});
}

}  // namespace aotbuild::tune
