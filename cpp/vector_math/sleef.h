// The functions of Sleef that PyTorch's vectors call, where there is no Sleef for the target: a vector's elements pass
// through the C library's functions one by one. Signatures are those of Sleef's reference, "Vectorized math library".
#ifndef AOTBUILD_VECTOR_MATH_SLEEF_H_
#define AOTBUILD_VECTOR_MATH_SLEEF_H_

#define __SLEEF_H__  // NOLINT: the guard of the header of that name in torch's include folder, which is for another
                     // system

#include <math.h>

#if defined(__AVX2__)
#include <immintrin.h>

namespace aotbuild::vector_math {

// Stored and loaded, since compilers take single elements out of a vector more slowly.
template <typename T, typename V, typename F>
inline V each(V x, const F& function) {
  constexpr int kCount = sizeof(V) / sizeof(T);
  T values[kCount];
  __builtin_memcpy(values, &x, sizeof x);
  for (int i = 0; i < kCount; ++i) values[i] = function(values[i]);
  __builtin_memcpy(&x, values, sizeof x);
  return x;
}

template <typename T, typename V, typename F>
inline V each(V x, V y, const F& function) {
  constexpr int kCount = sizeof(V) / sizeof(T);
  T left[kCount];
  T right[kCount];
  __builtin_memcpy(left, &x, sizeof x);
  __builtin_memcpy(right, &y, sizeof y);
  for (int i = 0; i < kCount; ++i) left[i] = function(left[i], right[i]);
  __builtin_memcpy(&x, left, sizeof x);
  return x;
}

}  // namespace aotbuild::vector_math

struct Sleef___m256_2 {
  __m256 x, y;
};
struct Sleef___m256d_2 {
  __m256d x, y;
};

// One function for each kind of vector: its name, the error that it is called for, and the C library's name.
#define AOTBUILD_VECTOR_UNARY(V, T, kind, error, name, scalar)                          \
  inline V Sleef_##name##kind##error(V x) {                                             \
    return aotbuild::vector_math::each<T>(x, [](T value) { return T(scalar(value)); }); \
  }
#define AOTBUILD_VECTOR_BINARY(V, T, kind, error, name, scalar)                            \
  inline V Sleef_##name##kind##error(V x, V y) {                                           \
    return aotbuild::vector_math::each<T>(x, y, [](T a, T b) { return T(scalar(a, b)); }); \
  }
#define AOTBUILD_VECTOR_FUNCTIONS(V, T, kind, s)              \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, acos, acos##s)      \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, acosh, acosh##s)    \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, asin, asin##s)      \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, asinh, asinh##s)    \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, atan, atan##s)      \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, atanh, atanh##s)    \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, cos, cos##s)        \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u35, cos, cos##s)        \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, cosh, cosh##s)      \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, erf, erf##s)        \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u15, erfc, erfc##s)      \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, exp, exp##s)        \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, exp2, exp2##s)      \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, expm1, expm1##s)    \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, lgamma, lgamma##s)  \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, log, log##s)        \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, log10, log10##s)    \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, log1p, log1p##s)    \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, log2, log2##s)      \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, sin, sin##s)        \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u35, sin, sin##s)        \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, sinh, sinh##s)      \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, tan, tan##s)        \
  AOTBUILD_VECTOR_UNARY(V, T, kind, _u10, tanh, tanh##s)      \
  AOTBUILD_VECTOR_BINARY(V, T, kind, _u10, atan2, atan2##s)   \
  AOTBUILD_VECTOR_BINARY(V, T, kind, _u05, hypot, hypot##s)   \
  AOTBUILD_VECTOR_BINARY(V, T, kind, _u10, pow, pow##s)       \
  AOTBUILD_VECTOR_BINARY(V, T, kind, , copysign, copysign##s) \
  AOTBUILD_VECTOR_BINARY(V, T, kind, , fmod, fmod##s)         \
  AOTBUILD_VECTOR_BINARY(V, T, kind, , nextafter, nextafter##s)

AOTBUILD_VECTOR_FUNCTIONS(__m256, float, f8, f)
AOTBUILD_VECTOR_FUNCTIONS(__m256d, double, d4, )
inline Sleef___m256_2 Sleef_sincosf8_u10(__m256 x) { return {Sleef_sinf8_u10(x), Sleef_cosf8_u10(x)}; }
inline Sleef___m256d_2 Sleef_sincosd4_u10(__m256d x) { return {Sleef_sind4_u10(x), Sleef_cosd4_u10(x)}; }

#if defined(__AVX512F__)
struct Sleef___m512_2 {
  __m512 x, y;
};
struct Sleef___m512d_2 {
  __m512d x, y;
};
AOTBUILD_VECTOR_FUNCTIONS(__m512, float, f16, f)
AOTBUILD_VECTOR_FUNCTIONS(__m512d, double, d8, )
inline Sleef___m512_2 Sleef_sincosf16_u10(__m512 x) { return {Sleef_sinf16_u10(x), Sleef_cosf16_u10(x)}; }
inline Sleef___m512d_2 Sleef_sincosd8_u10(__m512d x) { return {Sleef_sind8_u10(x), Sleef_cosd8_u10(x)}; }
#endif

#undef AOTBUILD_VECTOR_FUNCTIONS
#undef AOTBUILD_VECTOR_BINARY
#undef AOTBUILD_VECTOR_UNARY

#endif

#endif  // AOTBUILD_VECTOR_MATH_SLEEF_H_
