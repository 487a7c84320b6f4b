// Rows of 16-bit types to float32 and back.
#ifndef AOTBUILD_SRC_TENSOR_HALF_ROWS_HPP_
#define AOTBUILD_SRC_TENSOR_HALF_ROWS_HPP_

#include <cstdint>

#include "tensor/dtype.hpp"

namespace aotbuild::detail {

void widen(const BFloat16* from, std::int64_t count, float* to) noexcept;
void widen(const Half* from, std::int64_t count, float* to) noexcept;

// To the nearest value, ties to even.
void narrow(const float* from, std::int64_t count, BFloat16* to) noexcept;
void narrow(const float* from, std::int64_t count, Half* to) noexcept;

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_TENSOR_HALF_ROWS_HPP_
