// Sizes and strides of a tensor whose rank is known.
#ifndef AOTBUILD_EXTENTS_HPP_
#define AOTBUILD_EXTENTS_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "aotbuild/detail/version.h"

namespace aotbuild {
inline namespace AOTBUILD_NAMESPACE {

// `Rank` sizes or strides, from any integers: `{batch, length}` works whatever integer types the two have.
template <std::size_t Rank>
class Extents : public std::array<std::int64_t, Rank> {
 public:
  // Zeros.
  Extents() : std::array<std::int64_t, Rank>{} {}
  // These values.
  Extents(const std::array<std::int64_t, Rank>& values) : std::array<std::int64_t, Rank>(values) {}
  // One value for each dimension.
  template <typename... Integers, typename = std::enable_if_t<sizeof...(Integers) == Rank && (Rank > 0) &&
                                                              (std::is_integral_v<std::decay_t<Integers>> && ...)>>
  Extents(Integers... values) : std::array<std::int64_t, Rank>{{static_cast<std::int64_t>(values)...}} {}
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild

#endif  // AOTBUILD_EXTENTS_HPP_
