// How packed weights lie in the embedded blob. The generator lays them out by the same numbers, which
// python/aotbuild/spec/packing.py has; tests/unit/test_packing.py holds both against one another.
#ifndef AOTBUILD_SRC_KERNELS_PACKING_HPP_
#define AOTBUILD_SRC_KERNELS_PACKING_HPP_

#include <cstdint>

namespace aotbuild::detail {

// PackedMatrix (detail/spec.h): what the rows of a panel are padded to, and its columns.
constexpr std::int64_t kPanelRows = 16;
constexpr std::int64_t kPanelColumns = 32;

// So many values of four bits lie in half as many bytes: the first half of them in the low halves of the bytes.
constexpr std::int64_t kFourBitsBlock = 32;

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_PACKING_HPP_
