#include "kernels/row_product.hpp"

#include <algorithm>
#include <cstring>

#include "aotbuild/detail/runtime.hpp"
#include "kernels/packing.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace aotbuild::detail {

#if defined(__x86_64__)

namespace {

// So many panels of columns at once: one core gets the more out of memory the more streams it reads.
constexpr std::int64_t kStreams = 8;

template <int kCount>
__attribute__((target("avx512f"))) void multiply_panels(const float* input, const float* packed, std::int64_t stride,
                                                        std::int64_t rows, float* sums) noexcept {
  __m512 low[kCount];
  __m512 high[kCount];
  for (int p = 0; p < kCount; ++p) low[p] = high[p] = _mm512_setzero_ps();
  for (std::int64_t row = 0; row < rows; ++row) {
    const __m512 value = _mm512_set1_ps(input[row]);
    const float* weights = packed + row * kPanelColumns;
#pragma GCC unroll 8
    for (int p = 0; p < kCount; ++p) {
      low[p] = _mm512_fmadd_ps(_mm512_loadu_ps(weights + p * stride), value, low[p]);
      high[p] = _mm512_fmadd_ps(_mm512_loadu_ps(weights + p * stride + kPanelColumns / 2), value, high[p]);
    }
  }
  for (int p = 0; p < kCount; ++p) {
    _mm512_storeu_ps(sums + p * kPanelColumns, low[p]);
    _mm512_storeu_ps(sums + p * kPanelColumns + kPanelColumns / 2, high[p]);
  }
}

}  // namespace

bool has_row_product() noexcept {
  static const bool has = cpu_supports("avx512");
  return has;
}

void row_product(const float* input, const float* packed, std::int64_t rows, std::int64_t columns, const float* bias,
                 bool accumulate, float* output) noexcept {
  const std::int64_t stride = (rows + kPanelRows - 1) / kPanelRows * kPanelRows * kPanelColumns;
  const std::int64_t panel_count = (columns + kPanelColumns - 1) / kPanelColumns;
#pragma omp parallel for if (rows * columns > 1 << 16)
  for (std::int64_t panel = 0; panel < panel_count; panel += kStreams) {
    const std::int64_t count = std::min(kStreams, panel_count - panel);
    alignas(64) float sums[kStreams * kPanelColumns];
    const float* from = packed + panel * stride;
    if (count == kStreams) {
      multiply_panels<kStreams>(input, from, stride, rows, sums);
    } else {
      for (std::int64_t p = 0; p < count; ++p)
        multiply_panels<1>(input, from + p * stride, stride, rows, sums + p * kPanelColumns);
    }
    const std::int64_t first = panel * kPanelColumns;
    const std::int64_t last = std::min(columns, first + kStreams * kPanelColumns);
    for (std::int64_t column = first; column < last; ++column) {
      float sum = sums[column - first];
      if (bias != nullptr) sum += bias[column];
      output[column] = accumulate ? output[column] + sum : sum;
    }
  }
}

#else

bool has_row_product() noexcept { return false; }

void row_product(const float*, const float*, std::int64_t, std::int64_t, const float*, bool, float*) noexcept {}

#endif

}  // namespace aotbuild::detail
