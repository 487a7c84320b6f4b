// The C shim: sums, products, maxima and the like over the elements so far along a dimension.
#include <algorithm>
#include <cmath>
#include <complex>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"
#include "tensor/element_order.hpp"
#include "tensor/lines.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

// What torch's CPU kernels keep running sums in.
template <typename T>
struct ScanType {
  using type = T;
};
template <>
struct ScanType<Half> {
  using type = float;
};
template <>
struct ScanType<BFloat16> {
  using type = float;
};
template <>
struct ScanType<float> {
  using type = double;
};
template <>
struct ScanType<std::complex<float>> {
  using type = std::complex<double>;
};

// Integers become int64 unless a type is asked for, as in torch.
ScalarType scan_dtype(const Tensor& self, const std::int32_t* dtype, const char* function) {
  if (dtype != nullptr) return checked_dtype(*dtype, function);
  switch (self.dtype) {
    case ScalarType::kBool:
    case ScalarType::kUInt8:
    case ScalarType::kInt8:
    case ScalarType::kInt16:
    case ScalarType::kInt32:
      return ScalarType::kInt64;
    default:
      return self.dtype;
  }
}

template <typename Combine>
AOTITorchError scan(AtenTensorHandle self, std::int64_t dim, const std::int32_t* dtype, AtenTensorHandle* ret,
                    double first, Combine combine, const char* function) {
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const std::int32_t along = checked_dim(dim, given.ndim, function);
    TensorPtr out = make_contiguous(given, scan_dtype(given, dtype, function));
    copy(*out, given, function);
    const std::int64_t length = length_along(*out, along);
    const std::int64_t stride = stride_along(*out, along);
    dispatch(out->dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      using Sum = typename ScanType<T>::type;
      for_each_line<1>({out.get()}, along, [&](const std::array<char*, 1>& starts) {
        const Line<T> line(starts[0], stride);
        Sum sum = convert<Sum>(first);
        for (std::int64_t i = 0; i < length; ++i) {
          sum = combine(sum, convert<Sum>(line[i]));
          line[i] = convert<T>(sum);
        }
      });
    });
    checked_result(ret, function) = out.release();
  });
}

template <typename T>
T log_add_exp(T a, T b) {
  if constexpr (is_complex<T>) {
    const T low = a.real() <= b.real() ? a : b;
    const T high = a.real() <= b.real() ? b : a;
    if (low.real() == high.real() && !std::isfinite(low.real())) {
      // Infinite both: -inf is nothing; with +inf only the sum of the directions is left.
      return low.real() < 0 ? low : std::log(std::exp(low) + std::exp(high));
    }
    return std::log(std::exp(low - high) + typename T::value_type(1)) + high;
  } else {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) ? a : b;
    const T low = std::min(a, b);
    const T high = std::max(a, b);
    return low != high || std::isfinite(low) ? std::log1p(std::exp(low - high)) + high : a;
  }
}

AOTITorchError extreme(AtenTensorHandle self, std::int64_t dim, AtenTensorHandle* values, AtenTensorHandle* indices,
                       bool maximum, const char* function) {
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const std::int32_t along = checked_dim(dim, given.ndim, function);
    TensorPtr best = make_contiguous(given, given.dtype);
    TensorPtr places = make_contiguous(given, ScalarType::kInt64);
    const std::int64_t length = length_along(given, along);
    dispatch_ordered(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      for_each_line<3>({&given, best.get(), places.get()}, along, [&](const std::array<char*, 3>& starts) {
        const Line<T> source(starts[0], stride_along(given, along));
        const Line<T> value(starts[1], stride_along(*best, along));
        const Line<std::int64_t> place(starts[2], stride_along(*places, along));
        std::int64_t at = 0;
        for (std::int64_t i = 0; i < length; ++i) {
          const auto now = convert<OrderKey<T>>(source[i]);
          const auto before = convert<OrderKey<T>>(source[at]);
          // The last of equal elements counts, and NaN wins.
          if (is_nan(now) || (!is_nan(before) && (maximum ? now >= before : now <= before))) at = i;
          value[i] = source[at];
          place[i] = at;
        }
      });
    });
    checked_result(values, function) = best.release();
    checked_result(indices, function) = places.release();
  });
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_cumsum(AtenTensorHandle self, std::int64_t dim, std::int32_t* dtype,
                                         AtenTensorHandle* ret) {
  const auto add = [](auto sum, auto value) { return static_cast<decltype(sum)>(sum + value); };
  return scan(self, dim, dtype, ret, 0, add, "aoti_torch_cpu_cumsum");
}

AOTITorchError aotbuild_torch_cpu_cumprod(AtenTensorHandle self, std::int64_t dim, std::int32_t* dtype,
                                          AtenTensorHandle* ret) {
  const auto multiply = [](auto product, auto value) { return static_cast<decltype(product)>(product * value); };
  return scan(self, dim, dtype, ret, 1, multiply, "aoti_torch_cpu_cumprod");
}

AOTITorchError aotbuild_torch_cpu_logcumsumexp(AtenTensorHandle self, std::int64_t dim, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_logcumsumexp";
  const auto add = [](auto sum, auto value) {
    using T = decltype(sum);
    if constexpr (std::is_floating_point_v<T> || is_complex<T>) {
      return log_add_exp(sum, value);
    } else {
      fail(function, "integers are not supported");
      return sum;
    }
  };
  return scan(self, dim, nullptr, ret, -INFINITY, add, function);
}

AOTITorchError aotbuild_torch_cpu_cummax(AtenTensorHandle self, std::int64_t dim, AtenTensorHandle* values,
                                         AtenTensorHandle* indices) {
  return extreme(self, dim, values, indices, true, "aoti_torch_cpu_cummax");
}

AOTITorchError aotbuild_torch_cpu_cummin(AtenTensorHandle self, std::int64_t dim, AtenTensorHandle* values,
                                         AtenTensorHandle* indices) {
  return extreme(self, dim, values, indices, false, "aoti_torch_cpu_cummin");
}
