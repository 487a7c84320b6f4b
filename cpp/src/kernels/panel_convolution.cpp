#include "kernels/panel_convolution.hpp"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/convolution_window.hpp"
#include "kernels/packing.hpp"
#include "kernels/panel_kernels.hpp"
#include "kernels/panel_product.hpp"

namespace aotbuild::detail {

namespace {

// Products of so many numbers are a share that a thread is woken for.
constexpr std::int64_t kConvolutionShare = 1 << 16;

// What a thread takes at a time: so many elements of the output, and so many values of the input, which stay in the
// second cache while the weights pass.
constexpr std::int64_t kBlockElements = 256;
constexpr std::int64_t kBlockValues = 96 << 10;

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

// One panel: `rows` and `columns` say where its values are; the rest is zero.
void pack_rows(const std::vector<std::int64_t>& rows, const float* const* columns, std::int64_t count, float* panel) {
  const auto depth = static_cast<std::int64_t>(rows.size());
  const std::int64_t padded = packed_values(depth, kPanelColumns) / kPanelColumns;
  if (count < kPanelColumns) std::fill_n(panel, padded * kPanelColumns, 0.0F);
  std::fill(panel + depth * kPanelColumns, panel + padded * kPanelColumns, 0.0F);
  for (std::int64_t row = 0; row < depth; ++row) {
    const std::int64_t at = rows[static_cast<std::size_t>(row)];
    for (std::int64_t column = 0; column < count; ++column) panel[row * kPanelColumns + column] = columns[column][at];
  }
}

}  // namespace

bool PanelConvolution::takes(const Tensor& weight) {
  return weight.dtype == ScalarType::kFloat32 && weight.numel() != 0;
}

std::int64_t PanelConvolution::small_group(const ConvolutionShape& shape, const Tensor& weight) {
  const std::int64_t group = weight.sizes()[1];
  if (shape.transposed || shape.groups == 1 || weight.sizes()[0] != shape.groups * group) return 0;
  const bool is_small = group == 2 || group == 4 || group == 8;
  return group == 1 || (is_small && weight.sizes()[0] >= kGroupedChannels) ? group : 0;
}

PanelConvolution::PanelConvolution(const ConvolutionShape& shape, const Tensor& weight)
    : shape_(shape), small_group_(small_group(shape, weight)), kernel_{1, 1, 1}, groups_(shape.groups) {
  if (small_group_ > 0) groups_ = 1;
  for (int d = 0; d < shape.spatial_rank; ++d) kernel_[3 - shape.spatial_rank + d] = weight.sizes()[d + 2];
  columns_ = shape.transposed ? weight.sizes()[1] : weight.sizes()[0] / groups_;
  depth_ = shape.transposed ? weight.sizes()[0] / groups_ : weight.sizes()[1] * places();
}

PanelConvolution::PanelConvolution(const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias,
                                   Arena& arena)
    : PanelConvolution(shape, weight) {
  pack(weight, bias, reinterpret_cast<float*>(arena.allocate(static_cast<std::size_t>(values()) * sizeof(float))));
}

PanelConvolution::PanelConvolution(const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias,
                                   const ScratchBuffer& memory)
    : PanelConvolution(shape, weight) {
  pack(weight, bias, static_cast<float*>(memory.data()));
}

std::size_t PanelConvolution::nbytes(const ConvolutionShape& shape, const Tensor& weight) {
  return static_cast<std::size_t>(PanelConvolution(shape, weight).values()) * sizeof(float);
}

std::int64_t PanelConvolution::bias_stride() const { return packed_values(1, columns_) / kPanelRows; }

std::int64_t PanelConvolution::weight_values() const {
  return small_group_ > 0 ? depth_ * bias_stride() : packed_values(depth_, product_columns());
}

std::int64_t PanelConvolution::values() const { return groups_ * (weight_values() + bias_stride()); }

void PanelConvolution::pack(const Tensor& weight, const Tensor* bias, float* memory) {
  weights_ = memory;
  float* const biases = memory + groups_ * weight_values();
  bias_ = biases;
  std::fill_n(biases, groups_ * bias_stride(), 0.0F);
  for (std::int64_t channel = 0; bias != nullptr && channel < groups_ * columns_; ++channel) {
    biases[channel / columns_ * bias_stride() + channel % columns_] =
        bias->data_as<float>()[channel * bias->strides()[0]];
  }
  // Where the places of the kernel lie in the weights.
  std::vector<std::int64_t> at(static_cast<std::size_t>(places()));
  for (std::int64_t place = 0; place < places(); ++place) {
    std::int64_t rest = place;
    for (int d = 2; d >= 3 - shape_.spatial_rank; rest /= kernel_[d], --d) {
      at[static_cast<std::size_t>(place)] += rest % kernel_[d] * weight.strides()[d + shape_.spatial_rank - 1];
    }
  }
  if (small_group_ > 0) return pack_depthwise(weight, at, memory);
  // Rows are [kernel][channels], in the order of the input; transposed: channels, and columns are [kernel][columns].
  const std::int64_t* const strides = weight.strides();
  std::vector<std::int64_t> rows;
  if (shape_.transposed) {
    for (std::int64_t row = 0; row < depth_; ++row) rows.push_back(row * strides[0]);
  } else {
    for (const std::int64_t place : at) {
      for (std::int64_t channel = 0; channel < weight.sizes()[1]; ++channel) {
        rows.push_back(place + channel * strides[1]);
      }
    }
  }
  const std::int64_t count = product_columns();
  const std::int64_t panels = (count + kPanelColumns - 1) / kPanelColumns;
#pragma omp parallel for collapse(2) if (groups_ * weight_values() > kConvolutionShare)
  for (std::int64_t group = 0; group < groups_; ++group) {
    for (std::int64_t panel = 0; panel < panels; ++panel) {
      const float* columns[kPanelColumns];
      const std::int64_t first = panel * kPanelColumns;
      const std::int64_t here = std::min(kPanelColumns, count - first);
      for (std::int64_t i = 0; i < here; ++i) {
        const std::int64_t column = first + i;
        const std::int64_t from = shape_.transposed ? group * depth_ * strides[0] + column % columns_ * strides[1] +
                                                          at[static_cast<std::size_t>(column / columns_)]
                                                    : (group * columns_ + column) * strides[0];
        columns[i] = weight.data_as<float>() + from;
      }
      pack_rows(rows, columns, here, memory + group * weight_values() + panel * packed_values(depth_, kPanelColumns));
    }
  }
}

void PanelConvolution::pack_depthwise(const Tensor& weight, const std::vector<std::int64_t>& places,
                                      float* packed) const {
  std::fill_n(packed, weight_values(), 0.0F);
  for (std::int64_t column = 0; column < columns_; ++column) {
    const float* const from = weight.data_as<float>() + column * weight.strides()[0];
    for (std::int64_t k = 0; k < depth_; ++k) {
      const std::int64_t place = places[static_cast<std::size_t>(k / small_group_)];
      packed[k * bias_stride() + column] = from[place + k % small_group_ * weight.strides()[1]];
    }
  }
}

void PanelConvolution::run(Workspace& workspace, const Tensor& input, const Tensor& output,
                           const PanelKernels& kernels) const {
  run_channels_last(input, output, [&](const Tensor& from, const Tensor& to) {
    if (small_group_ > 0) return run_depthwise(from, to, kernels);
    if (shape_.transposed) return run_transposed(workspace, from, to, kernels);
    run_dense(workspace, from, to, kernels);
  });
}

// The input as [group][image][spatial...][channels of the group], so that lines of the kernel are pieces of it.
void PanelConvolution::split_groups(Window* window, std::int64_t images, float* to) const {
  const Window from = *window;
  const std::int64_t* const size = from.input_size;
  window->input = to;
  window->channels = from.channels / groups_;
  window->input_stride[2] = window->channels;
  window->input_stride[1] = size[2] * window->channels;
  window->input_stride[0] = size[1] * window->input_stride[1];
  window->image_stride = size[0] * window->input_stride[0];
  const std::int64_t group_stride = images * window->image_stride;
  const std::int64_t lines = images * size[0] * size[1];
#pragma omp parallel for if (lines * size[2] * from.channels > kConvolutionShare)
  for (std::int64_t line = 0; line < lines; ++line) {
    const float* at = from.input + line / size[1] / size[0] * from.image_stride +
                      line / size[1] % size[0] * from.input_stride[0] + line % size[1] * from.input_stride[1];
    float* out = to + line * window->input_stride[1];
    for (std::int64_t x = 0; x < size[2]; ++x, at += from.input_stride[2], out += window->channels) {
      for (std::int64_t group = 0; group < groups_; ++group) {
        std::copy_n(at + group * window->channels, window->channels, out + group * group_stride);
      }
    }
  }
}

void PanelConvolution::run_dense(Workspace& workspace, const Tensor& input, const Tensor& output,
                                 const PanelKernels& kernels) const {
  Window window = window_of(shape_, kernel_, input, output);
  const std::int64_t channels = groups_ * columns_;
  const std::int64_t count = output.numel() / channels;
  const std::int64_t group_weights = packed_values(depth_, columns_);
  if (is_pointwise(window) && is_channels_last(input)) {
    for (std::int64_t group = 0; group < groups_; ++group) {
      const Rows from{input.data_as<float>() + group * depth_, groups_ * depth_, count};
      const Rows to{output.data_as<float>() + group * columns_, channels, count};
      const Panels panels{weights_ + group * group_weights, bias_ + group * bias_stride(), depth_, columns_};
      multiply_panels(workspace, from, panels, shape_.activation, shape_.alpha, to);
    }
    return;
  }
  const ScratchBuffer split(workspace, groups_ == 1 ? 0 : static_cast<std::size_t>(input.numel()) * sizeof(float));
  if (groups_ > 1) split_groups(&window, input.sizes()[0], static_cast<float*>(split.data()));
  ConvolutionBlock whole{};
  whole.window = &window;
  whole.weights = weights_;
  whole.panel_stride = packed_values(depth_, kPanelColumns);
  whole.bias = bias_;
  whole.output = output.data_as<float>();
  whole.output_stride = channels;
  whole.columns = columns_;
  whole.lines = count / window.output_size[2];
  whole.pixels = window.output_size[2];
  whole.activation = shape_.activation;
  whole.alpha = static_cast<float>(shape_.alpha);
  const std::int64_t threads = omp_in_parallel() != 0 ? 1 : omp_get_max_threads();
  const std::int64_t most = std::min(threads, groups_ * count * columns_ * depth_ / kConvolutionShare);
  const Shares shares = shares_of(whole, (most + groups_ - 1) / groups_);
  const std::int64_t group_shares = shares.lines * shares.pixels * shares.panels;
  const std::int64_t workers = std::max<std::int64_t>(1, std::min(most, groups_ * group_shares));
  const std::int64_t beside = std::max(kBlockElements, Block::of(whole).elements()) * kPanelColumns;
  const ScratchBuffer scratch(workspace, static_cast<std::size_t>(workers * beside) * sizeof(float));
  auto* const buffers = static_cast<float*>(scratch.data());
#pragma omp parallel for schedule(static) if (workers > 1) num_threads(static_cast<int>(workers))
  for (std::int64_t i = 0; i < groups_ * group_shares; ++i) {
    const std::int64_t group = i / group_shares;
    Window part = window;
    part.input += group * (input.numel() / groups_);
    ConvolutionBlock share = whole;
    share.window = &part;
    share.weights += group * group_weights;
    share.bias += group * bias_stride();
    share.output += group * columns_;
    share = share_of(share, shares, i % group_shares);
    share.beside = buffers + omp_get_thread_num() * beside;
    convolve_share(kernels, share);
  }
}

// Each element of the input times all places of the kernel, [elements][kernel][columns], is added up by lines of the
// output, which is the large side of the window.
void PanelConvolution::run_transposed(Workspace& workspace, const Tensor& input, const Tensor& output,
                                      const PanelKernels& kernels) const {
  if (!is_channels_last(input)) {
    return run_transposed(workspace, *channels_last_copy(input), output, kernels);
  }
  const Window window = window_of(shape_, kernel_, input, output);
  const std::int64_t images = input.sizes()[0];
  const std::int64_t elements = input.numel() / images / window.channels;
  const std::int64_t columns = product_columns();
  const std::int64_t channels = groups_ * columns_;
  const std::int64_t lines = output.numel() / images / channels / window.output_size[2];
  const std::int64_t zeros = packed_values(1, columns) / kPanelRows;
  const ScratchBuffer scratch(workspace,
                              static_cast<std::size_t>(zeros + elements * groups_ * columns) * sizeof(float));
  auto* const products = static_cast<float*>(scratch.data());
  float* const no_bias = products + elements * groups_ * columns;
  std::fill_n(no_bias, zeros, 0.0F);
  for (std::int64_t image = 0; image < images; ++image) {
    for (std::int64_t group = 0; group < groups_; ++group) {
      const Rows from{input.data_as<float>() + image * elements * window.channels + group * depth_, window.channels,
                      elements};
      const Rows to{products + group * columns, groups_ * columns, elements};
      const Panels panels{weights_ + group * packed_values(depth_, columns), no_bias, depth_, columns};
      multiply_panels(workspace, from, panels, Activation::kNone, 0, to);
    }
#pragma omp parallel for if (lines * window.output_size[2] * channels > kConvolutionShare)
    for (std::int64_t line = 0; line < lines; ++line) add_up(window, products, output, image * lines + line, kernels);
  }
}

void PanelConvolution::add_up(const Window& window, const float* products, const Tensor& output, std::int64_t line,
                              const PanelKernels& kernels) const {
  const std::int64_t channels = groups_ * columns_;
  const std::int64_t width = window.output_size[2];
  const std::int64_t at[2] = {line / window.output_size[1] % window.output_size[0], line % window.output_size[1]};
  float* const sums = output.data_as<float>() + line * width * channels;
  for (std::int64_t group = 0; group < groups_; ++group) {
    for (std::int64_t x = 0; x < width; ++x) {
      std::memcpy(sums + x * channels + group * columns_, bias_ + group * bias_stride(),
                  static_cast<std::size_t>(columns_) * sizeof(float));
    }
  }
  // Where in the input place `k` of the kernel comes from for element `to` of the output; -1: from nowhere.
  const auto origin = [&](int d, std::int64_t to, std::int64_t k) {
    const std::int64_t distance = to + window.padding[d] - k * window.dilation[d];
    if (distance < 0 || distance % window.stride[d] != 0) return std::int64_t{-1};
    const std::int64_t from = distance / window.stride[d];
    return from < window.input_size[d] ? from : std::int64_t{-1};
  };
  for (std::int64_t k = 0; k < places(); ++k) {
    const std::int64_t depth = origin(0, at[0], k / kernel_[2] / kernel_[1]);
    const std::int64_t height = origin(1, at[1], k / kernel_[2] % kernel_[1]);
    if (depth < 0 || height < 0) continue;
    const float* part = products +
                        (depth * window.input_size[1] + height) * window.input_size[2] * groups_ * product_columns() +
                        k * columns_;
    std::int64_t x = k % kernel_[2] * window.dilation[2] - window.padding[2];
    for (std::int64_t from = 0; from < window.input_size[2] && x < width; ++from, x += window.stride[2]) {
      for (std::int64_t group = 0; group < groups_; ++group, part += product_columns()) {
        float* const to = sums + x * channels + group * columns_;
        for (std::int64_t column = 0; x >= 0 && column < columns_; ++column) to[column] += part[column];
      }
    }
  }
  if (shape_.activation == Activation::kNone) return;
  kernels.activate[static_cast<int>(shape_.activation)](
      {sums, channels, sums, channels, width, channels, static_cast<float>(shape_.alpha)});
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
    kernels.depthwise({&window, small_group_, weights_, bias_, stride, output.data_as<float>(), first,
                       lines * (i + 1) / shares - first, shape_.activation, static_cast<float>(shape_.alpha)});
  }
}

}  // namespace aotbuild::detail
