// The input of a convolution as its kernels read it: channels innermost.
#ifndef AOTBUILD_SRC_KERNELS_CONVOLUTION_WINDOW_HPP_
#define AOTBUILD_SRC_KERNELS_CONVOLUTION_WINDOW_HPP_

#include <cstdint>

#include "kernels/convolution_shape.hpp"
#include "kernels/panel_kernels.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {

// Whether [N, spatial..., C] is one piece of memory.
bool is_channels_last(const Tensor& tensor);

// A new tensor of the same sizes that is.
TensorPtr channels_last_like(const Tensor& tensor);
TensorPtr channels_last_copy(const Tensor& tensor);

// `kernel`: depth, height and width.
Window window_of(const ConvolutionShape& shape, const std::int64_t* kernel, const Tensor& input, const Tensor& output);

// Whether each element of the output reads the one of the input at its own place.
bool is_pointwise(const Window& window);

void copy_output(const Tensor& output, const Tensor& from);

// Calls `run(input, output)` with an input whose channels are innermost and a channels-last output, which are those
// given or beside them.
template <typename Run>
void run_channels_last(const Tensor& input, const Tensor& output, const Run& run) {
  const bool is_innermost = input.sizes()[1] == 1 || input.strides()[1] == 1;
  const TensorPtr from = is_innermost ? nullptr : channels_last_copy(input);
  const Tensor& read = is_innermost ? input : *from;
  if (is_channels_last(output)) return run(read, output);
  const TensorPtr to = channels_last_like(output);
  run(read, *to);
  copy_output(output, *to);
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_CONVOLUTION_WINDOW_HPP_
