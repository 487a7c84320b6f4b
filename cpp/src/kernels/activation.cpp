#include "kernels/activation.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "base/error.hpp"
#include "kernels/panel_kernels.hpp"
#include "tensor/half_rows.hpp"

namespace aotbuild::detail {

namespace {

// Values that one thread takes at a time, and from which more than one works.
constexpr std::int64_t kValuesAtOnce = 1 << 15;

// Values of 16-bit types that are float32 at a time.
constexpr std::int64_t kWideValues = 512;

template <typename T>
T activate_value(T x, Activation activation, double alpha) noexcept {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return x < T(0) ? T(0) : x;
    case Activation::kGelu:
      return x * T(0.5) * (T(1) + std::erf(x * T(0.70710678118654752440)));
    case Activation::kGeluTanh:
      return x * T(0.5) * (T(1) + std::tanh(T(0.79788456080286535588) * (x + T(0.044715) * x * x * x)));
    case Activation::kSilu:
      return x / (T(1) + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kHardswish: {
      const T shifted = x + T(3);
      const T low = shifted < T(0) ? T(0) : shifted;
      return x * (low > T(6) ? T(6) : low) / T(6);
    }
    case Activation::kLeakyRelu:
      return x > T(0) ? x : x * static_cast<T>(alpha);
  }
  return x;
}

}  // namespace

bool is_post_op(Activation activation, double alpha) noexcept {
  if (activation == Activation::kLeakyRelu) return alpha != 0;  // oneDNN's relu
  return activation != Activation::kNone && activation != Activation::kRelu && activation != Activation::kHardswish;
}

void append_activation(dnnl::post_ops* post_ops, Activation activation, double alpha) {
  using dnnl::algorithm;
  if (!is_post_op(activation, alpha)) return;
  switch (activation) {
    case Activation::kNone:
    case Activation::kRelu:
    case Activation::kHardswish:
      return;
    case Activation::kGelu:
      return post_ops->append_eltwise(algorithm::eltwise_gelu_erf, 0.0F, 0.0F);
    case Activation::kGeluTanh:
      return post_ops->append_eltwise(algorithm::eltwise_gelu_tanh, 0.0F, 0.0F);
    case Activation::kSilu:
      return post_ops->append_eltwise(algorithm::eltwise_swish, 1.0F, 0.0F);
    case Activation::kTanh:
      return post_ops->append_eltwise(algorithm::eltwise_tanh, 0.0F, 0.0F);
    case Activation::kLeakyRelu:
      return post_ops->append_eltwise(algorithm::eltwise_relu, static_cast<float>(alpha), 0.0F);
  }
}

void activate(float* values, std::int64_t count, Activation activation, double alpha) noexcept {
  panel_kernels().activate[static_cast<int>(activation)](
      {values, count, values, count, /*rows=*/1, count, static_cast<float>(alpha)});
}

void finish_activation(void* data, ScalarType dtype, std::int64_t rows, std::int64_t columns, std::int64_t stride,
                       Activation activation, double alpha) {
  if (activation == Activation::kNone || is_post_op(activation, alpha)) return;
  if (stride == columns) {  // in chunks, whatever the rows are
    columns *= rows;
    rows = 1;
  }
  const std::int64_t chunks = (columns + kValuesAtOnce - 1) / kValuesAtOnce;
  const auto in_chunks = [&](auto* values, auto&& apply) {
#pragma omp parallel for collapse(2) if (rows * columns > kValuesAtOnce)
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
        const std::int64_t first = chunk * kValuesAtOnce;
        apply(values + row * stride + first, std::min(kValuesAtOnce, columns - first));
      }
    }
  };
  if (dtype == ScalarType::kFloat32) {
    return in_chunks(static_cast<float*>(data),
                     [&](float* values, std::int64_t count) { activate(values, count, activation, alpha); });
  }
  const auto widened = [&](auto* values) {
    using T = std::remove_pointer_t<decltype(values)>;
    in_chunks(values, [&](T* chunk, std::int64_t count) {
      float wide[kWideValues];
      for (std::int64_t first = 0; first < count; first += kWideValues) {
        const std::int64_t here = std::min(kWideValues, count - first);
        widen(chunk + first, here, wide);
        activate(wide, here, activation, alpha);
        narrow(wide, here, chunk + first);
      }
    });
  };
  if (dtype == ScalarType::kBFloat16) return widened(static_cast<BFloat16*>(data));
  if (dtype == ScalarType::kFloat16) return widened(static_cast<Half*>(data));
  fail("finish_activation", "no activation of element type ", dtype_name(dtype));
}

double apply_activation(double value, Activation activation, double alpha) noexcept {
  return activate_value(value, activation, alpha);
}

float apply_activation(float value, Activation activation, double alpha) noexcept {
  return activate_value(value, activation, alpha);
}

}  // namespace aotbuild::detail
