#include "tensor/half_rows.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "aotbuild/detail/runtime.hpp"

namespace aotbuild::detail {

namespace {

template <typename From, typename To>
void convert_rest(const From* from, std::int64_t count, To* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = To(from[i]);
}

#if defined(__x86_64__)
// How many values they have taken: multiples of eight.
__attribute__((target("avx,f16c"))) std::int64_t widen_eights(const Half* from, std::int64_t count, float* to) {
  const std::int64_t last = count / 8 * 8;
  for (std::int64_t i = 0; i < last; i += 8) {
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  }
  return last;
}

__attribute__((target("avx,f16c"))) std::int64_t narrow_eights(const float* from, std::int64_t count, Half* to) {
  const std::int64_t last = count / 8 * 8;
  for (std::int64_t i = 0; i < last; i += 8) {
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), halves);
  }
  return last;
}

__attribute__((target("avx2"))) std::int64_t widen_eights(const BFloat16* from, std::int64_t count, float* to) {
  const std::int64_t last = count / 8 * 8;
  for (std::int64_t i = 0; i < last; i += 8) {
    const __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
    _mm256_storeu_ps(to + i, _mm256_castsi256_ps(_mm256_slli_epi32(words, 16)));
  }
  return last;
}

// As BFloat16's constructor.
__attribute__((target("avx2"))) std::int64_t narrow_eights(const float* from, std::int64_t count, BFloat16* to) {
  const std::int64_t last = count / 8 * 8;
  const __m256i one = _mm256_set1_epi32(1);
  for (std::int64_t i = 0; i < last; i += 8) {
    const __m256 value = _mm256_loadu_ps(from + i);
    const __m256i word = _mm256_castps_si256(value);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(word, 16), one);
    const __m256i rounded =
        _mm256_srli_epi32(_mm256_add_epi32(word, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    const __m256i half = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc0), is_nan);
    const __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), halves);
  }
  return last;
}

bool has_eights() {
  static const bool result = cpu_supports("avx2");
  return result;
}
#else
template <typename T>
std::int64_t widen_eights(const T*, std::int64_t, float*) {
  return 0;
}
template <typename T>
std::int64_t narrow_eights(const float*, std::int64_t, T*) {
  return 0;
}
bool has_eights() { return false; }
#endif

template <typename T>
void widen_row(const T* from, std::int64_t count, float* to) {
  const std::int64_t done = has_eights() ? widen_eights(from, count, to) : 0;
  convert_rest(from + done, count - done, to + done);
}

template <typename T>
void narrow_row(const float* from, std::int64_t count, T* to) {
  const std::int64_t done = has_eights() ? narrow_eights(from, count, to) : 0;
  convert_rest(from + done, count - done, to + done);
}

}  // namespace

void widen(const BFloat16* from, std::int64_t count, float* to) noexcept { widen_row(from, count, to); }
void widen(const Half* from, std::int64_t count, float* to) noexcept { widen_row(from, count, to); }
void narrow(const float* from, std::int64_t count, BFloat16* to) noexcept { narrow_row(from, count, to); }
void narrow(const float* from, std::int64_t count, Half* to) noexcept { narrow_row(from, count, to); }

}  // namespace aotbuild::detail
