// Two linear layers in a row over constant weights.
#ifndef AOTBUILD_SRC_KERNELS_MLP_HPP_
#define AOTBUILD_SRC_KERNELS_MLP_HPP_

#include "aotbuild/detail/spec.h"
#include "kernels/linear.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

class PackedMlp {
 public:
  // Operands as for PackedLinear; the biases may be null.
  PackedMlp(const MlpSpec& spec, const Tensor& first_weight, const Tensor* first_bias, const Tensor& second_weight,
            const Tensor* second_bias, Arena& arena, PackedMatrices* embedded);

  // input: [..., K] to output: [..., N].
  void run(Workspace& workspace, Tensor& input, Tensor& output) const;

 private:
  PackedLinear first_;
  PackedLinear second_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_MLP_HPP_
