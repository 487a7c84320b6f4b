// Vectors and functions of them, included by headers of loops (kernels/each_isa.hpp) into the namespace of each
// instruction set.

// The same each time.
#define AOTBUILD_INLINE __attribute__((always_inline)) inline

using Words = std::uint32_t __attribute__((vector_size(kBytes)));
using Integers = std::int32_t __attribute__((vector_size(kBytes)));
using Shorts = std::int16_t __attribute__((vector_size(kBytes)));

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  using Type = Floats;
};
template <>
struct VectorOf<double> {
  using Type = Doubles;
};
template <typename T>
using Vector = typename VectorOf<T>::Type;
template <typename T>
constexpr std::int64_t kLanes = kBytes / static_cast<std::int64_t>(sizeof(T));

template <typename T>
AOTBUILD_INLINE Vector<T> load(const T* from) {
  Vector<T> value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
AOTBUILD_INLINE void store(T* to, Vector<T> value) {
  __builtin_memcpy(to, &value, sizeof value);
}

template <typename T>
AOTBUILD_INLINE Vector<T> every(T value) {
  return value - Vector<T>{};
}

AOTBUILD_INLINE Floats absolute(Floats x) {
  Words bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  bits &= 0x7fffffffU;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

#include "aotbuild/detail/exponential.hpp"

AOTBUILD_INLINE Floats exponential(Floats x) {
  x = x > 89.0F ? every(89.0F) : x;  // infinite, and NaN stays
  x = x < -87.0F ? every(-87.0F) : x;
  return exponential_within(x);
}

// Functions as quotients, so that a product of them takes one division. A sigmoid is 1 / below.
AOTBUILD_INLINE Floats below_sigmoid(Floats x) { return 1.0F + exponential(-x); }

template <typename V>
struct Quotient {
  V above;
  V below;
};

AOTBUILD_INLINE Quotient<Floats> hyperbolic_tangent(Floats x) {
  const Floats size = absolute(x);
  const Floats power = exponential(-(size + size));
  // Where the power is near 1 the difference would lose its last bits; a polynomial of x^2 whose error is 4e-9.
  const Floats z = x * x;
  Floats p = every(-0.0057170326F);
  p = multiply_add(p, z, every(0.020650575F));
  p = multiply_add(p, z, every(-0.053743493F));
  p = multiply_add(p, z, every(0.13331491F));
  p = multiply_add(p, z, every(-0.33333284F));
  const Floats small = multiply_add(p * z, x, x);
  const Floats large = 1.0F - power;
  return {size < 0.625F ? small : (x < 0.0F ? -large : large), size < 0.625F ? every(1.0F) : 1.0F + power};
}

// x Phi(x) = max(x, 0) - |x| Phi(-|x|). Phi(-t) is e^(-t^2/2) times a polynomial whose error is 7e-9 where it counts;
// from 13 on it is zero in float32. Of -inf NaN, as eager PyTorch has it.
AOTBUILD_INLINE Floats gelu(Floats x) {
  const Floats t = absolute(x);
  Floats p = every(4.3039109e-8F);
  p = multiply_add(p, t, every(-1.2485175e-6F));
  p = multiply_add(p, t, every(1.6388475e-5F));
  p = multiply_add(p, t, every(-0.00013025335F));
  p = multiply_add(p, t, every(0.00071179378F));
  p = multiply_add(p, t, every(-0.0029024448F));
  p = multiply_add(p, t, every(0.00943467F));
  p = multiply_add(p, t, every(-0.025856073F));
  p = multiply_add(p, t, every(0.062138304F));
  p = multiply_add(p, t, every(-0.13287614F));
  p = multiply_add(p, t, every(0.24998476F));
  p = multiply_add(p, t, every(-0.39894151F));
  p = multiply_add(p, t, every(0.5F));
  const Floats tail = t < 13.0F ? p * exponential_within(t * t * -0.5F) : Floats{};
  return multiply_add(x > 13.0F ? Floats{} : -t, tail, x > 0.0F ? x : Floats{});
}
