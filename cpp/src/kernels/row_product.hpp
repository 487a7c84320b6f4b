// One row times a packed matrix: what a decoder does for each token, where reading the weights is all that takes time.
#ifndef AOTBUILD_SRC_KERNELS_ROW_PRODUCT_HPP_
#define AOTBUILD_SRC_KERNELS_ROW_PRODUCT_HPP_

#include <cstdint>

namespace aotbuild::detail {

// Whether this machine has the kernel (AVX-512).
bool has_row_product() noexcept;

// output[N] = input[K] @ packed + bias, or + output where `accumulate`. `packed` is a PackedMatrix of detail/spec.h
// with K rows and N columns; a null `bias` is none.
void row_product(const float* input, const float* packed, std::int64_t rows, std::int64_t columns, const float* bias,
                 bool accumulate, float* output) noexcept;

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_ROW_PRODUCT_HPP_
