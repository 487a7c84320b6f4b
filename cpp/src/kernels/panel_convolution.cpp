#include "kernels/panel_convolution.hpp"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/packing.hpp"
#include "kernels/panel_kernels.hpp"
#include "kernels/panel_product.hpp"
#include "tensor/copy.hpp"

namespace aotbuild::detail {

namespace {

const char* const kConvolutionFunction = "context_convolution";

// Products of so many numbers are a share that a thread is woken for.
constexpr std::int64_t kConvolutionShare = 1 << 16;

// What a thread takes at a time: so many elements of the output, and so many values of the input, which stay in the
// second cache while the weights pass.
constexpr std::int64_t kBlockElements = 256;
constexpr std::int64_t kBlockValues = 96 << 10;

std::vector<std::int64_t> channels_last_layout(const Tensor& tensor) {
  return channels_last_strides({tensor.sizes(), tensor.sizes() + tensor.ndim});
}

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

// Whether each element of the output reads the one of the input at its own place.
bool is_pointwise(const Window& window) {
  for (int d = 0; d < 3; ++d) {
    if (window.kernel[d] != 1 || window.stride[d] != 1 || window.padding[d] != 0) return false;
  }
  return true;
}

// How a convolution is cut for threads.
struct Shares {
  std::int64_t lines;
  std::int64_t pixels;
  std::int64_t panels;
};

Shares shares_of(const ConvolutionBlock& whole, std::int64_t most) {
  Shares shares{1, 1, 1};
  shares.lines = std::max<std::int64_t>(1, std::min(most, whole.lines));
  shares.pixels = std::max<std::int64_t>(1, std::min(most / shares.lines, whole.pixels / kPanelColumns));
  const std::int64_t panels = (whole.columns + kPanelColumns - 1) / kPanelColumns;
  shares.panels = std::max<std::int64_t>(1, std::min(most / (shares.lines * shares.pixels), panels));
  return shares;
}

ConvolutionBlock share_of(const ConvolutionBlock& whole, const Shares& shares, std::int64_t i) {
  ConvolutionBlock share = whole;
  const auto begin = [](std::int64_t total, std::int64_t part, std::int64_t count) { return total * part / count; };
  const std::int64_t line = i % shares.lines;
  const std::int64_t pixel = i / shares.lines % shares.pixels;
  const std::int64_t panel = i / shares.lines / shares.pixels;
  share.first_line = begin(whole.lines, line, shares.lines);
  share.lines = begin(whole.lines, line + 1, shares.lines) - share.first_line;
  share.first_pixel = begin(whole.pixels, pixel, shares.pixels);
  share.pixels = begin(whole.pixels, pixel + 1, shares.pixels) - share.first_pixel;
  const std::int64_t panels = (whole.columns + kPanelColumns - 1) / kPanelColumns;
  const std::int64_t first = begin(panels, panel, shares.panels);
  share.weights += first * whole.panel_stride;
  share.bias += first * kPanelColumns;
  share.output += first * kPanelColumns;
  share.columns =
      std::min(whole.columns, begin(panels, panel + 1, shares.panels) * kPanelColumns) - first * kPanelColumns;
  return share;
}

// What a thread takes at a time.
struct Block {
  std::int64_t lines;
  std::int64_t pixels;

  std::int64_t elements() const { return lines * pixels; }

  static Block of(const ConvolutionBlock& share) {
    const Window& window = *share.window;
    const std::int64_t values = window.stride[2] * window.channels;  // that an element adds
    const std::int64_t pixels = std::max<std::int64_t>(kPanelColumns, std::min(kBlockElements, kBlockValues / values));
    if (pixels < share.pixels) return {1, pixels};
    const std::int64_t line_values =
        std::max<std::int64_t>(1, window.stride[1] * window.input_size[2] * window.channels);
    const std::int64_t lines = std::min(kBlockElements / share.pixels, kBlockValues / line_values);
    return {std::max<std::int64_t>(1, std::min(lines, share.lines)), share.pixels};
  }
};

void convolve_share(const PanelKernels& kernels, const ConvolutionBlock& share) {
  const Block most = Block::of(share);
  const auto blocks = [](std::int64_t total, std::int64_t part) { return (total + part - 1) / part; };
  const std::int64_t line_blocks = blocks(share.lines, most.lines);
  const std::int64_t pixel_blocks = blocks(share.pixels, most.pixels);
  for (std::int64_t i = 0; i < line_blocks; ++i) {
    for (std::int64_t j = 0; j < pixel_blocks; ++j) {
      ConvolutionBlock block = share;
      block.first_line += share.lines * i / line_blocks;
      block.lines = share.lines * (i + 1) / line_blocks - share.lines * i / line_blocks;
      block.first_pixel += share.pixels * j / pixel_blocks;
      block.pixels = share.pixels * (j + 1) / pixel_blocks - share.pixels * j / pixel_blocks;
      kernels.convolve(block);
    }
  }
}

}  // namespace

bool PanelConvolution::takes(const ConvolutionShape& shape, const Tensor& weight) {
  const bool is_depthwise = weight.sizes()[1] == 1 && weight.sizes()[0] == shape.groups;
  return weight.dtype == ScalarType::kFloat32 && !shape.transposed && (shape.groups == 1 || is_depthwise) &&
         weight.numel() != 0;
}

PanelConvolution::PanelConvolution(const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias,
                                   Arena& arena)
    : shape_(shape), is_depthwise_(shape.groups > 1), kernel_{1, 1, 1}, columns_(weight.sizes()[0]) {
  for (int d = 0; d < shape.spatial_rank; ++d) kernel_[3 - shape.spatial_rank + d] = weight.sizes()[d + 2];
  depth_ = weight.sizes()[1] * kernel_[0] * kernel_[1] * kernel_[2];
  const std::size_t nbytes = static_cast<std::size_t>(packed_values(1, columns_) / kPanelRows) * sizeof(float);
  auto* const biases = reinterpret_cast<float*>(arena.allocate(nbytes));
  std::memset(biases, 0, nbytes);
  for (std::int64_t column = 0; bias != nullptr && column < columns_; ++column) {
    biases[column] = bias->data_as<float>()[column * bias->strides()[0]];
  }
  bias_ = biases;
  weights_ = pack(weight, arena);
}

float* PanelConvolution::pack(const Tensor& weight, Arena& arena) const {
  // [columns][kernel][channels], which is how rows are gathered.
  const TensorPtr ordered = make_tensor(weight.dtype, weight.ndim, weight.sizes(), channels_last_layout(weight).data());
  copy(*ordered, weight, kConvolutionFunction);
  const float* const from = ordered->data_as<float>();
  if (is_depthwise_) {
    const std::int64_t stride = packed_values(1, columns_) / kPanelRows;
    const std::size_t nbytes = static_cast<std::size_t>(depth_ * stride) * sizeof(float);
    auto* const packed = reinterpret_cast<float*>(arena.allocate(nbytes));
    std::memset(packed, 0, nbytes);
    for (std::int64_t column = 0; column < columns_; ++column) {
      for (std::int64_t k = 0; k < depth_; ++k) packed[k * stride + column] = from[column * depth_ + k];
    }
    return packed;
  }
  const auto values = static_cast<std::size_t>(packed_values(depth_, columns_));
  auto* const packed = reinterpret_cast<float*>(arena.allocate(values * sizeof(float)));
  std::vector<Column> columns;
  for (std::int64_t column = 0; column < columns_; ++column) columns.push_back({from + column * depth_, 1});
  pack_panels(columns, depth_, packed);
  return packed;
}

void PanelConvolution::run(Workspace& workspace, const Tensor& input, const Tensor& output,
                           const PanelKernels& kernels) const {
  if (input.sizes()[1] != 1 && input.strides()[1] != 1) {
    const TensorPtr even = make_tensor(input.dtype, input.ndim, input.sizes(), channels_last_layout(input).data());
    copy(*even, input, kConvolutionFunction);
    return run(workspace, *even, output, kernels);
  }
  if (!is_channels_last(output)) {
    const TensorPtr even = make_tensor(output.dtype, output.ndim, output.sizes(), channels_last_layout(output).data());
    run(workspace, input, *even, kernels);
    return copy(const_cast<Tensor&>(output), *even, kConvolutionFunction);
  }
  if (is_depthwise_) return run_depthwise(input, output, kernels);
  run_dense(workspace, input, output, kernels);
}

void PanelConvolution::run_dense(Workspace& workspace, const Tensor& input, const Tensor& output,
                                 const PanelKernels& kernels) const {
  const Window window = window_of(shape_, kernel_, input, output);
  const Panels panels{weights_, bias_, depth_, columns_};
  const Rows rows{output.data_as<float>(), columns_, output.numel() / columns_};
  if (is_pointwise(window) && is_channels_last(input)) {
    const Rows from{input.data_as<float>(), depth_, rows.count};
    return multiply_panels(workspace, from, panels, shape_.activation, shape_.alpha, rows);
  }
  ConvolutionBlock whole{};
  whole.window = &window;
  whole.weights = weights_;
  whole.panel_stride = packed_values(depth_, kPanelColumns);
  whole.bias = bias_;
  whole.output = rows.data;
  whole.output_stride = columns_;
  whole.columns = columns_;
  whole.lines = rows.count / window.output_size[2];
  whole.pixels = window.output_size[2];
  whole.activation = shape_.activation;
  whole.alpha = static_cast<float>(shape_.alpha);
  const std::int64_t threads = omp_in_parallel() != 0 ? 1 : omp_get_max_threads();
  const Shares shares = shares_of(whole, std::min(threads, rows.count * columns_ * depth_ / kConvolutionShare));
  const std::int64_t count = shares.lines * shares.pixels * shares.panels;
  const std::int64_t beside = std::max(kBlockElements, Block::of(whole).elements()) * kPanelColumns;
  const ScratchBuffer scratch(workspace, static_cast<std::size_t>(count * beside) * sizeof(float));
  auto* const buffers = static_cast<float*>(scratch.data());
#pragma omp parallel for schedule(static, 1) if (count > 1)
  for (std::int64_t i = 0; i < count; ++i) {
    ConvolutionBlock share = share_of(whole, shares, i);
    share.beside = buffers + i * beside;
    convolve_share(kernels, share);
  }
}

void PanelConvolution::run_depthwise(const Tensor& input, const Tensor& output, const PanelKernels& kernels) const {
  const Window window = window_of(shape_, kernel_, input, output);
  const std::int64_t lines = output.numel() / columns_ / window.output_size[2];
  const std::int64_t work = output.numel() * depth_;
  const std::int64_t threads = omp_in_parallel() != 0 ? 1 : omp_get_max_threads();
  const std::int64_t shares = std::max<std::int64_t>(1, std::min({threads, work / kConvolutionShare, lines}));
  const std::int64_t stride = packed_values(1, columns_) / kPanelRows;
#pragma omp parallel for schedule(static, 1) if (shares > 1)
  for (std::int64_t i = 0; i < shares; ++i) {
    const std::int64_t first = lines * i / shares;
    kernels.depthwise({&window, weights_, bias_, stride, output.data_as<float>(), first,
                       lines * (i + 1) / shares - first, shape_.activation, static_cast<float>(shape_.alpha)});
  }
}

}  // namespace aotbuild::detail
