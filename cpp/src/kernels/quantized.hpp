// Linear layers over quantized constant weights: products of integers, and weights that the product dequantizes.
#ifndef AOTBUILD_SRC_KERNELS_QUANTIZED_HPP_
#define AOTBUILD_SRC_KERNELS_QUANTIZED_HPP_

#include <cstdint>
#include <optional>

#include "aotbuild/detail/spec.h"
#include "base/arena.hpp"
#include "kernels/integer_linear.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

class QuantizedLinear {
 public:
  // `weight` is int8 [N, K]; where `has_four_bits`, its data are those of WeightSpec::four_bits. `scale` and
  // `zero_point` may be null. All are read in calls, but for the weight of a layer that `is_packed()`.
  QuantizedLinear(const QuantizedLinearSpec& spec, const Tensor& weight, bool has_four_bits, const Tensor* scale,
                  const Tensor* zero_point, Arena& arena);

  // Whether the weights were packed, so that the original is not read again.
  bool is_packed() const { return integers_.has_value(); }

  // [..., K] to [..., N]: int8 to int32, or float32 to float32.
  void run(Workspace& workspace, Tensor& input, Tensor& output) const;

 private:
  void multiply_floats(Workspace& workspace, const float* input, float* output, std::int64_t rows) const;
  void dequantize(std::int64_t column, std::int64_t first, std::int64_t count, float* values) const;

  std::optional<IntegerLinear> integers_;
  bool has_four_bits_;
  std::int64_t in_features_ = 0;
  std::int64_t out_features_ = 0;
  std::int64_t group_;
  void* weight_;
  const float* scale_ = nullptr;
  const std::int8_t* zero_point_ = nullptr;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_QUANTIZED_HPP_
