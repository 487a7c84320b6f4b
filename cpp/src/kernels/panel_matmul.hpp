// Products of float32 matrices that are known only at run time, and of 16-bit types as float32.
#ifndef AOTBUILD_SRC_KERNELS_PANEL_MATMUL_HPP_
#define AOTBUILD_SRC_KERNELS_PANEL_MATMUL_HPP_

#include "kernels/matmul.hpp"
#include "tensor/dtype.hpp"

namespace aotbuild::detail {

// out = alpha * (a @ b) + bias + beta * out, each batch of `b` laid out in panels first. Sums are float32. False for
// other types, and for so few rows that panels do not pay.
bool panel_matmul(const Matrices& out, const Matrices& a, const Matrices& b, const Addition& addition,
                  ScalarType dtype);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_PANEL_MATMUL_HPP_
