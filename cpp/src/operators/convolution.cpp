// The C shim: convolution over tensors that are no constant weights.
#include "kernels/convolution.hpp"

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

// One value for each spatial dimension; torch also takes a single one for all.
std::array<std::int64_t, 3> spatial(const std::int64_t* values, std::int64_t size, int rank, std::int64_t least,
                                    const char* function, const char* argument) {
  if (values == nullptr || (size != 1 && size != rank)) {
    fail(function, "argument '", argument, "' has ", size, " values, expected ", rank);
  }
  std::array<std::int64_t, 3> result{};
  for (int d = 0; d < rank; ++d) {
    result[static_cast<std::size_t>(d)] = values[size == 1 ? 0 : d];
    if (result[static_cast<std::size_t>(d)] < least) {
      fail(function, "argument '", argument, "' holds ", result[static_cast<std::size_t>(d)], ", expected at least ",
           least);
    }
  }
  return result;
}

// As torch's convolution: channels last where the input or the weight has it, else contiguous.
bool is_channels_last(const Tensor& tensor) {
  if (tensor.ndim < 4 || is_contiguous(tensor) || tensor.strides()[1] != 1) return false;
  std::int64_t stride = tensor.sizes()[1];
  for (std::int32_t d = tensor.ndim - 1; d >= 2; --d) {
    if (tensor.sizes()[d] != 1 && tensor.strides()[d] != stride) return false;
    stride *= tensor.sizes()[d];
  }
  return true;
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_convolution(AtenTensorHandle input, AtenTensorHandle weight, AtenTensorHandle* bias,
                                              const std::int64_t* stride, std::int64_t stride_size,
                                              const std::int64_t* padding, std::int64_t padding_size,
                                              const std::int64_t* dilation, std::int64_t dilation_size,
                                              std::int32_t transposed, const std::int64_t* output_padding,
                                              std::int64_t output_padding_size, std::int64_t groups,
                                              AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_convolution";
  return guarded([&] {
    const Tensor& source = checked(input, function, "input");
    const Tensor& kernel = checked(weight, function, "weight");
    AtenTensorHandle& result = checked_result(ret, function);
    const int rank = kernel.ndim - 2;
    if (rank < 1 || rank > 3 || source.ndim != kernel.ndim) {
      fail(function, "input of sizes ", format_dims(source.ndim, source.sizes()), " and weight of sizes ",
           format_dims(kernel.ndim, kernel.sizes()), " make no convolution of 1 to 3 dimensions");
    }
    if (groups < 1 || kernel.sizes()[0] % groups != 0) {
      fail(function, kernel.sizes()[0], " channels cannot be split into ", groups, " groups");
    }
    const ConvolutionShape shape{rank,
                                 transposed != 0,
                                 groups,
                                 spatial(stride, stride_size, rank, 1, function, "stride"),
                                 spatial(padding, padding_size, rank, 0, function, "padding"),
                                 spatial(dilation, dilation_size, rank, 1, function, "dilation"),
                                 spatial(output_padding, output_padding_size, rank, 0, function, "output_padding"),
                                 Activation::kNone,
                                 0};
    const std::vector<std::int64_t> sizes = shape.output_sizes(source.sizes(), kernel.sizes());
    std::vector<std::int64_t> strides(sizes.size());
    contiguous_strides(kernel.ndim, sizes.data(), strides.data());
    if (is_channels_last(source) || is_channels_last(kernel)) {
      std::int64_t step = sizes[1];
      strides[1] = 1;
      for (std::size_t d = sizes.size() - 1; d >= 2; --d) {
        strides[d] = step;
        step *= sizes[d];
      }
      strides[0] = step;
    }
    TensorPtr dense_bias;
    const Tensor* added = bias != nullptr ? &checked(*bias, function, "bias") : nullptr;
    if (added != nullptr && (added->ndim != 1 || added->sizes()[0] != sizes[1] || added->dtype != source.dtype)) {
      fail(function, "bias has sizes ", format_dims(added->ndim, added->sizes()), " and type ",
           dtype_name(added->dtype), ", expected [", sizes[1], "] of type ", dtype_name(source.dtype));
    }
    if (added != nullptr && !is_contiguous(*added)) {
      dense_bias = clone_contiguous(*added, function);
      added = dense_bias.get();
    }
    TensorPtr made = make_tensor(source.dtype, kernel.ndim, sizes.data(), strides.data());
    CurrentOrOwnWorkspace workspace;
    convolve(*workspace, shape, source, kernel, added, *made, function);
    result = made.release();
  });
}
