// Arithmetic of sizes as Python has it, for the conditions that generated code has on them.
#ifndef AOTBUILD_DETAIL_SIZES_HPP_
#define AOTBUILD_DETAIL_SIZES_HPP_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>

namespace aotbuild::detail {

// Thrown where a condition has no value, which breaks it.
struct DivisionBySize : std::domain_error {
  DivisionBySize() : std::domain_error("a size that is divided by is 0") {}
};

inline std::int64_t floor_divide(std::int64_t dividend, std::int64_t divisor) {
  if (divisor == 0) throw DivisionBySize();
  const std::int64_t quotient = dividend / divisor;
  return quotient - static_cast<std::int64_t>(dividend % divisor != 0 && (dividend < 0) != (divisor < 0));
}

inline std::int64_t floor_remainder(std::int64_t dividend, std::int64_t divisor) {
  return dividend - floor_divide(dividend, divisor) * divisor;
}

template <typename Condition>
bool holds(Condition condition) {
  try {
    return condition();
  } catch (const DivisionBySize&) {
    return false;
  }
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_DETAIL_SIZES_HPP_
