// Linear layers over constant weights of int8, packed once: exact sums of products of integers.
#ifndef AOTBUILD_SRC_KERNELS_INTEGER_LINEAR_HPP_
#define AOTBUILD_SRC_KERNELS_INTEGER_LINEAR_HPP_

#include <cstdint>

#include "base/arena.hpp"
#include "kernels/panel_product.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

class IntegerLinear {
 public:
  // `weight`: [out_features, in_features], read during the call and not later.
  IntegerLinear(const std::int8_t* weight, std::int64_t in_features, std::int64_t out_features, Arena& arena);

  // [rows, in_features] to [rows, out_features], which are contiguous. Sums wrap around.
  void run(Workspace& workspace, const std::int8_t* input, std::int64_t rows, std::int32_t* output) const;

 private:
  std::int64_t in_features_;
  Panels panels_;  // the arena's
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_INTEGER_LINEAR_HPP_
