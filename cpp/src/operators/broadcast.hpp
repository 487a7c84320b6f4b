// Operands of one size.
#ifndef AOTBUILD_SRC_OPERATORS_BROADCAST_HPP_
#define AOTBUILD_SRC_OPERATORS_BROADCAST_HPP_

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "tensor/copy.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {

// Contiguous copies of two tensors of one type, of the sizes that they are broadcast to.
inline std::pair<TensorPtr, TensorPtr> broadcast(const Tensor& a, const Tensor& b, const char* function) {
  if (a.dtype != b.dtype) {
    fail(function, "operands have types ", dtype_name(a.dtype), " and ", dtype_name(b.dtype), ", expected one");
  }
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(std::max(a.ndim, b.ndim)), 1);
  for (const Tensor* tensor : {&a, &b}) {
    for (std::int32_t d = 0; d < tensor->ndim; ++d) {
      std::int64_t& size = sizes[sizes.size() - static_cast<std::size_t>(tensor->ndim - d)];
      if (size == 1) size = tensor->sizes()[d];
    }
  }
  const auto rank = static_cast<std::int64_t>(sizes.size());
  TensorPtr left = make_tensor(a.dtype, rank, sizes.data(), nullptr);
  TensorPtr right = make_tensor(b.dtype, rank, sizes.data(), nullptr);
  copy(*left, a, function);
  copy(*right, b, function);
  return {std::move(left), std::move(right)};
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_OPERATORS_BROADCAST_HPP_
