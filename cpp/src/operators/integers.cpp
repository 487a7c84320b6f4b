// The C shim: powers and divisors of integers, and how often each occurs.
#include <algorithm>
#include <numeric>
#include <utility>

#include "aotbuild/detail/shim.h"
#include "operators/broadcast.hpp"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"
#include "tensor/lines.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

// By squaring, wrapping around as torch does. Of negative exponents only those of 1 and -1 give more than 0.
template <typename T>
T integer_power(T base, T exponent) {
  if constexpr (std::is_signed_v<T>) {
    if (exponent < 0) {
      if (base == 1) return 1;
      return static_cast<T>(base != -1 ? 0 : exponent % 2 == 0 ? 1 : -1);
    }
  }
  std::uint64_t result = 1;
  auto square = static_cast<std::uint64_t>(base);
  for (auto rest = static_cast<std::uint64_t>(exponent); rest != 0; rest >>= 1) {
    if ((rest & 1) != 0) result *= square;
    square *= square;
  }
  return static_cast<T>(result);
}

// `combine(a, b)` of the elements of two tensors of one integer type, broadcast.
template <typename Combine>
TensorPtr combine_integers(const Tensor& a, const Tensor& b, const char* function, Combine&& combine) {
  std::pair<TensorPtr, TensorPtr> operands = broadcast(a, b, function);
  const Tensor &left = *operands.first, &right = *operands.second;
  dispatch(a.dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      for (std::int64_t i = 0; i < left.numel(); ++i) {
        T& element = left.data_as<T>()[i];
        element = combine(element, right.data_as<T>()[i]);
      }
    } else {
      fail(function, "element type ", dtype_name(a.dtype), " is not supported, expected integers");
    }
  });
  return std::move(operands.first);
}

// A number as a tensor of the other operand's type.
TensorPtr number_like(double value, const Tensor& other, const char* function) {
  TensorPtr number = make_tensor(other.dtype, 0, nullptr, nullptr);
  const TensorPtr wide = make_tensor(ScalarType::kFloat64, 0, nullptr, nullptr);
  *wide->data_as<double>() = value;
  copy(*number, *wide, function);
  return number;
}

TensorPtr powers(const Tensor& base, const Tensor& exponent, const char* function) {
  return combine_integers(base, exponent, function, [](auto a, auto b) { return integer_power(a, b); });
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_pow_Tensor_Tensor(AtenTensorHandle self, AtenTensorHandle exponent,
                                                    AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_pow_Tensor_Tensor";
  return guarded([&] {
    checked_result(ret, function) =
        powers(checked(self, function, "self"), checked(exponent, function, "exponent"), function).release();
  });
}

AOTITorchError aotbuild_torch_cpu_pow_Scalar(double self, AtenTensorHandle exponent, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_pow_Scalar";
  return guarded([&] {
    const Tensor& given = checked(exponent, function, "exponent");
    checked_result(ret, function) = powers(*number_like(self, given, function), given, function).release();
  });
}

AOTITorchError aotbuild_torch_cpu_pow_Tensor_Scalar(AtenTensorHandle self, double exponent, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_pow_Tensor_Scalar";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    checked_result(ret, function) = powers(given, *number_like(exponent, given, function), function).release();
  });
}

AOTITorchError aotbuild_torch_cpu_gcd(AtenTensorHandle self, AtenTensorHandle other, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_gcd";
  return guarded([&] {
    const auto divisor = [](auto a, auto b) { return static_cast<decltype(a)>(std::gcd(a, b)); };
    checked_result(ret, function) =
        combine_integers(checked(self, function, "self"), checked(other, function, "other"), function, divisor)
            .release();
  });
}

AOTITorchError aotbuild_torch_cpu_bincount(AtenTensorHandle self, AtenTensorHandle* weights, std::int64_t minlength,
                                           AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_bincount";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    if (given.ndim != 1) fail(function, "the input has ", given.ndim, " dimensions, expected 1");
    const TensorPtr places = make_contiguous(given, ScalarType::kInt64);
    copy(*places, given, function);
    const auto* const first = places->data_as<std::int64_t>();
    const auto* const last = first + given.numel();
    if (std::any_of(first, last, [](std::int64_t place) { return place < 0; })) {
      fail(function, "the input holds a negative number");
    }
    const std::int64_t largest = first == last ? -1 : *std::max_element(first, last);
    const std::int64_t bins = std::max(largest + 1, minlength);
    TensorPtr factors;
    ScalarType type = ScalarType::kInt64;
    if (weights != nullptr) {
      const Tensor& factor = checked(*weights, function, "weights");
      if (factor.numel() != given.numel()) {
        fail(function, factor.numel(), " weights for ", given.numel(), " elements");
      }
      type = factor.dtype == ScalarType::kFloat32 ? ScalarType::kFloat32 : ScalarType::kFloat64;
      factors = make_contiguous(factor, ScalarType::kFloat64);
      copy(*factors, factor, function);
    }
    const TensorPtr totals = make_tensor(ScalarType::kFloat64, 1, &bins, nullptr);
    const double zero = 0;
    fill(*totals, &zero, function);
    for (std::int64_t i = 0; i < given.numel(); ++i) {
      totals->data_as<double>()[first[i]] += factors != nullptr ? factors->data_as<double>()[i] : 1;
    }
    TensorPtr out = make_tensor(type, 1, &bins, nullptr);
    copy(*out, *totals, function);
    checked_result(ret, function) = out.release();
  });
}
