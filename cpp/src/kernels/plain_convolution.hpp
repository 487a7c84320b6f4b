// Convolutions as loops over their definition, for element types that no kernel takes.
#ifndef AOTBUILD_SRC_KERNELS_PLAIN_CONVOLUTION_HPP_
#define AOTBUILD_SRC_KERNELS_PLAIN_CONVOLUTION_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/activation.hpp"
#include "kernels/convolution_shape.hpp"
#include "tensor/dtype.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {

template <typename T>
void plain_convolution(const ConvolutionShape& shape, const Tensor& input, const Tensor& weight, const Tensor* bias,
                       const Tensor& output) {
  using Sum = Accumulator<T>;
  // Every spatial rank as three dimensions: the missing ones have size 1.
  std::array<std::int64_t, 3> in_size{1, 1, 1}, in_stride{}, out_size{1, 1, 1}, out_stride{}, kernel{1, 1, 1},
      kernel_stride{}, stride{1, 1, 1}, padding{}, dilation{1, 1, 1};
  for (int d = 0; d < shape.spatial_rank; ++d) {
    const auto from = static_cast<std::size_t>(d);
    const auto to = static_cast<std::size_t>(3 - shape.spatial_rank + d);
    in_size[to] = input.sizes()[d + 2];
    in_stride[to] = input.strides()[d + 2];
    out_size[to] = output.sizes()[d + 2];
    out_stride[to] = output.strides()[d + 2];
    kernel[to] = weight.sizes()[d + 2];
    kernel_stride[to] = weight.strides()[d + 2];
    stride[to] = shape.stride[from];
    padding[to] = shape.padding[from];
    dilation[to] = shape.dilation[from];
  }
  const std::int64_t in_channels = input.sizes()[1] / shape.groups;
  const std::int64_t out_channels = output.sizes()[1] / shape.groups;
  const T* in = input.data_as<T>();
  const T* w = weight.data_as<T>();
  T* out = output.data_as<T>();
  const std::int64_t* ws = weight.strides();

  // Where in the input the kernel's element `k` falls for the output's element `o`; -1 outside.
  const auto source_index = [&](std::size_t d, std::int64_t o, std::int64_t k) -> std::int64_t {
    std::int64_t i = 0;
    if (shape.transposed) {
      const std::int64_t distance = o + padding[d] - k * dilation[d];
      if (distance < 0 || distance % stride[d] != 0) return -1;
      i = distance / stride[d];
    } else {
      i = o * stride[d] - padding[d] + k * dilation[d];
    }
    return i < 0 || i >= in_size[d] ? -1 : i;
  };
  const auto point = [&](std::int64_t n, std::int64_t channel, const std::array<std::int64_t, 3>& at) {
    const std::int64_t group = channel / out_channels;
    Sum sum = bias != nullptr ? convert<Sum>(bias->data_as<T>()[channel * bias->strides()[0]]) : Sum(0);
    for (std::int64_t k0 = 0; k0 < kernel[0]; ++k0) {
      const std::int64_t i0 = source_index(0, at[0], k0);
      for (std::int64_t k1 = 0; i0 >= 0 && k1 < kernel[1]; ++k1) {
        const std::int64_t i1 = source_index(1, at[1], k1);
        for (std::int64_t k2 = 0; i1 >= 0 && k2 < kernel[2]; ++k2) {
          const std::int64_t i2 = source_index(2, at[2], k2);
          if (i2 < 0) continue;
          const T* in_at = in + n * input.strides()[0] + group * in_channels * input.strides()[1] + i0 * in_stride[0] +
                           i1 * in_stride[1] + i2 * in_stride[2];
          const T* w_at =
              w + k0 * kernel_stride[0] + k1 * kernel_stride[1] + k2 * kernel_stride[2] +
              (shape.transposed ? group * in_channels * ws[0] + channel % out_channels * ws[1] : channel * ws[0]);
          const std::int64_t w_step = shape.transposed ? ws[0] : ws[1];
          for (std::int64_t c = 0; c < in_channels; ++c) {
            sum = static_cast<Sum>(sum + convert<Sum>(in_at[c * input.strides()[1]]) * convert<Sum>(w_at[c * w_step]));
          }
        }
      }
    }
    if constexpr (std::is_floating_point_v<Sum>) sum = apply_activation(sum, shape.activation, shape.alpha);
    out[n * output.strides()[0] + channel * output.strides()[1] + at[0] * out_stride[0] + at[1] * out_stride[1] +
        at[2] * out_stride[2]] = convert<T>(sum);
  };
  for (std::int64_t n = 0; n < output.sizes()[0]; ++n) {
    for (std::int64_t channel = 0; channel < output.sizes()[1]; ++channel) {
      for (std::int64_t o0 = 0; o0 < out_size[0]; ++o0) {
        for (std::int64_t o1 = 0; o1 < out_size[1]; ++o1) {
          for (std::int64_t o2 = 0; o2 < out_size[2]; ++o2) point(n, channel, {o0, o1, o2});
        }
      }
    }
  }
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_PLAIN_CONVOLUTION_HPP_
