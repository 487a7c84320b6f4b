// Two linear layers in a row over constant weights, run block by block of the hidden features.
#ifndef AOTBUILD_SRC_KERNELS_MLP_HPP_
#define AOTBUILD_SRC_KERNELS_MLP_HPP_

#include <cstdint>
#include <vector>

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

  bool is_packed() const { return is_packed_; }

  // input: [..., K] to output: [..., N].
  void run(Workspace& workspace, Tensor& input, Tensor& output) const;

 private:
  struct Block {
    std::int64_t features;
    BlockedLinear first;
    PackedLinear second;
  };

  bool is_packed_;
  std::vector<Block> blocks_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_MLP_HPP_
