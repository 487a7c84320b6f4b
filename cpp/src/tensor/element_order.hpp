// The order of elements that torch's sorting operators use: NaN is greater than every number.
#ifndef AOTBUILD_SRC_TENSOR_ELEMENT_ORDER_HPP_
#define AOTBUILD_SRC_TENSOR_ELEMENT_ORDER_HPP_

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tensor/dtype.hpp"

namespace aotbuild::detail {

// What elements of T are compared as: few types, so that sorting is compiled few times.
template <typename T>
using OrderKey = std::conditional_t<is_half<T> || std::is_same_v<T, float>, float,
                                    std::conditional_t<std::is_same_v<T, double>, double, std::int64_t>>;

template <typename T>
bool is_nan(T value) {
  if constexpr (is_half<T>) {
    return std::isnan(static_cast<float>(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    return std::isnan(value);
  } else if constexpr (is_complex<T>) {
    return std::isnan(value.real()) || std::isnan(value.imag());
  } else {
    return false;
  }
}

template <typename T>
bool comes_before(T a, T b) {
  return (is_nan(b) && !is_nan(a)) || a < b;
}

template <typename T>
bool comes_after(T a, T b) {
  return comes_before(b, a);
}

// Like `dispatch`, for the types that have an order: not complex ones.
template <typename Body>
void dispatch_ordered(ScalarType dtype, const char* function, Body&& body) {
  dispatch(dtype, function, [&](auto tag) {
    if constexpr (is_complex<typename decltype(tag)::type>) {
      fail(function, "complex elements have no order");
    } else {
      body(tag);
    }
  });
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_TENSOR_ELEMENT_ORDER_HPP_
