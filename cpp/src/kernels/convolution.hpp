// Convolutions: over constant weights that are packed once, and over tensors known only at run time.
#ifndef AOTBUILD_SRC_KERNELS_CONVOLUTION_HPP_
#define AOTBUILD_SRC_KERNELS_CONVOLUTION_HPP_

#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>

#include "aotbuild/detail/spec.h"
#include "base/arena.hpp"
#include "kernels/convolution_shape.hpp"
#include "kernels/panel_convolution.hpp"
#include "kernels/rounded_convolution.hpp"
#include "kernels/winograd_convolution.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

// Running statistics and affine parameters of a batch normalisation, one value a channel.
struct BatchNorm {
  const Tensor* mean = nullptr;  // null: there is no normalisation
  const Tensor* variance = nullptr;
  const Tensor* weight = nullptr;  // null: 1
  const Tensor* bias = nullptr;    // null: 0
  double epsilon = 0;
};

class PackedConvolution {
 public:
  // Operands are read during the call, and later only when not `is_packed()`; of the weight's sizes always.
  PackedConvolution(const ConvolutionSpec& spec, const Tensor& weight, const Tensor* bias, const BatchNorm& norm,
                    Arena& arena);

  bool is_packed() const {
    return packed_ != nullptr || panels_.has_value() || winograd_.has_value() || rounded_.has_value();
  }
  void run(Workspace& workspace, const Tensor& input, const Tensor& output) const;

 private:
  // For oneDNN, which has none for some: false.
  bool pack(const std::int64_t* input_hint, const Tensor& weight, bool has_bias, Arena& arena);

  ConvolutionShape shape_;
  bool channels_last_;
  ScalarType dtype_;          // of the input and the output
  TensorPtr rounded_weight_;  // to a `precision`, in float32, until packed
  const Tensor* weight_;
  const Tensor* bias_;
  TensorPtr folded_weight_;  // with a normalisation folded in, until packed
  TensorPtr folded_bias_;
  dnnl::memory::desc layout_;
  std::int64_t layout_id_ = -1;
  char* packed_ = nullptr;                  // the arena's
  std::optional<PanelConvolution> panels_;  // of those that oneDNN is not called for
  std::optional<WinogradConvolution> winograd_;
  std::optional<RoundedConvolution> rounded_;
};

// output = activation(convolution(input, weight) + bias) with weights in their plain layout. `bias` may be null.
void convolve(Workspace& workspace, const ConvolutionShape& shape, const Tensor& input, const Tensor& weight,
              const Tensor* bias, const Tensor& output, const char* function);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_CONVOLUTION_HPP_
