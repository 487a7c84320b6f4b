// The C shim: functions of complex numbers, as the C library has them: eager PyTorch calls the same.
#include <complex>
#include <string_view>
#include <type_traits>
#include <utility>

#include "aotbuild/detail/shim.h"
#include "operators/broadcast.hpp"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

constexpr std::int64_t kMinParallel = 1 << 10;

// Products and quotients of parts, of infinities too: std::complex has other results.
template <typename T>
std::complex<T> product(const std::complex<T>& a, const std::complex<T>& b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

template <typename T>
std::complex<T> quotient(const std::complex<T>& a, const std::complex<T>& b) {
  if (std::abs(b.real()) >= std::abs(b.imag())) {
    const T ratio = b.imag() / b.real();
    const T scale = 1 / (b.real() + b.imag() * ratio);
    return {(a.real() + a.imag() * ratio) * scale, (a.imag() - a.real() * ratio) * scale};
  }
  const T ratio = b.real() / b.imag();
  const T scale = 1 / (b.imag() + b.real() * ratio);
  return {(a.real() * ratio + a.imag()) * scale, (a.imag() * ratio - a.real()) * scale};
}

// The logarithm of 1 + z, made up for what the sum has lost of z.
template <typename T>
std::complex<T> log1p(const std::complex<T>& z) {
  const std::complex<T> sum = z + T(1);
  if (sum == T(1)) return z;
  const std::complex<T> rest = sum - T(1);
  return rest == z ? std::log(sum) : product(std::log(sum), quotient(z, rest));
}

template <typename T>
using Function = std::complex<T> (*)(const std::complex<T>&);

template <typename T>
Function<T> function_named(std::string_view name, const char* function) {
  const std::pair<std::string_view, Function<T>> functions[] = {
      {"acos", std::acos},   {"acosh", std::acosh}, {"asin", std::asin}, {"asinh", std::asinh}, {"atan", std::atan},
      {"atanh", std::atanh}, {"cos", std::cos},     {"cosh", std::cosh}, {"exp", std::exp},     {"log1p", log1p},
      {"sin", std::sin},     {"sinh", std::sinh},   {"sqrt", std::sqrt}, {"tan", std::tan},     {"tanh", std::tanh},
  };
  for (const auto& [known, value] : functions) {
    if (known == name) return value;
  }
  fail(function, "there is no function '", name, "' of complex numbers");
}

// Calls `body(first, count)` with the elements of a contiguous complex tensor.
template <typename Body>
void with_elements(Tensor& tensor, const char* function, Body&& body) {
  dispatch(tensor.dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (is_complex<T>) {
      body(tensor.data_as<T>(), tensor.numel());
    } else {
      fail(function, "element type ", dtype_name(tensor.dtype), " is not supported, expected complex64 or complex128");
    }
  });
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_complex_function(AtenTensorHandle self, const char* name, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_complex_function";
  return guarded([&] {
    TensorPtr out = clone_contiguous(checked(self, function, "self"), function);
    with_elements(*out, function, [&](auto* elements, std::int64_t count) {
      const auto value = function_named<decltype(elements->real())>(name == nullptr ? "" : name, function);
#pragma omp parallel for if (count > kMinParallel)
      for (std::int64_t i = 0; i < count; ++i) elements[i] = value(elements[i]);
    });
    checked_result(ret, function) = out.release();
  });
}

AOTITorchError aotbuild_torch_cpu_complex_power(AtenTensorHandle self, AtenTensorHandle exponent,
                                                AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_complex_power";
  return guarded([&] {
    auto operands = broadcast(checked(self, function, "self"), checked(exponent, function, "exponent"), function);
    const Tensor& exponents = *operands.second;
    with_elements(*operands.first, function, [&](auto* elements, std::int64_t count) {
      const auto* const by = exponents.data_as<std::remove_reference_t<decltype(*elements)>>();
#pragma omp parallel for if (count > kMinParallel)
      for (std::int64_t i = 0; i < count; ++i) elements[i] = std::pow(elements[i], by[i]);
    });
    checked_result(ret, function) = operands.first.release();
  });
}
