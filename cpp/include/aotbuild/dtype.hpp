// Element types: those of C++ as the C ABI numbers them, and their names. complex.hpp has complex ones.
#ifndef AOTBUILD_DTYPE_HPP_
#define AOTBUILD_DTYPE_HPP_

#include <cstdint>
#include <type_traits>

#include "aotbuild/c_api.h"
#include "aotbuild/error.hpp"
#include "aotbuild/floats.hpp"

namespace aotbuild {
inline namespace AOTBUILD_NAMESPACE {

// The element type `T` as the C ABI and DLPack number it.
template <typename T>
struct dtype_of;

// clang-format off
template <> struct dtype_of<double> { static constexpr aotbuild_dtype value{AOTBUILD_FLOAT, 64, 1}; };
template <> struct dtype_of<float> { static constexpr aotbuild_dtype value{AOTBUILD_FLOAT, 32, 1}; };
template <> struct dtype_of<float16> { static constexpr aotbuild_dtype value{AOTBUILD_FLOAT, 16, 1}; };
template <> struct dtype_of<bfloat16> { static constexpr aotbuild_dtype value{AOTBUILD_BFLOAT, 16, 1}; };
template <> struct dtype_of<float8_e4m3fn> { static constexpr aotbuild_dtype value{AOTBUILD_FLOAT8_E4M3FN, 8, 1}; };
template <> struct dtype_of<float8_e5m2> { static constexpr aotbuild_dtype value{AOTBUILD_FLOAT8_E5M2, 8, 1}; };
template <> struct dtype_of<std::int64_t> { static constexpr aotbuild_dtype value{AOTBUILD_INT, 64, 1}; };
template <> struct dtype_of<std::int32_t> { static constexpr aotbuild_dtype value{AOTBUILD_INT, 32, 1}; };
template <> struct dtype_of<std::int16_t> { static constexpr aotbuild_dtype value{AOTBUILD_INT, 16, 1}; };
template <> struct dtype_of<std::int8_t> { static constexpr aotbuild_dtype value{AOTBUILD_INT, 8, 1}; };
template <> struct dtype_of<std::uint8_t> { static constexpr aotbuild_dtype value{AOTBUILD_UINT, 8, 1}; };
template <> struct dtype_of<std::uint16_t> { static constexpr aotbuild_dtype value{AOTBUILD_UINT, 16, 1}; };
template <> struct dtype_of<std::uint32_t> { static constexpr aotbuild_dtype value{AOTBUILD_UINT, 32, 1}; };
template <> struct dtype_of<std::uint64_t> { static constexpr aotbuild_dtype value{AOTBUILD_UINT, 64, 1}; };
template <> struct dtype_of<bool> { static constexpr aotbuild_dtype value{AOTBUILD_BOOL, 8, 1}; };
// clang-format on

// `dtype_of<T>::value`, of `const T` too.
template <typename T>
AOTBUILD_HIDDEN inline constexpr aotbuild_dtype dtype_v = dtype_of<std::remove_const_t<T>>::value;

// Whether two element types are the same.
inline constexpr bool operator==(const aotbuild_dtype& a, const aotbuild_dtype& b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}
// Whether two element types differ.
inline constexpr bool operator!=(const aotbuild_dtype& a, const aotbuild_dtype& b) { return !(a == b); }

// "float32", "int64", "bool": the names that PyTorch and NumPy use.
inline const char* dtype_name(aotbuild_dtype dtype) {
  struct Name {
    aotbuild_dtype dtype;
    const char* text;
  };
  constexpr Name kNames[] = {
      {{AOTBUILD_FLOAT, 64, 1}, "float64"},
      {{AOTBUILD_FLOAT, 32, 1}, "float32"},
      {{AOTBUILD_FLOAT, 16, 1}, "float16"},
      {{AOTBUILD_BFLOAT, 16, 1}, "bfloat16"},
      {{AOTBUILD_FLOAT8_E4M3FN, 8, 1}, "float8_e4m3fn"},
      {{AOTBUILD_FLOAT8_E5M2, 8, 1}, "float8_e5m2"},
      {{AOTBUILD_INT, 64, 1}, "int64"},
      {{AOTBUILD_INT, 32, 1}, "int32"},
      {{AOTBUILD_INT, 16, 1}, "int16"},
      {{AOTBUILD_INT, 8, 1}, "int8"},
      {{AOTBUILD_UINT, 8, 1}, "uint8"},
      {{AOTBUILD_UINT, 16, 1}, "uint16"},
      {{AOTBUILD_UINT, 32, 1}, "uint32"},
      {{AOTBUILD_UINT, 64, 1}, "uint64"},
      {{AOTBUILD_BOOL, 8, 1}, "bool"},
      {{AOTBUILD_COMPLEX, 32, 1}, "complex32"},
      {{AOTBUILD_COMPLEX, 64, 1}, "complex64"},
      {{AOTBUILD_COMPLEX, 128, 1}, "complex128"},
  };
  for (const Name& name : kNames) {
    if (name.dtype == dtype) return name.text;
  }
  return "a type that no model has";
}

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild

#endif  // AOTBUILD_DTYPE_HPP_
