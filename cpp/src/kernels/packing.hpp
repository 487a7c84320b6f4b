// How packed weights lie in the embedded blob, and how layers are cut. The generator lays weights out by the same
// numbers, which python/aotbuild/spec/packing.py has; tests/unit/test_packing.py holds both against one another.
#ifndef AOTBUILD_SRC_KERNELS_PACKING_HPP_
#define AOTBUILD_SRC_KERNELS_PACKING_HPP_

#include <cstdint>

namespace aotbuild::detail {

// The blocks of PackedMatrix (detail/spec.h).
constexpr std::int64_t kPanelRows = 16;
constexpr std::int64_t kPanelColumns = 32;

// Input features from which sums are made in two halves. The first half has whole vectors of kHalfMultiple.
constexpr std::int64_t kMinHalvedFeatures = 256;
constexpr std::int64_t kHalfMultiple = 16;

// Hidden features of one block of two layers. MiniLM (128 rows, 384-1536-384, one thread): 256 takes as long as one
// block of 1536, and the error of the second product falls from 5.2e-7 to below 3e-7, for MKL's 3.5e-7.
constexpr std::int64_t kHiddenBlock = 256;

// So many values of four bits lie in half as many bytes: the first half of them in the low halves of the bytes.
constexpr std::int64_t kFourBitsBlock = 32;

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_PACKING_HPP_
