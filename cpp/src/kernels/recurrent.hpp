// Recurrent layers (LSTM, GRU, and plain with tanh or ReLU) over weights packed once, for any length of the sequence.
#ifndef AOTBUILD_SRC_KERNELS_RECURRENT_HPP_
#define AOTBUILD_SRC_KERNELS_RECURRENT_HPP_

#include <array>
#include <cstdint>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "base/arena.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {

// The output, h_n and c_n; the last has no elements where the cell has none.
using RecurrentResult = std::array<TensorPtr, 3>;

class PackedRecurrent {
 public:
  // `weights`: `spec.weight_count` of them, as in `_flat_weights` of torch.nn.RNNBase; read during the call only.
  // `function` begins error texts.
  PackedRecurrent(const RecurrentSpec& spec, const std::vector<const Tensor*>& weights, Arena& arena,
                  const char* function);

  // `input`: [length, batch, features], or batch first. `hidden` and, of an LSTM, `cell`: [layers * directions, batch,
  // features]; the others have a null `cell`. All of the type of the weights, with any strides.
  RecurrentResult run(const Tensor& input, const Tensor& hidden, const Tensor* cell, const char* function) const;

 private:
  template <typename T>
  friend class RecurrentRun;

  // One layer in one direction. All of float, or of double where the weights are.
  struct Part {
    const char* input;    // panels of RecurrentProduct
    const char* hidden;   // panels
    const char* bias;     // a row of columns
    const char* third;    // of a GRU: what is added to h's part of the third gate
    const char* project;  // panels; null: h is not projected
    std::int64_t features;
  };

  template <typename T>
  void pack(const std::vector<const Tensor*>& weights, Arena& arena, const char* function);

  RecurrentSpec spec_;
  ScalarType dtype_;
  std::int64_t gates_;
  std::int64_t input_features_ = 0;
  std::int64_t hidden_features_ = 0;  // of the cell
  std::int64_t output_features_ = 0;  // of h: fewer where it is projected
  std::vector<Part> parts_;           // by layer, then by direction
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_RECURRENT_HPP_
