// Complex element types. Headers of models that have them include it.
#ifndef AOTBUILD_COMPLEX_HPP_
#define AOTBUILD_COMPLEX_HPP_

#include <complex>

#include "aotbuild/dtype.hpp"

namespace aotbuild {
inline namespace AOTBUILD_NAMESPACE {

// A complex number of two float16, as it is stored. Convert to std::complex<float> to compute with it.
struct complex32 {
  float16 real;  // the real part
  float16 imag;  // the imaginary part

  complex32() = default;  // zero
  // Rounds both parts.
  explicit complex32(std::complex<float> value) : real(value.real()), imag(value.imag()) {}
  // The same number.
  explicit operator std::complex<float>() const { return {static_cast<float>(real), static_cast<float>(imag)}; }
};

// clang-format off
template <> struct dtype_of<complex32> { static constexpr aotbuild_dtype value{AOTBUILD_COMPLEX, 32, 1}; };
template <> struct dtype_of<std::complex<float>> { static constexpr aotbuild_dtype value{AOTBUILD_COMPLEX, 64, 1}; };
template <> struct dtype_of<std::complex<double>> { static constexpr aotbuild_dtype value{AOTBUILD_COMPLEX, 128, 1}; };
// clang-format on

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild

#endif  // AOTBUILD_COMPLEX_HPP_
