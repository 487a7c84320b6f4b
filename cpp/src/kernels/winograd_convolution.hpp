// Convolutions of float32 with a kernel of 3 x 3 and stride 1 by Winograd's method F(2 x 2, 3 x 3): 16 products make
// four elements of the output, where sums over the kernel take 36 (Lavin and Gray, Fast Algorithms for Convolutional
// Neural Networks, 2016). Sums are made in short parts, as the method doubles the error of each.
#ifndef AOTBUILD_SRC_KERNELS_WINOGRAD_CONVOLUTION_HPP_
#define AOTBUILD_SRC_KERNELS_WINOGRAD_CONVOLUTION_HPP_

#include <cstddef>
#include <cstdint>

#include "base/arena.hpp"
#include "kernels/convolution_shape.hpp"
#include "kernels/panel_kernels.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

class WinogradConvolution {
 public:
  // Whether such a convolution is made this way: where it is faster, for an input of about the sizes `input_hint`, and
  // where values that are not finite come out as they do from sums over the kernel.
  static bool suits(const ConvolutionShape& shape, const Tensor& weight, const std::int64_t* input_hint);

  // Operands are read during the call, and not later; `bias` may be null.
  WinogradConvolution(const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias, Arena& arena);

  // Of tensors whose types and sizes fit. Images with values too large for the method are summed over the kernel.
  void run(Workspace& workspace, const Tensor& input, const Tensor& output,
           const PanelKernels& kernels = panel_kernels()) const;

 private:
  std::int64_t panels() const;
  std::int64_t panel_values() const;  // of the weights of a panel
  void run_ordered(Workspace& workspace, const Tensor& input, const Tensor& output, const PanelKernels& kernels) const;
  void run_block(const PanelKernels& kernels, const WinogradTiles& tiles, std::int64_t first_panel,
                 std::int64_t last_panel, float* image, float* buffer, bool* is_large) const;
  void run_plainly(Workspace& workspace, const Tensor& input, const Tensor& output, const bool* images,
                   const PanelKernels& kernels) const;

  ConvolutionShape shape_;
  std::int64_t channels_;
  std::int64_t columns_;
  const float* weights_;  // panels of [4][4][channels][kPanelColumns]
  const float* bias_;     // in whole panels, then one of zeros
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_WINOGRAD_CONVOLUTION_HPP_
