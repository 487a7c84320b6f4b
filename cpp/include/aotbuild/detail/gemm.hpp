// The matrix product that generated kernels call on small blocks.
// Private: generated sources and the runtime are always of the same aotbuild version.
#ifndef AOTBUILD_DETAIL_GEMM_HPP_
#define AOTBUILD_DETAIL_GEMM_HPP_

#include <cstdint>

#include "aotbuild/detail/export.h"

namespace aotbuild::detail {

// C[m, n] = alpha * A[m, k] @ B[k, n] + beta * C, row-major with the given leading dimensions;
// `transpose_b`: B is stored as [n, k]. Single-threaded inside an OpenMP parallel region. Throws std::runtime_error.
AOTBUILD_RUNTIME_API void gemm(bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
                               const float* a, std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c,
                               std::int64_t ldc);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_DETAIL_GEMM_HPP_
