// The vectors of attention: PyTorch's where its headers have some for the instruction set, and plain ones of 16 bytes
// where theirs are arrays, whose elements pass through the C library one by one. Private to generated kernel sources.
#ifndef AOTBUILD_DETAIL_ATTENTION_VECTORS_HPP_
#define AOTBUILD_DETAIL_ATTENTION_VECTORS_HPP_

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <cstdint>

namespace aotbuild::detail::inline AOTBUILD_ISA {

namespace attention_detail {

#if defined(CPU_CAPABILITY_DEFAULT)

#define AOTBUILD_INLINE __attribute__((always_inline)) inline

using Floats = float __attribute__((vector_size(16)));
using Words = std::uint32_t __attribute__((vector_size(16)));

AOTBUILD_INLINE Floats every(float value) { return value - Floats{}; }
AOTBUILD_INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }

#include "aotbuild/detail/exponential.hpp"

// What attention uses of at::vec::Vectorized<float>.
class Vector {
 public:
  AOTBUILD_INLINE explicit Vector(Floats values) : values_(values) {}
  AOTBUILD_INLINE explicit Vector(float value) : values_(every(value)) {}
  Vector() = default;

  static constexpr int size() { return 4; }

  static AOTBUILD_INLINE Vector loadu(const float* from) {
    Vector result;
    __builtin_memcpy(&result.values_, from, sizeof result.values_);
    return result;
  }
  // The first `count`; the others are zero.
  static AOTBUILD_INLINE Vector loadu(const float* from, std::int64_t count) {
    Floats values = {};
    for (std::int64_t i = 0; i < count; ++i) values[i] = from[i];
    return Vector(values);
  }
  AOTBUILD_INLINE void store(float* to) const { __builtin_memcpy(to, &values_, sizeof values_); }
  AOTBUILD_INLINE void store(float* to, int count) const {
    for (int i = 0; i < count; ++i) to[i] = values_[i];
  }

  AOTBUILD_INLINE float operator[](int i) const { return values_[i]; }
  friend AOTBUILD_INLINE Vector operator+(Vector a, Vector b) { return Vector(a.values_ + b.values_); }
  friend AOTBUILD_INLINE Vector operator-(Vector a, Vector b) { return Vector(a.values_ - b.values_); }
  friend AOTBUILD_INLINE Vector operator*(Vector a, Vector b) { return Vector(a.values_ * b.values_); }
  friend AOTBUILD_INLINE Vector fmadd(Vector a, Vector b, Vector c) {
    return Vector(multiply_add(a.values_, b.values_, c.values_));
  }
  // The greater of each two; NaN where one is.
  friend AOTBUILD_INLINE Vector maximum(Vector a, Vector b) {
    const Floats greater = a.values_ > b.values_ ? a.values_ : b.values_;
    return Vector(a.values_ == a.values_ ? greater : a.values_);
  }

  // e^x of scores less the greatest of them; 0 below -87.
  AOTBUILD_INLINE Vector exp_u20() const {
    const Floats power = exponential_within(values_);
    return Vector(values_ < -87.0F ? Floats{} : power);
  }

 private:
  Floats values_;
};

AOTBUILD_INLINE float total(Vector values) { return values[0] + values[1] + (values[2] + values[3]); }

AOTBUILD_INLINE float greatest(Vector values) {
  float result = values[0];
  for (int i = 1; i < Vector::size(); ++i) result = result != result || result > values[i] ? result : values[i];
  return result;
}

AOTBUILD_INLINE bool is_zero(Vector values) {
  return values[0] == 0.0F && values[1] == 0.0F && values[2] == 0.0F && values[3] == 0.0F;
}

#undef AOTBUILD_INLINE

#else

using at::vec::fmadd;
using at::vec::maximum;
using Vector = at::vec::Vectorized<float>;

inline float total(const Vector& values) {
  return at::vec::vec_reduce_all<float>([](Vector& x, Vector& y) { return x + y; }, values);
}

inline float greatest(const Vector& values) {
  return at::vec::vec_reduce_all<float>([](Vector& x, Vector& y) { return maximum(x, y); }, values);
}

inline bool is_zero(const Vector& values) { return (values == Vector(0.0f)).zero_mask() == 0; }

#endif

}  // namespace attention_detail

}  // namespace aotbuild::detail::inline AOTBUILD_ISA

#endif  // AOTBUILD_DETAIL_ATTENTION_VECTORS_HPP_
