// Dense convolutions of float32 that are computed in bfloat16, as products over rows of what each element reads.
#ifndef AOTBUILD_SRC_KERNELS_ROUNDED_CONVOLUTION_HPP_
#define AOTBUILD_SRC_KERNELS_ROUNDED_CONVOLUTION_HPP_

#include <cstdint>

#include "base/arena.hpp"
#include "kernels/convolution_shape.hpp"
#include "kernels/linear.hpp"
#include "kernels/panel_kernels.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

class RoundedConvolution {
 public:
  // Whether such a convolution is made this way: where the machine multiplies bfloat16, and faster than by Winograd's
  // method in float32, if that suits.
  static bool suits(const ConvolutionShape& shape, const Tensor& weight, bool is_winograd);

  // Operands are read during the call, and not later; `bias` may be null.
  RoundedConvolution(const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias, Arena& arena);

  // Of tensors of float32 whose sizes fit.
  void run(Workspace& workspace, const Tensor& input, const Tensor& output) const;

 private:
  // An image in bfloat16 with zeros around it: its sizes, in elements.
  struct Frame {
    std::int64_t size[3];
    std::int64_t channels;
    std::int64_t values() const { return size[0] * size[1] * size[2] * channels; }
  };

  Frame frame_of(const Window& window) const;
  void run_ordered(Workspace& workspace, const Tensor& input, const Tensor& output) const;
  void gather(const Window& window, const Frame& frame, const BFloat16* image, std::int64_t element,
              BFloat16* row) const;

  ConvolutionShape shape_;
  std::int64_t kernel_[3];
  PackedLinear linear_;  // [channels of the output, kernel x channels of the input]
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_ROUNDED_CONVOLUTION_HPP_
