// Convolutions and products of computed matrices of float32, and linear layers of bfloat16 and int8, by the runtime's
// internal functions, on as many threads as OMP_NUM_THREADS says: a line of each one's name and the microseconds of its
// fastest call. An argument is what the names of those to measure begin with.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "base/arena.hpp"
#include "kernels/convolution.hpp"
#include "kernels/linear.hpp"
#include "kernels/matmul.hpp"
#include "kernels/quantized.hpp"
#include "tensor/copy.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace {

using namespace aotbuild::detail;  // NOLINT: this program measures the runtime's inside
using Sizes = std::vector<std::int64_t>;

struct Layer {
  std::int64_t channels, size, outputs, kernel, stride;
  std::int64_t groups = 1;
  bool transposed = false;
};

// Of ResNet-50, MobileNet, EfficientNet, U-Net and ViT, and grouped ones of ResNeXt's kind; one square image.
constexpr Layer kLayers[] = {
    {3, 224, 64, 7, 2},           {64, 56, 64, 3, 1},      {128, 28, 128, 3, 1},
    {256, 14, 256, 3, 1},         {512, 7, 512, 3, 1},     {128, 56, 128, 3, 2},
    {512, 14, 512, 3, 2},         {64, 56, 256, 1, 1},     {256, 56, 64, 1, 1},
    {1024, 14, 256, 1, 1},        {512, 7, 2048, 1, 1},    {256, 56, 512, 1, 2},
    {3, 224, 32, 3, 2},           {24, 56, 72, 1, 1},      {40, 28, 120, 1, 1},
    {160, 7, 960, 1, 1},          {64, 256, 64, 3, 1},     {3, 224, 768, 16, 16},
    {128, 56, 128, 3, 1, 32},     {256, 28, 256, 3, 1, 8}, {256, 32, 128, 2, 2, 1, true},
    {128, 32, 64, 4, 2, 1, true},
};

struct Product {
  std::int64_t batch, rows, columns, depth;
  bool b_is_transposed;
};

constexpr Product kProducts[] = {
    {12, 128, 128, 64, true}, {12, 128, 64, 128, false}, {1, 512, 512, 512, false},
    {96, 49, 49, 32, true},   {1, 64, 3072, 768, false},
};

struct Linear {
  std::int64_t rows, columns, depth;
};

constexpr Linear kLinears[] = {
    {1, 768, 768},    {16, 3072, 768},  {128, 384, 384},   {128, 768, 768},
    {128, 3072, 768}, {128, 768, 3072}, {512, 2048, 2048},
};

TensorPtr random_tensor(const Sizes& sizes, const std::int64_t* strides) {
  TensorPtr tensor = make_tensor(ScalarType::kFloat32, static_cast<std::int64_t>(sizes.size()), sizes.data(), strides);
  std::uint32_t state = 1;
  std::generate_n(tensor->data_as<float>(), tensor->numel(), [&] {
    state = state * 1664525U + 1013904223U;
    return static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
  });
  return tensor;
}

std::string wanted;

template <typename Run>
void measure(const std::string& name, int calls, const Run& run) {
  if (name.compare(0, wanted.size(), wanted) != 0) return;
  double best = 1e9;
  for (int call = 0; call < calls; ++call) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::printf("%s %.1f\n", name.c_str(), 1e6 * best);
}

void measure_layer(const Layer& layer, Precision precision = Precision::kOwn) {
  ConvolutionSpec spec{};
  spec.spatial_rank = 2;
  spec.transposed = layer.transposed;
  spec.groups = layer.groups;
  spec.channels_last = true;
  spec.precision = precision;
  const std::int64_t padding = layer.kernel <= layer.stride ? 0 : (layer.kernel - 1) / 2;
  for (int d = 0; d < 2; ++d) {
    spec.stride[d] = layer.stride;
    spec.padding[d] = padding;
    spec.dilation[d] = 1;
  }
  const Sizes input_sizes{1, layer.channels, layer.size, layer.size};
  std::copy(input_sizes.begin(), input_sizes.end(), spec.input_hint);
  Sizes weight_sizes{layer.outputs, layer.channels / layer.groups, layer.kernel, layer.kernel};
  if (layer.transposed) weight_sizes = {layer.channels, layer.outputs / layer.groups, layer.kernel, layer.kernel};
  const std::int64_t size = layer.transposed ? (layer.size - 1) * layer.stride - 2 * padding + layer.kernel
                                             : (layer.size + 2 * padding - layer.kernel) / layer.stride + 1;
  const Sizes output_sizes{1, layer.outputs, size, size};
  const TensorPtr weight = random_tensor(weight_sizes, nullptr);
  const TensorPtr input = random_tensor(input_sizes, channels_last_strides(input_sizes).data());
  const TensorPtr output = random_tensor(output_sizes, channels_last_strides(output_sizes).data());
  Arena arena;
  Workspace workspace;
  const PackedConvolution convolution(spec, *weight, nullptr, {}, arena);
  const std::string kind = precision == Precision::kOwn ? "" : "bf16_";
  const std::string name = kind + (layer.transposed ? "transposed_" : "conv_") + std::to_string(layer.kernel) + "s" +
                           std::to_string(layer.stride) + "_" + std::to_string(layer.size) + "x" +
                           std::to_string(layer.channels) + "_" + std::to_string(layer.outputs) +
                           (layer.groups > 1 ? "_groups" + std::to_string(layer.groups) : "");
  measure(name, 60, [&] { convolution.run(workspace, *input, *output); });
}

void measure_linear(const Linear& linear) {
  const auto half = [](const Sizes& sizes) {
    const TensorPtr wide = random_tensor(sizes, nullptr);
    TensorPtr result = make_tensor(ScalarType::kBFloat16, wide->ndim, sizes.data(), nullptr);
    copy(*result, *wide, "layers");
    return result;
  };
  const TensorPtr weight = half({linear.columns, linear.depth});
  const TensorPtr bias = half({linear.columns});
  const TensorPtr input = half({linear.rows, linear.depth});
  const TensorPtr output = half({linear.rows, linear.columns});
  LinearSpec spec{};
  spec.part_count = 1;
  Arena arena;
  Workspace workspace;
  const PackedLinear packed(spec, {weight.get()}, {bias.get()}, arena, nullptr);
  const std::string name = "linear_bf16_" + std::to_string(linear.rows) + "x" + std::to_string(linear.columns) + "x" +
                           std::to_string(linear.depth);
  measure(name, 200, [&] { packed.run(workspace, *input, *output); });
}

void measure_integers(const Linear& linear) {
  const auto integers = [](std::int64_t rows, std::int64_t columns) {
    const Sizes sizes{rows, columns};
    TensorPtr result = make_tensor(ScalarType::kInt8, 2, sizes.data(), nullptr);
    std::int32_t state = 1;
    std::generate_n(result->data_as<std::int8_t>(), result->numel(), [&] {
      state = (state * 141 + 77) % 65521;
      return static_cast<std::int8_t>(state);
    });
    return result;
  };
  const TensorPtr weight = integers(linear.columns, linear.depth);
  const TensorPtr input = integers(linear.rows, linear.depth);
  const Sizes sizes{linear.rows, linear.columns};
  const TensorPtr output = make_tensor(ScalarType::kInt32, 2, sizes.data(), nullptr);
  QuantizedLinearSpec spec{};
  spec.scale = -1;
  spec.zero_point = -1;
  spec.group = linear.depth;
  spec.integers = true;
  Arena arena;
  Workspace workspace;
  const QuantizedLinear layer(spec, *weight, false, nullptr, nullptr, arena);
  const std::string name = "linear_int8_" + std::to_string(linear.rows) + "x" + std::to_string(linear.columns) + "x" +
                           std::to_string(linear.depth);
  measure(name, 200, [&] { layer.run(workspace, *input, *output); });
}

void measure_product(const Product& product) {
  const Sizes a_sizes{product.batch, product.rows, product.depth};
  const Sizes b_sizes{product.batch, product.depth, product.columns};
  const Sizes b_strides{product.depth * product.columns, 1, product.depth};
  const TensorPtr a = random_tensor(a_sizes, nullptr);
  const TensorPtr b = random_tensor(b_sizes, product.b_is_transposed ? b_strides.data() : nullptr);
  const TensorPtr out = random_tensor({product.batch, product.rows, product.columns}, nullptr);
  Workspace workspace;
  const WorkspaceScope scope(workspace);
  const std::string name = "matmul_" + std::to_string(product.batch) + "x" + std::to_string(product.rows) + "x" +
                           std::to_string(product.columns) + "x" + std::to_string(product.depth) +
                           (product.b_is_transposed ? "_transposed" : "");
  measure(name, 200, [&] { matmul(*out, *a, *b, nullptr, 1, 0, "layers"); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) wanted = argv[1];
  for (const Layer& layer : kLayers) measure_layer(layer);
  for (const Layer& layer : kLayers) measure_layer(layer, Precision::kBFloat16);
  for (const Product& product : kProducts) measure_product(product);
  for (const Linear& linear : kLinears) measure_linear(linear);
  for (const Linear& linear : kLinears) measure_integers(linear);
}
