// The inner loops of recurrent layers over packed weights, for the instruction set of this machine.
#ifndef AOTBUILD_SRC_KERNELS_RECURRENT_KERNELS_HPP_
#define AOTBUILD_SRC_KERNELS_RECURRENT_KERNELS_HPP_

#include <cstdint>

namespace aotbuild::detail {

// Columns are vectors of `lanes` hidden units: the gates of the first `lanes` units, then those of the next. Two
// columns are a panel, whose weights are [depth][2][lanes]; units beyond the last, and a second column that is none,
// are zero.

// output[rows][panels * 2 * lanes] = bias + input[rows][depth] @ weights.
template <typename T>
struct RecurrentProduct {
  const T* input;
  std::int64_t input_stride;
  const T* weights;
  const T* bias;  // one row; null: zero
  T* output;
  std::int64_t output_stride;
  std::int64_t rows;
  std::int64_t depth;
  std::int64_t panels;
  // The last panel first. Steps take turns, so that what the caches have of larger weights is used first.
  bool backward;
};

// What the cells of one step make of the products, for all rows of the batch.
template <typename T>
struct RecurrentStep {
  const T* input_gates;   // the input's part, with biases
  const T* hidden_gates;  // h's part
  std::int64_t gates_stride;
  const T* hidden_bias;  // of a GRU: what is added to h's part of the third gate, by unit
  const T* hidden;       // h of the step before
  T* cell;               // c of an LSTM, in and out
  T* next;               // h of this step
  std::int64_t stride;   // between rows of these three
  std::int64_t rows;
  std::int64_t units;  // a multiple of `lanes`
};

template <typename T>
struct RecurrentKernels {
  std::int64_t lanes;
  void (*multiply)(const RecurrentProduct<T>&);
  void (*step[4])(const RecurrentStep<T>&);  // by RecurrentCell
};

// The best that this machine runs. Of float and double.
template <typename T>
const RecurrentKernels<T>& recurrent_kernels() noexcept;

// For "avx512" (of float alone) or "avx2", null where this machine does not run it; those for a null `isa` run
// everywhere.
template <typename T>
const RecurrentKernels<T>* recurrent_kernels_for(const char* isa) noexcept;

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_RECURRENT_KERNELS_HPP_
