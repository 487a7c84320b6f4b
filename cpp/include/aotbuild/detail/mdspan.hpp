// Views as std::mdspan and back: as any class with its members, so that no <mdspan> has to be there, and older ones of
// other names do as well.
#ifndef AOTBUILD_DETAIL_MDSPAN_HPP_
#define AOTBUILD_DETAIL_MDSPAN_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "aotbuild/error.hpp"
#include "aotbuild/extents.hpp"

namespace aotbuild::detail {
inline namespace AOTBUILD_NAMESPACE {

// Whether `Mdspan` is one of `Rank` dimensions with elements as of a view of T.
template <typename Mdspan, typename T, std::size_t Rank, typename = void>
struct MdspanOf : std::false_type {};
template <typename Mdspan, typename T, std::size_t Rank>
struct MdspanOf<Mdspan, T, Rank,
                std::void_t<typename Mdspan::mapping_type, typename Mdspan::extents_type, typename Mdspan::element_type,
                            decltype(std::declval<const Mdspan&>().data_handle())>>
    : std::bool_constant<(Rank > 0) && Mdspan::rank() == Rank &&
                         std::is_same_v<std::remove_const_t<typename Mdspan::element_type>, std::remove_const_t<T>>>{};

// From and to it: what is read only stays so.
template <typename Mdspan, typename T, std::size_t Rank, bool = MdspanOf<Mdspan, T, Rank>::value>
struct FromMdspan : std::false_type {};
template <typename Mdspan, typename T, std::size_t Rank>
struct FromMdspan<Mdspan, T, Rank, true> : std::is_convertible<typename Mdspan::data_handle_type, T*> {};
template <typename Mdspan, typename T, std::size_t Rank, bool = MdspanOf<Mdspan, T, Rank>::value>
struct ToMdspan : std::false_type {};
template <typename Mdspan, typename T, std::size_t Rank>
struct ToMdspan<Mdspan, T, Rank, true> : std::is_convertible<T*, typename Mdspan::data_handle_type> {};

template <std::size_t Rank, typename Function>
Extents<Rank> extents_of(Function function) {
  Extents<Rank> extents;
  for (std::size_t i = 0; i < Rank; ++i) extents[i] = static_cast<std::int64_t>(function(i));
  return extents;
}

template <typename Mdspan, bool kThrows, typename T, std::size_t Rank>
Mdspan to_mdspan(T* data, const Extents<Rank>& sizes, const Extents<Rank>& strides) {
  using Mapping = typename Mdspan::mapping_type;
  using MdExtents = typename Mdspan::extents_type;
  using Index = typename MdExtents::index_type;
  std::array<Index, Rank> shape{};
  std::array<Index, Rank> steps{};
  for (std::size_t i = 0; i < Rank; ++i) {
    shape[i] = static_cast<Index>(sizes[i]);
    steps[i] = static_cast<Index>(strides[i]);
    const std::size_t fixed = MdExtents::static_extent(i);
    if (fixed != static_cast<std::size_t>(-1) && fixed != static_cast<std::size_t>(sizes[i])) {
      refuse<kThrows>("mdspan: a size is another than the one in the type");
    }
  }
  const MdExtents extents(shape);
  if constexpr (std::is_constructible_v<Mapping, const MdExtents&, const std::array<Index, Rank>&>) {
    return Mdspan(data, Mapping(extents, steps));
  } else {
    const Mapping mapping(extents);
    for (std::size_t i = 0; i < Rank; ++i) {
      if (shape[i] > 1 && mapping.stride(i) != steps[i]) {
        refuse<kThrows>("mdspan: the tensor has other strides than the layout; take std::layout_stride");
      }
    }
    return Mdspan(data, mapping);
  }
}

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild::detail

#endif  // AOTBUILD_DETAIL_MDSPAN_HPP_
