// Linear layers of 16-bit types: sums of every tile on every instruction set, layers of every shape, and the same bits
// whatever the number of threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "base/arena.hpp"
#include "kernels/linear.hpp"
#include "kernels/packing.hpp"
#include "kernels/panel_kernels.hpp"
#include "panel_test.hpp"
#include "runtime_test_model.hpp"
#include "tensor/half_rows.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {
namespace {

using testing::random_values;

template <typename T>
std::vector<T> random_halves(std::int64_t count, std::uint32_t seed) {
  std::vector<T> values;
  for (const float value : random_values(static_cast<std::size_t>(count), seed)) values.push_back(T(value));
  return values;
}

template <typename T>
double value_of(const std::vector<T>& values, std::int64_t i) {
  return static_cast<double>(convert<float>(values[static_cast<std::size_t>(i)]));
}

// [rows][words] and panels of [words][32], two of bfloat16 in each word; tiles have as many words as they take.
void check_kernel(const PanelKernels& kernels, std::int64_t rows, std::int64_t depth, std::int64_t columns) {
  const std::int64_t panels = (columns + kPanelColumns - 1) / kPanelColumns;
  const PanelMultiplication& multiplication = kernels.of(PanelType::kBFloat16);
  const bool takes_words = multiplication.words == 1;
  const std::int64_t words = multiplication.has_tiles ? (depth + kPanelRows - 1) / kPanelRows * kPanelRows : depth;
  std::vector<BFloat16> input = random_halves<BFloat16>(2 * rows * words, 1);
  std::vector<BFloat16> weights = random_halves<BFloat16>(2 * panels * kPanelColumns * words, 2);
  for (std::int64_t i = 0; i < 2 * rows * words; ++i) {
    if (i / 2 % words >= depth) input[static_cast<std::size_t>(i)] = BFloat16(0.0F);
  }
  const std::vector<float> bias = random_values(static_cast<std::size_t>(panels * kPanelColumns), 3);
  std::vector<float> numbers(input.size());
  widen(input.data(), static_cast<std::int64_t>(input.size()), numbers.data());
  if (takes_words) std::memcpy(numbers.data(), input.data(), input.size() * sizeof(BFloat16));
  numbers.resize(takes_words ? input.size() / 2 : input.size());
  std::vector<float> packed(weights.size() / 2);
  std::memcpy(packed.data(), weights.data(), weights.size() * sizeof(BFloat16));
  const auto held = testing::before_the_end_of_memory(packed);
  std::vector<float> output(static_cast<std::size_t>(rows * columns), 7.0F);
  std::vector<float> beside(static_cast<std::size_t>(rows * kPanelColumns));
  PanelProduct product{};
  product.input = numbers.data();
  product.input_stride = takes_words ? words : 2 * words;
  product.weights = held.get();
  product.panel_stride = words * kPanelColumns;
  product.bias = bias.data();
  product.output = output.data();
  product.output_stride = columns;
  product.rows = rows;
  product.depth = depth;
  product.columns = columns;
  product.terms = kTerms / 2;
  product.type = PanelType::kBFloat16;
  product.rounds = multiplication.has_tiles;
  product.end = term_parts(depth, product.terms);
  product.beside = beside.data();
  multiplication.run(product);
  if (multiplication.has_tiles) {  // bfloat16 is what it writes
    const std::vector<float> written = output;
    widen(reinterpret_cast<const BFloat16*>(written.data()), rows * columns, output.data());
  }
  const double allowed =
      8 * std::sqrt(2 * static_cast<double>(words) + 1) * static_cast<double>(std::numeric_limits<float>::epsilon());
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      double expected = static_cast<double>(bias[static_cast<std::size_t>(column)]);
      for (std::int64_t k = 0; k < 2 * words; ++k) {
        const std::int64_t word = (column / kPanelColumns * words + k / 2) * kPanelColumns + column % kPanelColumns;
        expected += value_of(input, 2 * row * words + k) * value_of(weights, 2 * word + k % 2);
      }
      const double rounding = multiplication.has_tiles ? std::abs(expected) / 256 : 0;
      ASSERT_NEAR(output[static_cast<std::size_t>(row * columns + column)], expected, allowed + rounding)
          << rows << " rows, " << words << " words, " << columns << " columns: " << row << " " << column;
    }
  }
}

TEST(BFloat16Kernels, ProductsOfEveryTile) {
  for (const PanelKernels* kernels : testing::all_kernels()) {
    for (std::int64_t rows = 1; rows <= 31; ++rows) {
      for (const std::int64_t columns : {40, 64}) check_kernel(*kernels, rows, 19, columns);
    }
    for (const std::int64_t columns : {1, 17, 300, 544}) check_kernel(*kernels, 1, 40, columns);
    for (const std::int64_t words : {1, 191, 192, 193, 400}) {
      for (const std::int64_t rows : {1, 4, 20}) check_kernel(*kernels, rows, words, 50);
    }
  }
}

struct Layer {
  std::int64_t rows;
  std::int64_t in_features;
  std::array<std::int64_t, 2> out_features;
  bool transposed;
  Activation activation = Activation::kNone;
};

TensorPtr borrowed(void* data, ScalarType dtype, const std::vector<std::int64_t>& sizes) {
  std::size_t count = 1;
  for (const std::int64_t size : sizes) count *= static_cast<std::size_t>(size);
  return make_borrowed(data, 2 * count, dtype, static_cast<std::int64_t>(sizes.size()), sizes.data(), nullptr);
}

template <typename T>
class Built {
 public:
  Built(const Layer& layer, ScalarType dtype)
      : layer_(layer),
        dtype_(dtype),
        weights_{random_halves<T>(layer.in_features * layer.out_features[0], 1),
                 random_halves<T>(layer.in_features * layer.out_features[1], 2)},
        bias_(random_halves<T>(layer.out_features[1], 3)),
        input_(random_halves<T>(layer.rows * layer.in_features, 4)) {}

  std::vector<T> run() {
    std::vector<TensorPtr> tensors;
    std::vector<const Tensor*> weights;
    for (std::size_t part = 0; part < 2; ++part) {
      const std::int64_t n = layer_.out_features[part];
      const std::vector<std::int64_t> sizes{layer_.transposed ? layer_.in_features : n,
                                            layer_.transposed ? n : layer_.in_features};
      tensors.push_back(borrowed(weights_[part].data(), dtype_, sizes));
      weights.push_back(tensors.back().get());
    }
    tensors.push_back(borrowed(bias_.data(), dtype_, {layer_.out_features[1]}));
    LinearSpec spec{};
    spec.part_count = 2;
    spec.activation = layer_.activation;
    spec.transposed = layer_.transposed;
    Arena arena;
    const PackedLinear linear(spec, weights, {nullptr, tensors.back().get()}, arena, nullptr);
    std::vector<T> output(static_cast<std::size_t>(layer_.rows * columns()), T(7.0F));
    const TensorPtr from = borrowed(input_.data(), dtype_, {1, layer_.rows, layer_.in_features});
    const TensorPtr to = borrowed(output.data(), dtype_, {1, layer_.rows, columns()});
    Workspace workspace;
    linear.run(workspace, *from, *to);
    return output;
  }

  double exact(std::int64_t row, std::int64_t column) const {
    const std::size_t part = column < layer_.out_features[0] ? 0 : 1;
    const std::int64_t n = layer_.out_features[part];
    if (part == 1) column -= layer_.out_features[0];
    double sum = part == 1 ? value_of(bias_, column) : 0;
    for (std::int64_t k = 0; k < layer_.in_features; ++k) {
      sum += value_of(input_, row * layer_.in_features + k) *
             value_of(weights_[part], layer_.transposed ? k * n + column : column * layer_.in_features + k);
    }
    return layer_.activation == Activation::kSilu ? sum / (1 + std::exp(-sum)) : sum;
  }

  std::int64_t columns() const { return layer_.out_features[0] + layer_.out_features[1]; }

 private:
  Layer layer_;
  ScalarType dtype_;
  std::vector<T> weights_[2];
  std::vector<T> bias_;
  std::vector<T> input_;
};

std::vector<Layer> layers() {
  std::vector<Layer> result;
  for (const std::int64_t rows : {1, 5, 40, 500}) {
    for (const std::int64_t in_features : {1, 7, 64, 1001}) {
      result.push_back({rows, in_features, {33, 40}, false});
      result.push_back({rows, in_features, {3, 9}, true, Activation::kSilu});
    }
  }
  return result;
}

// Right to half a unit of the last place, of 8 and 11 bits: sums are float32.
template <typename T>
void check_layers(ScalarType dtype, double rounding) {
  for (const Layer& layer : layers()) {
    Built<T> built(layer, dtype);
    const std::vector<T> output = built.run();
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(output.size()); ++i) {
      const double expected = built.exact(i / built.columns(), i % built.columns());
      const double allowed = rounding * std::abs(expected) + 1e-6 * std::sqrt(static_cast<double>(layer.in_features));
      ASSERT_NEAR(value_of(output, i), expected, allowed) << layer.rows << " " << layer.in_features << " " << i;
    }
  }
}

TEST(HalfLinear, BFloat16) { check_layers<BFloat16>(ScalarType::kBFloat16, 1.0 / 256); }
TEST(HalfLinear, Float16) { check_layers<Half>(ScalarType::kFloat16, 1.0 / 2048); }

TEST(HalfLinear, BitsDoNotDependOnThreads) {
  const int before = omp_get_max_threads();
  for (const Layer& layer : layers()) {
    Built<BFloat16> built(layer, ScalarType::kBFloat16);
    omp_set_num_threads(1);
    const std::vector<BFloat16> expected = built.run();
    for (const int threads : {2, 5}) {
      omp_set_num_threads(threads);
      const std::vector<BFloat16> output = built.run();
      EXPECT_EQ(std::memcmp(output.data(), expected.data(), expected.size() * sizeof(BFloat16)), 0) << layer.rows;
    }
  }
  omp_set_num_threads(before);
}

// Layers over float32 that are computed in a 16-bit type.
struct RoundedLayer {
  std::int64_t rows;
  std::int64_t in_features;
  std::int64_t stride;  // of the input's rows
  bool transposed;
};

// `weights` are float32, or `dtype`, to which they are rounded.
std::vector<float> run_rounded(const RoundedLayer& layer, const std::vector<float>& input, Tensor& weight,
                               std::vector<float> bias, Precision precision) {
  const std::int64_t columns = weight.sizes()[layer.transposed ? 1 : 0];
  const std::int64_t one = 1;
  const TensorPtr bias_tensor =
      make_borrowed(bias.data(), bias.size() * sizeof(float), ScalarType::kFloat32, 1, &columns, &one);
  LinearSpec spec{};
  spec.part_count = 1;
  spec.activation = Activation::kRelu;
  spec.transposed = layer.transposed;
  spec.precision = precision;
  Arena arena;
  const PackedLinear linear(spec, {&weight}, {bias_tensor.get()}, arena, nullptr);
  std::vector<float> output(static_cast<std::size_t>(layer.rows * columns), 7.0F);
  const std::int64_t from_sizes[] = {layer.rows, layer.in_features};
  const std::int64_t from_strides[] = {layer.stride, 1};
  const std::int64_t to_sizes[] = {layer.rows, columns};
  const TensorPtr from = make_borrowed(const_cast<float*>(input.data()), input.size() * sizeof(float),
                                       ScalarType::kFloat32, 2, from_sizes, from_strides);
  const TensorPtr to =
      make_borrowed(output.data(), output.size() * sizeof(float), ScalarType::kFloat32, 2, to_sizes, nullptr);
  Workspace workspace;
  linear.run(workspace, *from, *to);
  return output;
}

template <typename T>
float rounded(float value) {
  return convert<float>(T(value));
}

// Against sums in double of what is rounded, and the bits of weights that were rounded before.
template <typename T>
void check_rounded(const RoundedLayer& layer, ScalarType dtype, Precision precision) {
  constexpr std::int64_t kColumns = 45;
  const bool rounds_input =
      dtype == ScalarType::kBFloat16 && panel_kernels(PanelType::kBFloat16).of(PanelType::kBFloat16).words == 1;
  const std::vector<float> input = random_values(static_cast<std::size_t>(layer.rows * layer.stride), 1);
  std::vector<float> weights = random_values(static_cast<std::size_t>(kColumns * layer.in_features), 2);
  const std::vector<float> bias = random_values(kColumns, 3);
  const std::int64_t sizes[] = {layer.transposed ? layer.in_features : kColumns,
                                layer.transposed ? kColumns : layer.in_features};
  const TensorPtr weight =
      make_borrowed(weights.data(), weights.size() * sizeof(float), ScalarType::kFloat32, 2, sizes, nullptr);
  const std::vector<float> output = run_rounded(layer, input, *weight, bias, precision);
  for (std::int64_t i = 0; i < layer.rows * kColumns; ++i) {
    const std::int64_t row = i / kColumns;
    const std::int64_t column = i % kColumns;
    double sum = static_cast<double>(bias[static_cast<std::size_t>(column)]);
    for (std::int64_t k = 0; k < layer.in_features; ++k) {
      const float x = input[static_cast<std::size_t>(row * layer.stride + k)];
      const std::int64_t at = layer.transposed ? k * kColumns + column : column * layer.in_features + k;
      sum += static_cast<double>(rounds_input ? rounded<T>(x) : x) *
             static_cast<double>(rounded<T>(weights[static_cast<std::size_t>(at)]));
    }
    ASSERT_NEAR(output[static_cast<std::size_t>(i)], std::max(sum, 0.0),
                2e-6 * std::sqrt(static_cast<double>(layer.in_features)))
        << layer.rows << " x " << layer.in_features << ": " << row << " " << column;
  }
  std::vector<T> halves;
  for (const float value : weights) halves.push_back(T(value));
  const TensorPtr half = borrowed(halves.data(), dtype, {sizes[0], sizes[1]});
  const std::vector<float> again = run_rounded(layer, input, *half, bias, precision);
  ASSERT_EQ(again.size(), output.size());
  if (output.empty()) return;
  EXPECT_EQ(std::memcmp(again.data(), output.data(), output.size() * sizeof(float)), 0) << layer.rows;
}

TEST(RoundedLinear, SumsAreThoseOfRoundedOperands) {
  for (const std::int64_t rows : {0, 1, 5, 40, testing::kIsAddressSanitized ? 80 : 700}) {
    for (const std::int64_t in_features : {1, 7, 64, 512, 1001}) {
      for (const std::int64_t gap : {0, 3}) {
        const RoundedLayer layer{rows, in_features, in_features + gap, gap == 0};
        check_rounded<BFloat16>(layer, ScalarType::kBFloat16, Precision::kBFloat16);
        check_rounded<Half>(layer, ScalarType::kFloat16, Precision::kFloat16);
      }
    }
  }
}

TEST(RoundedLinear, BitsDoNotDependOnThreads) {
  const int before = omp_get_max_threads();
  const RoundedLayer layer{300, 333, 333, false};
  const std::vector<float> input = random_values(300 * 333, 1);
  std::vector<float> weights = random_values(80 * 333, 2);
  const std::int64_t sizes[] = {80, 333};
  const TensorPtr weight =
      make_borrowed(weights.data(), weights.size() * sizeof(float), ScalarType::kFloat32, 2, sizes, nullptr);
  std::vector<std::vector<float>> outputs;
  for (const int threads : {1, 2, 5}) {
    omp_set_num_threads(threads);
    outputs.push_back(run_rounded(layer, input, *weight, random_values(80, 3), Precision::kBFloat16));
    EXPECT_EQ(std::memcmp(outputs.back().data(), outputs[0].data(), outputs[0].size() * sizeof(float)), 0) << threads;
  }
  omp_set_num_threads(before);
}

// Every value of 16 bits comes back, and float32 is rounded as one element at a time is.
template <typename T>
void check_conversions() {
  std::vector<T> all(1 << 16);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
  std::vector<float> wide(all.size());
  widen(all.data(), static_cast<std::int64_t>(all.size()), wide.data());
  std::vector<float> between = random_values(9999, 5);
  for (std::size_t i = 0; i < between.size(); ++i) between[i] *= std::ldexp(1.0F, static_cast<int>(i % 200) - 100);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const float one = convert<float>(all[i]);
    ASSERT_TRUE(wide[i] == one || (std::isnan(wide[i]) && std::isnan(one))) << i;
  }
  for (const std::vector<float>& values : {wide, between}) {
    std::vector<T> narrowed(values.size());
    narrow(values.data(), static_cast<std::int64_t>(values.size()), narrowed.data());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const bool is_nan = std::isnan(values[i]) && std::isnan(convert<float>(narrowed[i]));
      ASSERT_TRUE(is_nan || narrowed[i].bits == T(values[i]).bits) << values[i];
    }
  }
}

TEST(HalfRows, BFloat16) { check_conversions<BFloat16>(); }
TEST(HalfRows, Float16) { check_conversions<Half>(); }

}  // namespace
}  // namespace aotbuild::detail
