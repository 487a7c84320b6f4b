#include "tensor/half_rows.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "aotbuild/detail/runtime.hpp"

namespace aotbuild::detail {

namespace {

template <typename From, typename To>
void convert_row(const From* from, std::int64_t count, To* to) {
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

bool has_f16c() {
  static const bool result = cpu_supports("avx2");
  return result;
}
#else
std::int64_t widen_eights(const Half*, std::int64_t, float*) { return 0; }
std::int64_t narrow_eights(const float*, std::int64_t, Half*) { return 0; }
bool has_f16c() { return false; }
#endif

}  // namespace

void widen(const BFloat16* from, std::int64_t count, float* to) noexcept { convert_row(from, count, to); }

void narrow(const float* from, std::int64_t count, BFloat16* to) noexcept { convert_row(from, count, to); }

void widen(const Half* from, std::int64_t count, float* to) noexcept {
  const std::int64_t done = has_f16c() ? widen_eights(from, count, to) : 0;
  convert_row(from + done, count - done, to + done);
}

void narrow(const float* from, std::int64_t count, Half* to) noexcept {
  const std::int64_t done = has_f16c() ? narrow_eights(from, count, to) : 0;
  convert_row(from + done, count - done, to + done);
}

}  // namespace aotbuild::detail
