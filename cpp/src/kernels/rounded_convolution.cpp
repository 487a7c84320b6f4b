#include "kernels/rounded_convolution.hpp"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/convolution_window.hpp"
#include "kernels/panel_product.hpp"
#include "tensor/copy.hpp"
#include "tensor/half_rows.hpp"

namespace aotbuild::detail {

namespace {

// Words of one thread's rows that are made at a time: they stay in its second cache until they are multiplied.
constexpr std::int64_t kGatheredWords = 96 << 10;
constexpr std::int64_t kLeastGatheredRows = 32;

// Shorter sums are made faster than their operands are copied: benchmarks/layers.py.
constexpr std::int64_t kLeastGathered = 64;

// Numbers that a thread is woken to copy.
constexpr std::int64_t kGatheredShare = 1 << 15;

// Whether all are in bfloat16: the zeros around an image would make NaN of infinity.
bool is_finite(const Tensor& weight) {
  const TensorPtr dense = clone_contiguous(weight, "RoundedConvolution");
  const auto* const values = dense->data_as<float>();
  return std::all_of(values, values + dense->numel(), [](float value) { return std::abs(value) < 0x1.fep127F; });
}

// The weights as a matrix [O, kernel x I], whose rows are in the order of the input's elements.
TensorPtr matrix_of(const Tensor& weight) {
  const std::int64_t channels = weight.sizes()[1];
  const std::int64_t sizes[] = {weight.sizes()[0], weight.numel() / weight.sizes()[0]};
  TensorPtr matrix = make_tensor(ScalarType::kFloat32, 2, sizes, nullptr);
  const TensorPtr dense = clone_contiguous(weight, "RoundedConvolution");
  const std::int64_t places = sizes[1] / channels;
  const auto* from = dense->data_as<float>();
  auto* const to = matrix->data_as<float>();
  for (std::int64_t row = 0; row < sizes[0]; ++row) {
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      for (std::int64_t place = 0; place < places; ++place) to[row * sizes[1] + place * channels + channel] = *from++;
    }
  }
  return matrix;
}

PackedLinear linear_of(const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias, Arena& arena) {
  LinearSpec spec{};
  spec.part_count = 1;
  spec.activation = shape.activation;
  spec.alpha = shape.alpha;
  spec.precision = Precision::kBFloat16;
  const TensorPtr matrix = matrix_of(weight);
  return {spec, {matrix.get()}, {bias}, arena, nullptr};
}

}  // namespace

bool RoundedConvolution::suits(const ConvolutionShape& shape, const Tensor& weight, bool is_winograd) {
  const PanelMultiplication& how = panel_kernels(PanelType::kBFloat16).of(PanelType::kBFloat16);
  if (how.words != 1 || (is_winograd && !how.has_tiles)) return false;
  if (shape.transposed || shape.groups != 1 || weight.dtype != ScalarType::kFloat32 || weight.numel() == 0)
    return false;
  const std::int64_t depth = weight.numel() / weight.sizes()[0];
  return (depth == weight.sizes()[1] || depth >= kLeastGathered) && is_finite(weight);
}

RoundedConvolution::RoundedConvolution(const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias,
                                       Arena& arena)
    : shape_(shape), kernel_{1, 1, 1}, linear_(linear_of(shape, weight, bias, arena)) {
  for (int d = 0; d < shape.spatial_rank; ++d) kernel_[3 - shape.spatial_rank + d] = weight.sizes()[d + 2];
}

void RoundedConvolution::run(Workspace& workspace, const Tensor& input, const Tensor& output) const {
  run_channels_last(input, output, [&](const Tensor& from, const Tensor& to) { run_ordered(workspace, from, to); });
}

RoundedConvolution::Frame RoundedConvolution::frame_of(const Window& window) const {
  Frame frame{{}, window.channels};
  for (int d = 0; d < 3; ++d) {
    const std::int64_t reach = (window.output_size[d] - 1) * window.stride[d] + window.dilation[d] * (kernel_[d] - 1);
    frame.size[d] = std::max(reach + 1, window.padding[d] + window.input_size[d]);
  }
  return frame;
}

// What element `element` of the output reads.
void RoundedConvolution::gather(const Window& window, const Frame& frame, const BFloat16* image, std::int64_t element,
                                BFloat16* row) const {
  const std::int64_t x = element % window.output_size[2] * window.stride[2];
  const std::int64_t y = element / window.output_size[2] % window.output_size[1] * window.stride[1];
  const std::int64_t z = element / window.output_size[2] / window.output_size[1] * window.stride[0];
  const bool is_run = window.dilation[2] == 1;
  const std::int64_t count = (is_run ? kernel_[2] : 1) * frame.channels;
  for (std::int64_t i = 0; i < kernel_[0]; ++i) {
    for (std::int64_t j = 0; j < kernel_[1]; ++j) {
      const std::int64_t line = (z + i * window.dilation[0]) * frame.size[1] + y + j * window.dilation[1];
      const BFloat16* const from = image + (line * frame.size[2] + x) * frame.channels;
      for (std::int64_t k = 0; k < (is_run ? 1 : kernel_[2]); ++k, row += count) {
        std::memcpy(row, from + k * window.dilation[2] * frame.channels,
                    static_cast<std::size_t>(count) * sizeof(BFloat16));
      }
    }
  }
}

void RoundedConvolution::run_ordered(Workspace& workspace, const Tensor& input, const Tensor& output) const {
  const Window window = window_of(shape_, kernel_, input, output);
  const std::int64_t columns = linear_.out_features();
  const std::int64_t images = input.sizes()[0];
  const std::int64_t count = output.numel() / columns / images;
  if (is_pointwise(window) && is_channels_last(input)) {
    return linear_.run_rows(workspace, {input.data_as<float>(), window.channels, images * count},
                            {output.data_as<float>(), columns, images * count});
  }
  const Frame frame = frame_of(window);
  const std::int64_t depth = linear_.in_features();
  const std::int64_t words = linear_.row_words();
  const std::int64_t stride = row_stride(words);
  const std::int64_t most = std::max(kLeastGatheredRows, kGatheredWords * omp_get_max_threads() / stride);
  const std::int64_t blocks = pieces(count, most);
  const std::int64_t frame_words = pieces(frame.values(), 2 * kRowGap) * kRowGap;
  const ScratchBuffer buffer(workspace,
                             static_cast<std::size_t>(frame_words + pieces(count, blocks) * stride) * sizeof(float));
  auto* const image = static_cast<BFloat16*>(buffer.data());
  float* const rows = static_cast<float*>(buffer.data()) + frame_words;
  std::memset(static_cast<void*>(image), 0, static_cast<std::size_t>(frame.values()) * sizeof(BFloat16));
  const std::int64_t* const size = window.input_size;
  const std::int64_t lines = size[0] * size[1];
  for (std::int64_t n = 0; n < images; ++n) {
#pragma omp parallel for if (lines * size[2] * frame.channels > kGatheredShare)
    for (std::int64_t line = 0; line < lines; ++line) {
      const std::int64_t z = line / size[1];
      const std::int64_t y = line % size[1];
      const float* const from =
          window.input + n * window.image_stride + z * window.input_stride[0] + y * window.input_stride[1];
      const std::int64_t at = ((z + window.padding[0]) * frame.size[1] + y + window.padding[1]) * frame.size[2];
      BFloat16* const to = image + (at + window.padding[2]) * frame.channels;
      const bool is_run = window.input_stride[2] == frame.channels;
      for (std::int64_t x = 0; x < (is_run ? 1 : size[2]); ++x) {
        narrow(from + x * window.input_stride[2], (is_run ? size[2] : 1) * frame.channels, to + x * frame.channels);
      }
    }
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t first = count * block / blocks;
      const std::int64_t here = count * (block + 1) / blocks - first;
#pragma omp parallel for if (here * depth > kGatheredShare)
      for (std::int64_t row = 0; row < here; ++row) {
        auto* const to = reinterpret_cast<BFloat16*>(rows + row * stride);
        gather(window, frame, image, first + row, to);
        std::fill(to + depth, to + 2 * words, BFloat16{});
      }
      linear_.run_words(workspace, {rows, stride, here},
                        {output.data_as<float>() + (n * count + first) * columns, columns, here});
    }
  }
}

}  // namespace aotbuild::detail
