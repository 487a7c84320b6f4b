// What a convolution does, apart from its weights.
#ifndef AOTBUILD_SRC_KERNELS_CONVOLUTION_SHAPE_HPP_
#define AOTBUILD_SRC_KERNELS_CONVOLUTION_SHAPE_HPP_

#include <array>
#include <cstdint>
#include <vector>

#include "aotbuild/detail/spec.h"

namespace aotbuild::detail {

// The first `spatial_rank` entries of each array count.
struct ConvolutionShape {
  int spatial_rank;
  bool transposed;
  std::int64_t groups;
  std::array<std::int64_t, 3> stride;
  std::array<std::int64_t, 3> padding;
  std::array<std::int64_t, 3> dilation;
  std::array<std::int64_t, 3> output_padding;
  Activation activation;
  double alpha;

  // Sizes of the output for those of an input and a weight, batch and channels included.
  std::vector<std::int64_t> output_sizes(const std::int64_t* input, const std::int64_t* weight) const;
};

// Channels innermost: [N, spatial..., C] in memory, [N, C, spatial...] in the order of dimensions.
std::vector<std::int64_t> channels_last_strides(const std::vector<std::int64_t>& sizes);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_CONVOLUTION_SHAPE_HPP_
