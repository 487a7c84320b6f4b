// Matrix products of tensors that are known only at run time.
#ifndef AOTBUILD_SRC_KERNELS_MATMUL_HPP_
#define AOTBUILD_SRC_KERNELS_MATMUL_HPP_

#include <array>
#include <cstdint>

#include "tensor/tensor.hpp"

namespace aotbuild::detail {

// A batch of matrices: sizes and strides, in elements, of [batch, rows, columns].
struct Matrices {
  void* data;
  std::array<std::int64_t, 3> sizes;
  std::array<std::int64_t, 3> strides;
};

// What becomes of a product before it is written.
struct Addition {
  const void* bias = nullptr;  // one row of the output, of stride 1
  double alpha = 1;
  double beta = 0;  // of what is in the output already
};

// out = alpha * (a @ b) + beta * c. `c` may be null when beta is 0; it is broadcast to the sizes of `out`.
// Element types must agree. With beta == 0, NaNs in `c` do not spread, as in torch.
void matmul(Tensor& out, const Tensor& a, const Tensor& b, const Tensor* c, double alpha, double beta,
            const char* function);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_MATMUL_HPP_
