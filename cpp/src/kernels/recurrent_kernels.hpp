// The inner loops of recurrent layers over packed weights, for the instruction set of this machine.
#ifndef AOTBUILD_SRC_KERNELS_RECURRENT_KERNELS_HPP_
#define AOTBUILD_SRC_KERNELS_RECURRENT_KERNELS_HPP_

#include <cstdint>

namespace aotbuild::detail {

// Packed weights are panels, one for each `lanes` hidden units: [depth][gates][lanes], so that one panel's product has
// all gates of its units, and the cell is computed while they are in registers. Units beyond the last are zero.

// output[rows][panels * gates * lanes] = bias + input[rows][depth] @ weights.
template <typename T>
struct RecurrentProduct {
  const T* input;
  std::int64_t input_stride;
  const T* weights;
  const T* bias;  // as one row of the output
  T* output;
  std::int64_t output_stride;
  std::int64_t rows;
  std::int64_t depth;
  std::int64_t panels;
};

// One step of the sequence for all rows of the batch.
template <typename T>
struct RecurrentStep {
  const T* gates;  // the input's part of all gates, with biases, in the order of the panels
  std::int64_t gates_stride;
  const T* hidden;  // h of the step before
  std::int64_t hidden_stride;
  const T* weights;
  const T* hidden_bias;  // of a GRU: what is added to h's part of the third gate, [panels * lanes]
  T* cell;               // c of an LSTM, in and out: [rows][panels * lanes]
  T* next;               // h of this step
  std::int64_t next_stride;
  std::int64_t rows;
  std::int64_t depth;  // features of h
  std::int64_t panels;
  // The last panel first. Steps take turns, so that what the caches have of larger weights is used first.
  bool backward;
};

template <typename T>
struct RecurrentKernels {
  std::int64_t lanes;
  void (*multiply[5])(const RecurrentProduct<T>&);  // by the number of gates: 1, 3 or 4
  void (*step[4])(const RecurrentStep<T>&);         // by RecurrentCell
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
