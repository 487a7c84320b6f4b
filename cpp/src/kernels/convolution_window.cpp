#include "kernels/convolution_window.hpp"

#include <cstddef>
#include <vector>

#include "tensor/copy.hpp"

namespace aotbuild::detail {

namespace {

const char* const kConvolutionFunction = "context_convolution";

std::vector<std::int64_t> channels_last_layout(const Tensor& tensor) {
  return channels_last_strides({tensor.sizes(), tensor.sizes() + tensor.ndim});
}

}  // namespace

bool is_channels_last(const Tensor& tensor) {
  const std::vector<std::int64_t> strides = channels_last_layout(tensor);
  for (std::int32_t d = 0; d < tensor.ndim; ++d) {
    if (tensor.sizes()[d] != 1 && tensor.strides()[d] != strides[static_cast<std::size_t>(d)]) return false;
  }
  return true;
}

Window window_of(const ConvolutionShape& shape, const std::int64_t* kernel, const Tensor& input, const Tensor& output) {
  Window window{};
  window.input = input.data_as<float>();
  window.channels = input.sizes()[1];
  window.image_stride = input.strides()[0];
  for (int d = 0; d < 3; ++d) {
    const int from = d - (3 - shape.spatial_rank);
    window.input_size[d] = window.output_size[d] = window.stride[d] = window.dilation[d] = 1;
    window.kernel[d] = kernel[d];
    if (from < 0) continue;
    const auto i = static_cast<std::size_t>(from);
    window.input_stride[d] = input.strides()[from + 2];
    window.input_size[d] = input.sizes()[from + 2];
    window.output_size[d] = output.sizes()[from + 2];
    window.stride[d] = shape.stride[i];
    window.padding[d] = shape.padding[i];
    window.dilation[d] = shape.dilation[i];
  }
  return window;
}

bool is_pointwise(const Window& window) {
  for (int d = 0; d < 3; ++d) {
    if (window.kernel[d] != 1 || window.stride[d] != 1 || window.padding[d] != 0) return false;
  }
  return true;
}

TensorPtr channels_last_like(const Tensor& tensor) {
  return make_tensor(tensor.dtype, tensor.ndim, tensor.sizes(), channels_last_layout(tensor).data());
}

TensorPtr channels_last_copy(const Tensor& tensor) {
  TensorPtr result = channels_last_like(tensor);
  copy(*result, tensor, kConvolutionFunction);
  return result;
}

void copy_output(const Tensor& output, const Tensor& from) {
  copy(const_cast<Tensor&>(output), from, kConvolutionFunction);
}

}  // namespace aotbuild::detail
