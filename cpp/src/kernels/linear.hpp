// Linear layers over constant weights of float32 and of 16-bit types, packed once. Sums are float32. Those of a 16-bit
// type have inputs and outputs of it, or of float32 (LinearSpec::precision).
#ifndef AOTBUILD_SRC_KERNELS_LINEAR_HPP_
#define AOTBUILD_SRC_KERNELS_LINEAR_HPP_

#include <cstdint>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "base/arena.hpp"
#include "kernels/panel_product.hpp"
#include "tensor/copy.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

// The packed matrices in a model's blob, taken one after the other.
class PackedMatrices {
 public:
  explicit PackedMatrices(const ModelSpec& spec) : spec_(spec) {}

  // The data of the next one, which has to be [rows, columns].
  const float* take(std::int64_t rows, std::int64_t columns);

 private:
  const ModelSpec& spec_;
  std::size_t next_ = 0;
};

class PackedLinear {
 public:
  // `weights` and `biases` (null where a part has none) are read during the call, and not later. `embedded`: has the
  // values of the weights, whose tensors then have none; null: the tensors have them.
  PackedLinear(const LinearSpec& spec, const std::vector<const Tensor*>& weights,
               const std::vector<const Tensor*>& biases, Arena& arena, PackedMatrices* embedded);

  // input: [..., K] to output: [..., N], of the weights' type, or of float32 with a `precision`.
  void run(Workspace& workspace, Tensor& input, Tensor& output) const;
  // Of float32.
  void run_rows(Workspace& workspace, const Rows& input, const Rows& output) const;

  // Rounded to bfloat16: `input` has rows of row_words() words of it, zeros at the end, where kernels take words.
  void run_words(Workspace& workspace, const Rows& input, const Rows& output) const;
  std::int64_t row_words() const;

  std::int64_t in_features() const { return in_features_; }
  std::int64_t out_features() const { return out_features_; }

 private:
  void check(const std::vector<const Tensor*>& weights, const std::vector<const Tensor*>& biases) const;
  float* pack(const std::vector<const Tensor*>& weights, Arena& arena) const;
  // [K, N] in the order of the columns, as rows of float32: of bfloat16 two rows in the words of one.
  void pack_half(const std::vector<const Tensor*>& weights, float* packed) const;
  Panels panels() const;
  // For kernels with tiles.
  void run_tiles(Workspace& workspace, const Rows& input, const Rows& output) const;
  template <typename T>
  void run_half(Workspace& workspace, const Rows& input, const Rows& output) const;
  // Of float32, over weights of bfloat16.
  void run_rounded(Workspace& workspace, const Rows& input, const Rows& output) const;
  // Which dimension of the weights is the columns of the product; the other one is the features of its input.
  int column_dim() const { return transposed_ ? 1 : 0; }

  ScalarType dtype_;        // of the input and the output
  ScalarType packed_type_;  // what the weights are rounded to
  bool transposed_;
  Activation activation_;
  double alpha_;
  std::int64_t in_features_ = 0;
  std::int64_t out_features_ = 0;
  const float* packed_;  // the arena's, or the library's
  float* bias_;          // the arena's; whole panels, zero where a part has none
};

// False when the rows of `tensor`, which are of its type and which all its dimensions but the last count, are not
// evenly spaced.
bool even_rows(const Tensor& tensor, Rows* rows);

// Calls `run(input rows, output rows)`, with copies of tensors whose rows are not evenly spaced. Throws where they are
// not [..., in_features] of `dtype` and as many rows of [..., out_features].
template <typename Run>
void run_on_rows(Tensor& input, Tensor& output, std::int64_t in_features, std::int64_t out_features,
                 const char* function, Run&& run, ScalarType dtype = ScalarType::kFloat32) {
  if (input.ndim < 1 || output.ndim < 1 || input.dtype != dtype || output.dtype != dtype ||
      input.sizes()[input.ndim - 1] != in_features || output.sizes()[output.ndim - 1] != out_features) {
    fail(function, "expected [..., ", in_features, "] to [..., ", out_features, "] of type ", dtype_name(dtype),
         ", got ", format_dims(input.ndim, input.sizes()), " to ", format_dims(output.ndim, output.sizes()));
  }
  Rows from;
  Rows to;
  if (!even_rows(output, &to)) {
    const TensorPtr even = make_tensor(output.dtype, output.ndim, output.sizes(), nullptr);
    run_on_rows(input, *even, in_features, out_features, function, run, dtype);
    return copy(output, *even, function);
  }
  TensorPtr even;
  if (!even_rows(input, &from)) {
    even = clone_contiguous(input, function);
    even_rows(*even, &from);
  }
  if (from.count != to.count) fail(function, "input has ", from.count, " rows and output ", to.count);
  run(from, to);
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_LINEAR_HPP_
