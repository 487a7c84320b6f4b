// Convolutions of float32 over weights in panels: dense ones and those of groups, transposed ones as products whose
// columns are added up where they fall, and depthwise ones.
#ifndef AOTBUILD_SRC_KERNELS_PANEL_CONVOLUTION_HPP_
#define AOTBUILD_SRC_KERNELS_PANEL_CONVOLUTION_HPP_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/arena.hpp"
#include "kernels/convolution_shape.hpp"
#include "kernels/panel_kernels.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

class PanelConvolution {
 public:
  // Whether such a convolution is made of these kernels.
  static bool takes(const Tensor& weight);
  // Groups of so few channels, as many of the input as of the output, that a vector has several: the channels; else 0.
  static std::int64_t small_group(const ConvolutionShape& shape, const Tensor& weight);

  // Operands are read during the call, and not later; `bias` may be null.
  PanelConvolution(const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias, Arena& arena);
  // The same in memory of `nbytes`, which has to live as long.
  PanelConvolution(const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias,
                   const ScratchBuffer& memory);
  static std::size_t nbytes(const ConvolutionShape& shape, const Tensor& weight);

  // Of tensors whose types and sizes fit.
  void run(Workspace& workspace, const Tensor& input, const Tensor& output,
           const PanelKernels& kernels = panel_kernels()) const;

 private:
  void run_dense(Workspace& workspace, const Tensor& input, const Tensor& output, const PanelKernels& kernels) const;
  void run_depthwise(const Tensor& input, const Tensor& output, const PanelKernels& kernels) const;
  void run_transposed(Workspace& workspace, const Tensor& input, const Tensor& output,
                      const PanelKernels& kernels) const;
  void add_up(const Window& window, const float* products, const Tensor& output, std::int64_t line,
              const PanelKernels& kernels) const;
  void split_groups(Window* window, std::int64_t images, float* to) const;
  PanelConvolution(const ConvolutionShape& shape, const Tensor& weight);
  std::int64_t values() const;         // of weights and biases
  std::int64_t weight_values() const;  // of a group
  void pack(const Tensor& weight, const Tensor* bias, float* memory);
  void pack_depthwise(const Tensor& weight, const std::vector<std::int64_t>& places, float* packed) const;
  std::int64_t bias_stride() const;  // from one group's to the next
  std::int64_t places() const { return kernel_[0] * kernel_[1] * kernel_[2]; }
  std::int64_t product_columns() const { return shape_.transposed ? places() * columns_ : columns_; }  // of a group

  ConvolutionShape shape_;
  std::int64_t small_group_;
  std::int64_t kernel_[3];
  std::int64_t groups_;   // of panels: 1 where groups are small
  std::int64_t depth_;    // terms of a sum; transposed: channels of the input, of a group
  std::int64_t columns_;  // channels of the output, of a group
  const float* weights_;  // panels, those of each group; small groups: [kernel][group][columns, in whole panels]
  const float* bias_;     // in whole panels, for each group
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_PANEL_CONVOLUTION_HPP_
