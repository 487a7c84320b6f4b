// Linear layers over constant weights, packed once for oneDNN.
#ifndef AOTBUILD_SRC_KERNELS_LINEAR_HPP_
#define AOTBUILD_SRC_KERNELS_LINEAR_HPP_

#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "base/arena.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

// The packed matrices in a model's blob, taken one after the other.
class PackedMatrices {
 public:
  explicit PackedMatrices(const ModelSpec& spec) : spec_(spec) {}

  // The data of the next one, which has to be [rows, columns].
  const char* take(std::int64_t rows, std::int64_t columns);

 private:
  const ModelSpec& spec_;
  std::size_t next_ = 0;
};

class PrimitiveKey;

class PackedLinear {
 public:
  // `weights` and `biases` (null where a part has none) are read during the call, and later only when not
  // `is_packed()`. `accumulate`: the product is added to what is in the output, before the activation. `embedded`: has
  // the values of the weights, whose tensors then have none; null: the tensors have them.
  PackedLinear(const LinearSpec& spec, const std::vector<const Tensor*>& weights,
               const std::vector<const Tensor*>& biases, bool accumulate, Arena& arena, PackedMatrices* embedded);

  // Whether the weights were copied to a packed layout, so that the original is not read again.
  bool is_packed() const { return packed_ != nullptr; }

  void run(Workspace& workspace, Tensor& input, Tensor& output) const;

  // Whether `run_row` may be called: one row of contiguous float32.
  bool has_run_row() const { return has_run_row_; }
  std::int64_t out_features() const { return out_features_; }
  void run_row(const float* input, float* output) const;

 private:
  void pack(const std::vector<const Tensor*>& weights, Arena& arena);
  bool choose_layout(const LinearSpec& spec);
  void add_to(PrimitiveKey* key) const;
  void run_rows(Workspace& workspace, void* input, std::int64_t input_stride, void* output, std::int64_t output_stride,
                std::int64_t rows) const;

  struct Part {
    void* data;
    std::int64_t columns;
    std::int64_t column_stride;
    std::int64_t row_stride;
  };

  ScalarType dtype_;
  bool accumulate_;
  Activation activation_;
  double alpha_;
  std::int64_t in_features_;
  std::int64_t out_features_ = 0;
  AlignedBuffer bias_;  // null when no part has one
  dnnl::memory::desc layout_;
  std::int64_t layout_id_ = -1;
  char* packed_ = nullptr;   // the arena's, or the library's
  TensorPtr unpacked_;       // of what the library holds packed, where this machine wants no such layout
  std::vector<Part> parts_;  // not packed
  bool has_run_row_ = false;
};

// Columns [first, first + count) of a matrix or elements of a vector, over its memory; `dim` 0: rows.
TensorPtr slice(const Tensor& tensor, int dim, std::int64_t first, std::int64_t count);

// A linear layer whose sums over the input features are made in two halves: float32 rounds a sum of n products by about
// sqrt(n), and the halves keep MiniLM's largest error below eager PyTorch's. Costs 2% of the time of a call.
class BlockedLinear {
 public:
  BlockedLinear(const LinearSpec& spec, const std::vector<const Tensor*>& weights,
                const std::vector<const Tensor*>& biases, Arena& arena, PackedMatrices* embedded);

  bool is_packed() const;

  void run(Workspace& workspace, Tensor& input, Tensor& output) const;

  // The input cut to the features of each block, dense; one call may serve several layers of the same input.
  std::vector<TensorPtr> split(Tensor& input) const;
  void run_split(Workspace& workspace, Tensor& input, const std::vector<TensorPtr>& parts, Tensor& output) const;

 private:
  bool run_row(const Tensor& input, Tensor& output) const;

  std::vector<std::int64_t> features_;
  std::vector<PackedLinear> blocks_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_LINEAR_HPP_
