// Size classes of cached memory blocks: four for each doubling, so that a block is at most a quarter too large.
#ifndef AOTBUILD_SRC_BASE_SIZE_CLASS_HPP_
#define AOTBUILD_SRC_BASE_SIZE_CLASS_HPP_

#include <algorithm>
#include <cstddef>

namespace aotbuild::detail {

// Sizes are counted in units of 64 bytes.
inline constexpr std::size_t kSizeUnit = 64;
// One class for each of the first four units, then four for each doubling, up to 2^46 bytes.
inline constexpr std::size_t kSizeClassCount = 160;

// A class of kSizeClassCount or more: larger than any memory.
inline std::size_t size_class_of(std::size_t nbytes) noexcept {
  const std::size_t units = (std::max<std::size_t>(nbytes, 1) - 1) / kSizeUnit;
  if (units < 4) return units;
  const auto log = static_cast<std::size_t>(63 - __builtin_clzll(units));
  return (log - 2) * 4 + (units >> (log - 2));
}

inline std::size_t size_of_class(std::size_t size_class) noexcept {
  if (size_class < 4) return (size_class + 1) * kSizeUnit;
  const std::size_t shift = (size_class - 4) / 4;
  return ((size_class - 4) % 4 + 5) * kSizeUnit << shift;
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_BASE_SIZE_CLASS_HPP_
