// Convolutions of float32 over weights in panels: dense ones as products of rows that are gathered for the caches, and
// depthwise ones.
#ifndef AOTBUILD_SRC_KERNELS_PANEL_CONVOLUTION_HPP_
#define AOTBUILD_SRC_KERNELS_PANEL_CONVOLUTION_HPP_

#include <cstdint>

#include "base/arena.hpp"
#include "kernels/convolution_shape.hpp"
#include "kernels/panel_kernels.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

class PanelConvolution {
 public:
  // Whether such a convolution is made of these kernels.
  static bool takes(const ConvolutionShape& shape, const Tensor& weight);

  // Operands are read during the call, and not later; `bias` may be null.
  PanelConvolution(const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias, Arena& arena);

  // Of tensors whose types and sizes fit.
  void run(Workspace& workspace, const Tensor& input, const Tensor& output,
           const PanelKernels& kernels = panel_kernels()) const;

 private:
  void run_dense(Workspace& workspace, const Tensor& input, const Tensor& output, const PanelKernels& kernels) const;
  void run_depthwise(const Tensor& input, const Tensor& output, const PanelKernels& kernels) const;
  float* pack(const Tensor& weight, Arena& arena) const;

  ConvolutionShape shape_;
  bool is_depthwise_;
  std::int64_t kernel_[3];
  std::int64_t depth_;  // terms of a sum
  std::int64_t columns_;
  const float* weights_;  // panels; depthwise: [kernel][columns, in whole panels]
  const float* bias_;     // in whole panels
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_PANEL_CONVOLUTION_HPP_
