#include "kernels/quantized_kernels.hpp"

#include <string_view>

#include "aotbuild/detail/runtime.hpp"
#include "kernels/best_kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace aotbuild::detail {

namespace {

// Inlined into functions for one instruction set each, and vectorised there.
#define AOTBUILD_LOOP __attribute__((always_inline)) inline

AOTBUILD_LOOP void dequantize8_loop(const std::int8_t* quantized, std::int32_t zero, float scale, std::int64_t count,
                                    float* values) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(quantized[i] - zero) * scale;
}

AOTBUILD_LOOP void dequantize4_loop(const std::uint8_t* quantized, std::int32_t zero, float scale, std::int64_t count,
                                    float* values) {
  for (std::int64_t block = 0; block < count / 32; ++block) {
    const std::uint8_t* from = quantized + block * 16;
    float* to = values + block * 32;
#pragma omp simd
    for (int i = 0; i < 16; ++i) {
      const std::int32_t low = from[i] & 15;
      const std::int32_t high = from[i] >> 4;
      // Two's complement of four bits.
      to[i] = static_cast<float>((low ^ 8) - 8 - zero) * scale;
      to[16 + i] = static_cast<float>((high ^ 8) - 8 - zero) * scale;
    }
  }
}

void dequantize8(const std::int8_t* quantized, std::int32_t zero, float scale, std::int64_t count, float* values) {
  dequantize8_loop(quantized, zero, scale, count, values);
}

void dequantize4(const std::uint8_t* quantized, std::int32_t zero, float scale, std::int64_t count, float* values) {
  dequantize4_loop(quantized, zero, scale, count, values);
}

template <int kRows>
void multiply(const float* input, std::int64_t input_stride, const float* values, std::int64_t values_stride,
              std::int64_t depth, float (*sums)[kTileColumns]) {
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kTileColumns; ++column) {
      const float* a = input + row * input_stride;
      const float* b = values + column * values_stride;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = 0; i < depth; ++i) sum += a[i] * b[i];
      sums[row][column] = sum;
    }
  }
}

constexpr QuantizedKernels kPortable = {
    dequantize8, dequantize4, {multiply<1>, multiply<2>, multiply<3>, multiply<4>, multiply<5>, multiply<6>}, 4};

#if defined(__x86_64__)

#define AOTBUILD_AVX2 __attribute__((target("avx2,fma")))
#define AOTBUILD_AVX512 __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")))

// The low and the high halves of 16 bytes as signed numbers of a byte each.
struct FourBits {
  __m128i low;
  __m128i high;
};

inline FourBits four_bits(const std::uint8_t* halves) {
  const __m128i mask = _mm_set1_epi8(15);
  const __m128i sign = _mm_set1_epi8(8);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves));
  return {_mm_sub_epi8(_mm_xor_si128(_mm_and_si128(bytes, mask), sign), sign),
          _mm_sub_epi8(_mm_xor_si128(_mm_and_si128(_mm_srli_epi16(bytes, 4), mask), sign), sign)};
}

// GCC vectorises these loops for the narrowest of their types, so they are written out. It warns of what intrinsics
// without a mask leave undefined.
AOTBUILD_AVX512 inline __m512 dequantized_avx512(__m128i bytes, __m512i zero, __m512 scale) {
  const __m512i numbers = _mm512_sub_epi32(_mm512_maskz_cvtepi8_epi32(0xffff, bytes), zero);
  return _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(0xffff, numbers), scale);
}

AOTBUILD_AVX512 void dequantize8_avx512(const std::int8_t* quantized, std::int32_t zero, float scale,
                                        std::int64_t count, float* values) {
  const __m512i zeros = _mm512_set1_epi32(zero);
  const __m512 scales = _mm512_set1_ps(scale);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(quantized + i));
    _mm512_storeu_ps(values + i, dequantized_avx512(bytes, zeros, scales));
  }
  dequantize8_loop(quantized + i, zero, scale, count - i, values + i);
}

AOTBUILD_AVX512 void dequantize4_avx512(const std::uint8_t* quantized, std::int32_t zero, float scale,
                                        std::int64_t count, float* values) {
  const __m512i zeros = _mm512_set1_epi32(zero);
  const __m512 scales = _mm512_set1_ps(scale);
  for (std::int64_t i = 0; i < count; i += 32) {
    const FourBits bytes = four_bits(quantized + i / 2);
    _mm512_storeu_ps(values + i, dequantized_avx512(bytes.low, zeros, scales));
    _mm512_storeu_ps(values + i + 16, dequantized_avx512(bytes.high, zeros, scales));
  }
}

AOTBUILD_AVX2 inline void store_dequantized_avx2(__m128i bytes, __m256i zero, __m256 scale, float* values) {
  const __m256i first = _mm256_sub_epi32(_mm256_cvtepi8_epi32(bytes), zero);
  const __m256i second = _mm256_sub_epi32(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)), zero);
  _mm256_storeu_ps(values, _mm256_mul_ps(_mm256_cvtepi32_ps(first), scale));
  _mm256_storeu_ps(values + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(second), scale));
}

AOTBUILD_AVX2 void dequantize8_avx2(const std::int8_t* quantized, std::int32_t zero, float scale, std::int64_t count,
                                    float* values) {
  const __m256i zeros = _mm256_set1_epi32(zero);
  const __m256 scales = _mm256_set1_ps(scale);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(quantized + i));
    store_dequantized_avx2(bytes, zeros, scales, values + i);
  }
  dequantize8_loop(quantized + i, zero, scale, count - i, values + i);
}

AOTBUILD_AVX2 void dequantize4_avx2(const std::uint8_t* quantized, std::int32_t zero, float scale, std::int64_t count,
                                    float* values) {
  const __m256i zeros = _mm256_set1_epi32(zero);
  const __m256 scales = _mm256_set1_ps(scale);
  for (std::int64_t i = 0; i < count; i += 32) {
    const FourBits bytes = four_bits(quantized + i / 2);
    store_dequantized_avx2(bytes.low, zeros, scales, values + i);
    store_dequantized_avx2(bytes.high, zeros, scales, values + i + 16);
  }
}

AOTBUILD_AVX2 inline float total_of(__m256 numbers) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(numbers), _mm256_extractf128_ps(numbers, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

template <int kRows>
AOTBUILD_AVX512 void multiply_avx512(const float* input, std::int64_t input_stride, const float* values,
                                     std::int64_t values_stride, std::int64_t depth, float (*sums)[kTileColumns]) {
  __m512 totals[kRows][kTileColumns];
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int column = 0; column < kTileColumns; ++column) totals[row][column] = _mm512_setzero_ps();
  }
  for (std::int64_t i = 0; i < depth; i += kTileVector) {
    __m512 weights[kTileColumns];
#pragma GCC unroll 4
    for (int column = 0; column < kTileColumns; ++column) {
      weights[column] = _mm512_loadu_ps(values + column * values_stride + i);
    }
#pragma GCC unroll 6
    for (int row = 0; row < kRows; ++row) {
      const __m512 numbers = _mm512_loadu_ps(input + row * input_stride + i);
#pragma GCC unroll 4
      for (int column = 0; column < kTileColumns; ++column) {
        totals[row][column] = _mm512_fmadd_ps(numbers, weights[column], totals[row][column]);
      }
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int column = 0; column < kTileColumns; ++column) {
      const __m512 total = totals[row][column];
      // Not _mm512_castps512_ps256: GCC 12 warns of what it leaves undefined.
      const __m256 low = _mm512_maskz_extractf32x8_ps(0xff, total, 0);
      const __m256 high = _mm512_maskz_extractf32x8_ps(0xff, total, 1);
      sums[row][column] = total_of(_mm256_add_ps(low, high));
    }
  }
}

template <int kRows>
AOTBUILD_AVX2 void multiply_avx2(const float* input, std::int64_t input_stride, const float* values,
                                 std::int64_t values_stride, std::int64_t depth, float (*sums)[kTileColumns]) {
  __m256 totals[kRows][kTileColumns];
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int column = 0; column < kTileColumns; ++column) totals[row][column] = _mm256_setzero_ps();
  }
  for (std::int64_t i = 0; i < depth; i += 8) {
    __m256 numbers[kRows];
#pragma GCC unroll 6
    for (int row = 0; row < kRows; ++row) numbers[row] = _mm256_loadu_ps(input + row * input_stride + i);
#pragma GCC unroll 4
    for (int column = 0; column < kTileColumns; ++column) {
      const __m256 weights = _mm256_loadu_ps(values + column * values_stride + i);
#pragma GCC unroll 6
      for (int row = 0; row < kRows; ++row) {
        totals[row][column] = _mm256_fmadd_ps(numbers[row], weights, totals[row][column]);
      }
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int column = 0; column < kTileColumns; ++column) {
      sums[row][column] = total_of(totals[row][column]);
    }
  }
}

constexpr QuantizedKernels kAvx512 = {dequantize8_avx512,
                                      dequantize4_avx512,
                                      {multiply_avx512<1>, multiply_avx512<2>, multiply_avx512<3>, multiply_avx512<4>,
                                       multiply_avx512<5>, multiply_avx512<6>},
                                      6};
// More than three rows have more sums than there are registers.
constexpr QuantizedKernels kAvx2 = {dequantize8_avx2,
                                    dequantize4_avx2,
                                    {multiply_avx2<1>, multiply_avx2<2>, multiply_avx2<3>, nullptr, nullptr, nullptr},
                                    3};

#endif

}  // namespace

const QuantizedKernels* quantized_kernels_for(const char* isa) noexcept {
  if (isa == nullptr) return &kPortable;
#if defined(__x86_64__)
  const std::string_view name = isa;
  if (name == "avx512" && cpu_supports(isa)) return &kAvx512;
  if (name == "avx2" && cpu_supports(isa)) return &kAvx2;
#endif
  return nullptr;
}

const QuantizedKernels& quantized_kernels() noexcept {
  static const QuantizedKernels& best = best_kernels(quantized_kernels_for);
  return best;
}

}  // namespace aotbuild::detail
