// Functions of generated kernels whose results are eager PyTorch's, where TorchInductor's own expressions have others:
// remainders of large numbers, divisions that overflow, and elementary functions near zero and near the largest
// numbers. Private to generated kernel sources; each function takes numbers or vectors of them.
#ifndef AOTBUILD_DETAIL_EAGER_MATH_HPP_
#define AOTBUILD_DETAIL_EAGER_MATH_HPP_

#include <torch/csrc/inductor/cpp_prefix.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <type_traits>

namespace aotbuild::detail::inline AOTBUILD_ISA {

// --- numbers

template <typename T>
void check_divisor(T divisor) {
  if (divisor == 0) throw std::runtime_error("ZeroDivisionError");
}

template <typename T>
T negated(T a) {
  return static_cast<T>(std::make_unsigned_t<T>(0) - static_cast<std::make_unsigned_t<T>>(a));
}

// Integers, rounded towards zero. The processor answers a divisor of zero, and the least number divided by -1, with a
// signal.
template <typename T, typename U, std::enable_if_t<std::is_integral_v<T> && std::is_integral_v<U>, int> = 0>
std::common_type_t<T, U> truncate_divide(T a, U b) {
  using Common = std::common_type_t<T, U>;
  check_divisor(b);
  if (std::is_signed_v<Common> && static_cast<Common>(b) == static_cast<Common>(-1)) {
    return negated(static_cast<Common>(a));
  }
  return static_cast<Common>(a) / static_cast<Common>(b);
}

// Integers, rounded down.
template <typename T, typename U, std::enable_if_t<std::is_integral_v<T> && std::is_integral_v<U>, int> = 0>
std::common_type_t<T, U> floor_divide(T a, U b) {
  using Common = std::common_type_t<T, U>;
  const Common quotient = truncate_divide(a, b);
  const auto rest = static_cast<Common>(static_cast<Common>(a) - quotient * static_cast<Common>(b));
  return rest != 0 && (rest < 0) != (static_cast<Common>(b) < 0) ? quotient - 1 : quotient;
}

// What is left then, with the sign of the divisor.
template <typename T, typename U, std::enable_if_t<std::is_integral_v<T> && std::is_integral_v<U>, int> = 0>
std::common_type_t<T, U> floor_remainder(T a, U b) {
  using Common = std::common_type_t<T, U>;
  check_divisor(b);
  if (std::is_signed_v<Common> && static_cast<Common>(b) == static_cast<Common>(-1)) return 0;
  const auto rest = static_cast<Common>(static_cast<Common>(a) % static_cast<Common>(b));
  return rest != 0 && (rest < 0) != (static_cast<Common>(b) < 0) ? rest + static_cast<Common>(b) : rest;
}

template <typename T, std::enable_if_t<std::is_floating_point_v<T>, int> = 0>
T fmod(T a, T b) {
  return std::fmod(a, b);
}

#if INDUCTOR_USE_VECTOR_TYPES()

// --- vectors

template <typename T>
using Vector = at::vec::Vectorized<T>;
template <typename T, int N>
using Vectors = at::vec::VectorizedN<T, N>;

template <typename T>
bool all_lanes(const Vector<T>& mask) {
  return mask.zero_mask() == 0;  // a bit for each lane of zeros; a lane that is set is a NaN
}

template <typename T>
bool any_lane(const Vector<T>& mask) {
  return mask.zero_mask() != static_cast<int>((1U << Vector<T>::size()) - 1);
}

template <typename T, typename Function>
Vector<T> lane_by_lane(Function function, const Vector<T>& a, const Vector<T>& b) {
  alignas(64) T left[Vector<T>::size()];
  alignas(64) T right[Vector<T>::size()];
  a.store(left);
  b.store(right);
  for (int i = 0; i < Vector<T>::size(); ++i) left[i] = function(left[i], right[i]);
  return Vector<T>::loadu(left);
}

template <typename T>
Vector<T> truncate_divide(const Vector<T>& a, const Vector<T>& b) {
  return lane_by_lane([](T x, T y) { return static_cast<T>(truncate_divide(x, y)); }, a, b);
}

template <typename T>
Vector<T> floor_divide(const Vector<T>& a, const Vector<T>& b) {
  return lane_by_lane([](T x, T y) { return static_cast<T>(floor_divide(x, y)); }, a, b);
}

// What is left of |a| after the whole |b| in it, with the sign of a. While the quotient is a whole number that T holds,
// one multiplication and subtraction without rounding between them gives it; its quotient may be one too large.
template <typename T>
Vector<T> fmod(const Vector<T>& a, const Vector<T>& b) {
#if defined(__FMA__) || defined(__AVX512F__) || defined(__aarch64__)
  const Vector<T> dividend = a.abs();
  const Vector<T> divisor = b.abs();
  const Vector<T> quotient = (dividend / divisor).trunc();
  if (all_lanes(quotient < Vector<T>(T(1) / std::numeric_limits<T>::epsilon()))) {
    Vector<T> rest = at::vec::fmadd(quotient.neg(), divisor, dividend);
    rest = Vector<T>::blendv(rest, rest + divisor, rest < Vector<T>(0));
    rest = Vector<T>::blendv(rest, dividend, quotient == Vector<T>(0));  // the divisor may be infinite
    return rest.copysign(a);
  }
#endif
  return lane_by_lane([](T x, T y) { return std::fmod(x, y); }, a, b);
}

// From here on ln(1 + x) is ln(x), and acosh(x) is ln(2x); squares may overflow.
template <typename T>
constexpr T kLarge = T(1) / std::numeric_limits<T>::epsilon() / std::numeric_limits<T>::epsilon();

// Sleef's log1p, acosh and asinh are infinite for the largest numbers.
template <typename T>
Vector<T> log1p(const Vector<T>& x) {
  const Vector<T> large = x > Vector<T>(kLarge<T>);
  return any_lane(large) ? Vector<T>::blendv(x.log1p(), x.log(), large) : x.log1p();
}

template <typename T>
Vector<T> acosh(const Vector<T>& x) {
  const Vector<T> large = x > Vector<T>(kLarge<T>);
  if (!any_lane(large)) return x.acosh();
  return Vector<T>::blendv(x.acosh(), x.log() + Vector<T>(std::numbers::ln2_v<T>), large);
}

template <typename T>
Vector<T> asinh(const Vector<T>& x) {
  const Vector<T> size = x.abs();
  const Vector<T> large = size > Vector<T>(kLarge<T>);
  if (!any_lane(large)) return x.asinh();
  return Vector<T>::blendv(x.asinh(), (size.log() + Vector<T>(std::numbers::ln2_v<T>)).copysign(x), large);
}

// at::vec's is one less a product, which leaves no digits of a small result: here is its Taylor series.
inline Vector<float> erf(const Vector<float>& x) {
  constexpr float kTerms[] = {1.128379167e+00F, -3.761263890e-01F, 1.128379167e-01F, -2.686617065e-02F,
                              5.223977625e-03F, -8.548327023e-04F, 1.205533298e-04F};
  const Vector<float> square = x * x;
  Vector<float> series(kTerms[6]);
  for (int i = 5; i >= 0; --i) series = at::vec::fmadd(series, square, Vector<float>(kTerms[i]));
  return Vector<float>::blendv(x.erf(), x * series, square < Vector<float>(0.25F));
}

inline Vector<double> erf(const Vector<double>& x) { return x.erf(); }

// Of several vectors, each.
#define AOTBUILD_OF_EACH_VECTOR(function)                                    \
  template <typename T, int N>                                               \
  Vectors<T, N> function(const Vectors<T, N>& x) {                           \
    return x.unary_op([](const Vector<T>& part) { return function(part); }); \
  }
AOTBUILD_OF_EACH_VECTOR(log1p)
AOTBUILD_OF_EACH_VECTOR(acosh)
AOTBUILD_OF_EACH_VECTOR(asinh)
AOTBUILD_OF_EACH_VECTOR(erf)
#undef AOTBUILD_OF_EACH_VECTOR

#define AOTBUILD_OF_EACH_PAIR(function)                                                           \
  template <typename T, int N>                                                                    \
  Vectors<T, N> function(const Vectors<T, N>& a, const Vectors<T, N>& b) {                        \
    return a.binary_op(b, [](const Vector<T>& x, const Vector<T>& y) { return function(x, y); }); \
  }
AOTBUILD_OF_EACH_PAIR(fmod)
AOTBUILD_OF_EACH_PAIR(truncate_divide)
AOTBUILD_OF_EACH_PAIR(floor_divide)
#undef AOTBUILD_OF_EACH_PAIR

#endif

}  // namespace aotbuild::detail::inline AOTBUILD_ISA

#endif  // AOTBUILD_DETAIL_EAGER_MATH_HPP_
