// Includes the header of loops that AOTBUILD_LOOPS names once for each instruction set of the architecture, into a
// namespace of its own: portable, avx2, avx512. Each has Floats and Doubles, vectors of kBytes; kSums, how many vectors
// of sums its registers hold beside operands; kAskingReads, whether memory is asked for by reading it, as where there
// are no prefetches; multiply_add; at_least, which is the greater one, NaN where `value` is; and load_part and
// store_part, of the first `count` values, less than a vector has; the others are zero. To be included inside a
// namespace, after kernels/intrinsics.hpp, and as often as there are such loops.

// What every machine of the architecture has.
namespace portable {

#if defined(__wasm__)
constexpr bool kAskingReads = true;
#else
constexpr bool kAskingReads = false;
#endif
constexpr std::int64_t kBytes = 16;
using Floats = float __attribute__((vector_size(kBytes)));
using Doubles = double __attribute__((vector_size(kBytes)));
#if defined(__aarch64__)
constexpr int kSums = 28;
inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return reinterpret_cast<Floats>(
      vfmaq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a), reinterpret_cast<float32x4_t>(b)));
}
#else
#if defined(__wasm__)
constexpr int kSums = 8;  // of x86-64's 16 registers V8 leaves a product fewer: from 10 on it spills
#else
constexpr int kSums = 12;
#endif
inline Floats multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }
#endif
#if defined(__x86_64__)
// Of 16 bits, two in a word: the sum of both products.
inline Floats multiply_shorts(Floats a, Floats b) {
  return reinterpret_cast<Floats>(_mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
}
#elif defined(__aarch64__)
// Of int8, four in a word: c and the products of all. As text, since it is another set.
inline Floats multiply_bytes(Floats a, Floats b, Floats c) {
  __asm__(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(c) : "w"(a), "w"(b));
  return c;
}
#endif
inline Floats at_least(Floats low, Floats value) { return value < low ? low : value; }
inline Doubles multiply_add(Doubles a, Doubles b, Doubles c) { return a * b + c; }
inline Floats load_part(const float* from, std::int64_t count) {
  Floats value = {};
  for (std::int64_t i = 0; i < count; ++i) value[i] = from[i];
  return value;
}
inline void store_part(float* to, Floats value, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = value[i];
}

#include AOTBUILD_LOOPS

}  // namespace portable

#if defined(__x86_64__)

// The functions between these lines are compiled for one instruction set, and called where the machine has it.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace avx2 {

constexpr bool kAskingReads = false;
constexpr std::int64_t kBytes = 32;
constexpr int kSums = 12;
using Floats = float __attribute__((vector_size(kBytes)));
using Doubles = double __attribute__((vector_size(kBytes)));
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats at_least(Floats low, Floats value) { return _mm256_max_ps(low, value); }
// Of 16 bits, two in a word: the sum of both products.
inline Floats multiply_shorts(Floats a, Floats b) {
  return reinterpret_cast<Floats>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}
// Of int8, four in a word, those of `a` unsigned: c and the products of all. As text, since AVX_VNNI is another set.
inline Floats multiply_bytes(Floats a, Floats b, Floats c) {
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(c) : "x"(a), "x"(b));
  return c;
}
inline Doubles multiply_add(Doubles a, Doubles b, Doubles c) { return _mm256_fmadd_pd(a, b, c); }
inline __m256i mask_of(std::int64_t count) {
  static constexpr std::int32_t kMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask + 8 - count));
}
inline Floats load_part(const float* from, std::int64_t count) { return _mm256_maskload_ps(from, mask_of(count)); }
inline void store_part(float* to, Floats value, std::int64_t count) { _mm256_maskstore_ps(to, mask_of(count), value); }

#include AOTBUILD_LOOPS

}  // namespace avx2

#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")
#endif

namespace avx512 {

constexpr bool kAskingReads = false;
constexpr std::int64_t kBytes = 64;
constexpr int kSums = 28;
using Floats = float __attribute__((vector_size(kBytes)));
using Doubles = double __attribute__((vector_size(kBytes)));
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats at_least(Floats low, Floats value) { return _mm512_max_ps(low, value); }
inline Doubles multiply_add(Doubles a, Doubles b, Doubles c) { return _mm512_fmadd_pd(a, b, c); }
// Of bfloat16, two in a word: c and the products of both. As text, since AVX512_BF16 is another set, and GCC 12 copies
// the sums of its intrinsic.
inline Floats multiply_pairs(Floats a, Floats b, Floats c) {
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
  return c;
}
// Of 16 bits, two in a word: the sum of both products.
inline Floats multiply_shorts(Floats a, Floats b) {
  return reinterpret_cast<Floats>(_mm512_madd_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
// Of int8, four in a word, those of `a` unsigned: c and the products of all, without saturation.
inline Floats multiply_bytes(Floats a, Floats b, Floats c) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
  return c;
}
inline __mmask16 mask_of(std::int64_t count) { return static_cast<__mmask16>((1U << count) - 1U); }
inline Floats load_part(const float* from, std::int64_t count) { return _mm512_maskz_loadu_ps(mask_of(count), from); }
inline void store_part(float* to, Floats value, std::int64_t count) {
  _mm512_mask_storeu_ps(to, mask_of(count), value);
}

#include AOTBUILD_LOOPS

}  // namespace avx512

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

#undef AOTBUILD_LOOPS
