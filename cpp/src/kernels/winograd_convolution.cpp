#include "kernels/winograd_convolution.hpp"

#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <vector>

#include "kernels/convolution_window.hpp"
#include "kernels/packing.hpp"
#include "kernels/panel_convolution.hpp"
#include "kernels/panel_product.hpp"

namespace aotbuild::detail {

namespace {

constexpr std::int64_t kWinogradPlaces = 16;

// Products of so many numbers are a share that a thread is woken for.
constexpr std::int64_t kWinogradShare = 1 << 16;

// Transformed values of a block of tiles, which stay in the second cache while the weights pass.
constexpr std::int64_t kWinogradValues = 112 << 10;

// Terms that are added up before they are added to what there is.
constexpr std::int64_t kWinogradTerms = 64;

// Weights beyond are left to sums over the kernel, like values of the input beyond 2^24.
constexpr float kLargestWeight = 0x1p20F;

constexpr std::int64_t kLeastChannels = 16;
constexpr std::int64_t kLeastColumns = 16;

// The kernel of one channel and column, by lines, and what it is transformed to: G g G^T.
using Kernel = std::array<float, 9>;
using Transformed = std::array<float, kWinogradPlaces>;

Kernel kernel_of(const Tensor& weight, std::int64_t column, std::int64_t channel) {
  const std::int64_t* const strides = weight.strides();
  const float* const from = weight.data_as<float>() + column * strides[0] + channel * strides[1];
  Kernel kernel;
  for (std::size_t i = 0; i < 9; ++i) {
    kernel[i] = from[static_cast<std::int64_t>(i / 3) * strides[2] + static_cast<std::int64_t>(i % 3) * strides[3]];
  }
  return kernel;
}

// Of three values, four: a, (a + b + c) / 2, (a - b + c) / 2, c.
std::array<double, 4> spread(double a, double b, double c) { return {a, (a + c + b) / 2, (a + c - b) / 2, c}; }

Transformed transformed(const Kernel& kernel) {
  std::array<std::array<double, 4>, 3> columns;
  for (std::size_t y = 0; y < 3; ++y) {
    columns[y] = spread(double{kernel[3 * y]}, double{kernel[3 * y + 1]}, double{kernel[3 * y + 2]});
  }
  Transformed result;
  for (std::size_t x = 0; x < 4; ++x) {
    const std::array<double, 4> column = spread(columns[0][x], columns[1][x], columns[2][x]);
    for (std::size_t y = 0; y < 4; ++y) result[4 * y + x] = static_cast<float>(column[y]);
  }
  return result;
}

// The kernel again, to the rounding of what it was transformed to. `stride`: from one place to the next.
Kernel recovered(const float* places, std::int64_t stride) {
  const auto line = [&](std::int64_t y) {
    const float* const at = places + 4 * y * stride;
    return std::array{at[0], at[stride] - at[2 * stride], at[3 * stride]};
  };
  const std::array first = line(0);
  const std::array second = line(1);
  const std::array third = line(2);
  const std::array last = line(3);
  Kernel kernel;
  for (std::size_t x = 0; x < 3; ++x) {
    kernel[x] = first[x];
    kernel[3 + x] = second[x] - third[x];
    kernel[6 + x] = last[x];
  }
  return kernel;
}

// Whether a kernel may be recovered: zeros have to be zeros then, as they make infinity no number.
bool is_recoverable(const Kernel& kernel) {
  bool has_zero = false;
  for (const float value : kernel) {
    if (!(std::abs(value) <= kLargestWeight)) return false;
    has_zero = has_zero || value == 0;
  }
  if (!has_zero) return true;
  const Kernel again = recovered(transformed(kernel).data(), 1);
  for (std::size_t i = 0; i < kernel.size(); ++i) {
    if (kernel[i] == 0 && again[i] != 0) return false;
  }
  return true;
}

// How many tiles are a block: whole tiles of the products, but for the last.
std::int64_t block_tiles(std::int64_t tiles, std::int64_t images, std::int64_t values, std::int64_t tile_rows,
                         std::int64_t threads) {
  const std::int64_t units = pieces(tiles, tile_rows);
  const std::int64_t most = std::max<std::int64_t>(1, kWinogradValues / (kWinogradPlaces * tile_rows * values));
  std::int64_t blocks = pieces(units, most);
  // As many for each thread, where there are enough.
  while (images * blocks % threads != 0 && blocks < units) ++blocks;
  return pieces(units, blocks) * tile_rows;
}

}  // namespace

bool WinogradConvolution::suits(const ConvolutionShape& shape, const Tensor& weight, const std::int64_t* input_hint) {
  if (shape.spatial_rank != 2 || shape.transposed || shape.groups != 1 || weight.dtype != ScalarType::kFloat32) {
    return false;
  }
  for (std::size_t d = 0; d < 2; ++d) {
    if (weight.sizes()[d + 2] != 3 || shape.stride[d] != 1 || shape.dilation[d] != 1) return false;
  }
  if (weight.sizes()[0] < kLeastColumns || weight.sizes()[1] < kLeastChannels) return false;
  const std::vector<std::int64_t> sizes = shape.output_sizes(input_hint, weight.sizes());
  if (sizes[2] < 4 || sizes[3] < 4) return false;
  bool result = true;
#pragma omp parallel for reduction(&& : result) if (weight.numel() > kWinogradShare)
  for (std::int64_t column = 0; column < weight.sizes()[0]; ++column) {
    for (std::int64_t channel = 0; result && channel < weight.sizes()[1]; ++channel) {
      result = is_recoverable(kernel_of(weight, column, channel));
    }
  }
  return result;
}

std::int64_t WinogradConvolution::panels() const { return pieces(columns_, kPanelColumns); }

std::int64_t WinogradConvolution::panel_values() const { return kWinogradPlaces * channels_ * kPanelColumns; }

WinogradConvolution::WinogradConvolution(const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias,
                                         Arena& arena)
    : shape_(shape), channels_(weight.sizes()[1]), columns_(weight.sizes()[0]) {
  const std::int64_t values = panels() * panel_values();
  const std::int64_t biases = (panels() + 1) * kPanelColumns;
  auto* const memory =
      reinterpret_cast<float*>(arena.allocate(static_cast<std::size_t>(values + biases) * sizeof(float)));
  weights_ = memory;
  bias_ = memory + values;
  std::fill_n(memory + values, biases, 0.0F);
  for (std::int64_t column = 0; bias != nullptr && column < columns_; ++column) {
    memory[values + column] = bias->data_as<float>()[column * bias->strides()[0]];
  }
#pragma omp parallel for if (values > kWinogradShare)
  for (std::int64_t panel = 0; panel < panels(); ++panel) {
    float* const to = memory + panel * panel_values();
    for (std::int64_t channel = 0; channel < channels_; ++channel) {
      for (std::int64_t column = 0; column < kPanelColumns; ++column) {
        const std::int64_t from = panel * kPanelColumns + column;
        const Transformed places = from < columns_ ? transformed(kernel_of(weight, from, channel)) : Transformed{};
        for (std::size_t place = 0; place < places.size(); ++place) {
          to[(static_cast<std::int64_t>(place) * channels_ + channel) * kPanelColumns + column] = places[place];
        }
      }
    }
  }
}

void WinogradConvolution::run(Workspace& workspace, const Tensor& input, const Tensor& output,
                              const PanelKernels& kernels) const {
  run_channels_last(input, output,
                    [&](const Tensor& from, const Tensor& to) { run_ordered(workspace, from, to, kernels); });
}

void WinogradConvolution::run_ordered(Workspace& workspace, const Tensor& input, const Tensor& output,
                                      const PanelKernels& kernels) const {
  const std::int64_t kernel[3] = {1, 3, 3};
  const Window window = window_of(shape_, kernel, input, output);
  const std::int64_t images = input.sizes()[0];
  const std::int64_t tiles = pieces(window.output_size[1], 2) * pieces(window.output_size[2], 2);
  const std::int64_t work = images * tiles * kWinogradPlaces * channels_ * columns_;
  const std::int64_t most = omp_in_parallel() != 0 ? 1 : omp_get_max_threads();
  const std::int64_t threads = std::max<std::int64_t>(1, std::min(most, work / kWinogradShare));
  const std::int64_t stride = packed_values(1, channels_) / kPanelRows + kRowGap;
  const std::int64_t block = block_tiles(tiles, images, stride, kernels.tile_rows, threads);
  const std::int64_t blocks = pieces(tiles, block);
  // Of the panels of a block, where there are less blocks than threads.
  const std::int64_t shares = std::min(pieces(threads, images * blocks), panels());
  const std::int64_t workers = std::min(threads, images * blocks * shares);
  const std::int64_t held = std::min(block, tiles);
  const std::int64_t values = kWinogradPlaces * (held * (stride + kPanelColumns) + channels_);
  const ScratchBuffer scratch(workspace, static_cast<std::size_t>(workers * values) * sizeof(float) +
                                             static_cast<std::size_t>(images) * sizeof(bool));
  auto* const buffers = static_cast<float*>(scratch.data());
  auto* const is_large = reinterpret_cast<bool*>(buffers + workers * values);
  std::uninitialized_fill_n(is_large, images, false);
#pragma omp parallel for schedule(static) if (workers > 1) num_threads(static_cast<int>(workers))
  for (std::int64_t i = 0; i < images * blocks * shares; ++i) {
    const std::int64_t share = i % shares;
    const std::int64_t image = i / shares / blocks;
    const std::int64_t first = i / shares % blocks * block;
    const WinogradTiles some{&window, image, first, std::min(block, tiles - first)};
    run_block(kernels, some, panels() * share / shares, panels() * (share + 1) / shares,
              output.data_as<float>() + image * output.strides()[0], buffers + omp_get_thread_num() * values,
              is_large + image);
  }
  if (std::find(is_large, is_large + images, true) != is_large + images) {
    run_plainly(workspace, input, output, is_large, kernels);
  }
}

void WinogradConvolution::run_block(const PanelKernels& kernels, const WinogradTiles& tiles, std::int64_t first_panel,
                                    std::int64_t last_panel, float* image, float* buffer, bool* is_large) const {
  const std::int64_t stride = packed_values(1, channels_) / kPanelRows + kRowGap;
  float* const input = buffer;
  float* const sums = input + kWinogradPlaces * tiles.count * stride;
  float* const copy = sums + kWinogradPlaces * tiles.count * kPanelColumns;
  if (!kernels.winograd_input(tiles, copy, input, stride)) {
#pragma omp atomic write
    *is_large = true;
  }
  PanelProduct product{};
  product.input_stride = stride;
  product.panel_stride = channels_ * kPanelColumns;  // the next place's, which is read after
  product.bias = bias_ + panels() * kPanelColumns;
  product.output_stride = kPanelColumns;
  product.rows = tiles.count;
  product.depth = channels_;
  product.activation = Activation::kNone;
  product.terms = kWinogradTerms;
  product.end = term_parts(channels_, kWinogradTerms);
  for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
    const std::int64_t column = panel * kPanelColumns;
    product.columns = columns_ - column <= kPanelColumns / 2 ? kPanelColumns / 2 : kPanelColumns;
    for (std::int64_t place = 0; place < kWinogradPlaces; ++place) {
      product.input = input + place * tiles.count * stride;
      product.weights = weights_ + panel * panel_values() + place * channels_ * kPanelColumns;
      product.output = sums + place * tiles.count * kPanelColumns;
      kernels.of(PanelType::kFloat32).run(product);
    }
    kernels.winograd_output(tiles,
                            {sums, bias_ + column, image + column, columns_, std::min(kPanelColumns, columns_ - column),
                             shape_.activation, static_cast<float>(shape_.alpha)});
  }
}

void WinogradConvolution::run_plainly(Workspace& workspace, const Tensor& input, const Tensor& output,
                                      const bool* images, const PanelKernels& kernels) const {
  const std::int64_t weight_sizes[] = {columns_, channels_, 3, 3};
  const TensorPtr weight = make_tensor(ScalarType::kFloat32, 4, weight_sizes, nullptr);
  for (std::int64_t column = 0; column < columns_; ++column) {
    const float* const from = weights_ + column / kPanelColumns * panel_values() + column % kPanelColumns;
    for (std::int64_t channel = 0; channel < channels_; ++channel) {
      const Kernel kernel = recovered(from + channel * kPanelColumns, channels_ * kPanelColumns);
      std::copy(kernel.begin(), kernel.end(), weight->data_as<float>() + (column * channels_ + channel) * 9);
    }
  }
  const std::int64_t stride = 1;
  const TensorPtr bias = make_borrowed(const_cast<float*>(bias_), static_cast<std::size_t>(columns_) * sizeof(float),
                                       ScalarType::kFloat32, 1, &columns_, &stride);
  const ScratchBuffer memory(workspace, PanelConvolution::nbytes(shape_, *weight));
  const PanelConvolution plain(shape_, *weight, bias.get(), memory);
  const auto image_of = [](const Tensor& tensor, std::int64_t image) {
    const std::int64_t sizes[] = {1, tensor.sizes()[1], tensor.sizes()[2], tensor.sizes()[3]};
    return make_view(tensor, tensor.dtype, 4, sizes, tensor.strides(), tensor.offset + image * tensor.strides()[0]);
  };
  for (std::int64_t image = 0; image < input.sizes()[0]; ++image) {
    if (images[image]) plain.run(workspace, *image_of(input, image), *image_of(output, image), kernels);
  }
}

}  // namespace aotbuild::detail
