// Linear layers over constant weights, packed once for oneDNN.
#ifndef AOTBUILD_SRC_LINEAR_HPP_
#define AOTBUILD_SRC_LINEAR_HPP_

#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "tensor.hpp"
#include "workspace.hpp"

namespace aotbuild::detail {

class PackedLinear {
 public:
  // `weights` and `biases` (null where a part has none) are read during the call, and later only when not
  // `is_packed()`.
  PackedLinear(const LinearSpec& spec, const std::vector<const Tensor*>& weights,
               const std::vector<const Tensor*>& biases);

  // Whether the weights were copied to a packed layout, so that the original is not read again.
  bool is_packed() const { return packed_ != nullptr; }

  void run(Workspace& workspace, Tensor& input, Tensor& output) const;

 private:
  void pack(const LinearSpec& spec, const std::vector<const Tensor*>& weights);
  void run_rows(Workspace& workspace, void* input, std::int64_t input_stride, void* output, std::int64_t output_stride,
                std::int64_t rows) const;

  ScalarType dtype_;
  Activation activation_;
  double alpha_;
  std::int64_t in_features_;
  std::int64_t out_features_ = 0;
  AlignedBuffer bias_;  // null when no part has one
  dnnl::memory::desc layout_;
  std::int64_t layout_id_ = -1;
  AlignedBuffer packed_;
  std::vector<std::pair<void*, std::int64_t>> parts_;  // not packed: rows and their number of each part
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_LINEAR_HPP_
