// Products of int8: exact sums of every tile on every instruction set, and of whole layers, whatever the number of
// threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "aotbuild/detail/runtime.hpp"
#include "base/arena.hpp"
#include "kernels/integer_linear.hpp"
#include "kernels/packing.hpp"
#include "kernels/panel_kernels.hpp"
#include "panel_test.hpp"
#include "runtime_test_model.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {
namespace {

using Bytes = std::vector<std::int8_t>;
using Numbers = std::vector<std::int32_t>;

// Among random ones many of the smallest and the largest, whose products in pairs 16 bits do not hold.
Bytes some_bytes(std::int64_t count, std::uint32_t seed) {
  Bytes bytes(static_cast<std::size_t>(count));
  std::uint32_t state = seed;
  for (std::int8_t& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    const auto value = static_cast<int>(state >> 24) - 128;
    byte = static_cast<std::int8_t>((state >> 16 & 3U) != 0 ? value : value < 0 ? -128 : 127);
  }
  return bytes;
}

std::int32_t dot(const std::int8_t* a, const std::int8_t* b, std::int64_t count) {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += std::int64_t{a[i]} * b[i];
  return static_cast<std::int32_t>(sum);
}

// Row by row, the words of a kernel's input, and what nobody reads after `depth` words of a row.
std::vector<float> input_words(const PanelMultiplication& how, const Bytes& bytes, std::int64_t rows,
                               std::int64_t depth, std::int64_t words) {
  std::vector<std::uint32_t> made(static_cast<std::size_t>(rows * words * how.words), how.has_tiles ? 0 : 0xabababab);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t k = 0; k < depth; ++k) {
      const std::int8_t* const from = bytes.data() + (row * depth + k) * 4;
      std::uint32_t* const to = made.data() + (row * words + k) * how.words;
      if (how.words == 2) {
        const std::int16_t wide[] = {from[0], from[2], from[1], from[3]};
        std::memcpy(to, wide, sizeof wide);
      } else {
        std::uint8_t shifted[4];
        std::transform(from, from + 4, shifted,
                       [&](int value) { return static_cast<std::uint8_t>(value + how.offset); });
        std::memcpy(to, shifted, sizeof shifted);
      }
    }
  }
  std::vector<float> result(made.size());
  std::memcpy(result.data(), made.data(), made.size() * sizeof(float));
  return result;
}

// Against sums that are made one at a time; the bias and what is beside the output count too.
void check_kernel(const PanelKernels& kernels, std::int64_t rows, std::int64_t depth, std::int64_t columns) {
  const PanelMultiplication& how = kernels.of(PanelType::kInt8);
  const std::int64_t words = how.has_tiles ? pieces(depth, kPanelRows) * kPanelRows : depth;
  const std::int64_t held = pieces(columns, kPanelColumns) * kPanelColumns;
  const Bytes bytes = some_bytes(rows * depth * 4, 1);
  const Bytes weights = some_bytes(held * depth * 4, 2);
  std::vector<float> packed(static_cast<std::size_t>(held * words));
  std::vector<float> bias(static_cast<std::size_t>(held));
  for (std::int64_t column = 0; column < held; ++column) {
    const std::int8_t* const from = weights.data() + column * depth * 4;
    float* const to = packed.data() + column / kPanelColumns * words * kPanelColumns + column % kPanelColumns;
    for (std::int64_t k = 0; k < depth; ++k) std::memcpy(to + k * kPanelColumns, from + 4 * k, 4);
    const Bytes ones(static_cast<std::size_t>(depth * 4), 1);
    const std::int32_t added = static_cast<std::int32_t>(column) - how.offset * dot(from, ones.data(), depth * 4);
    std::memcpy(&bias[static_cast<std::size_t>(column)], &added, sizeof added);
  }
  const std::vector<float> input = input_words(how, bytes, rows, depth, words);
  const auto input_end = testing::before_the_end_of_memory(input);
  const auto weights_end = testing::before_the_end_of_memory(packed);
  const std::int64_t stride = columns + 3;
  std::vector<float> output(static_cast<std::size_t>(rows * stride), 7.0F);
  std::vector<float> beside(static_cast<std::size_t>(rows * kPanelColumns));
  PanelProduct product{};
  product.input = input_end.get();
  product.input_stride = words * how.words;
  product.weights = weights_end.get();
  product.panel_stride = words * kPanelColumns;
  product.bias = bias.data();
  product.output = output.data();
  product.output_stride = stride;
  product.rows = rows;
  product.depth = depth;
  product.columns = columns;
  product.type = PanelType::kInt8;
  product.end = term_parts(depth);
  product.beside = beside.data();
  how.run(product);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < stride; ++column) {
      const float value = output[static_cast<std::size_t>(row * stride + column)];
      if (column >= columns) {
        ASSERT_EQ(value, 7.0F) << rows << " rows, " << columns << " columns: wrote beside them";
        continue;
      }
      std::int32_t sum = 0;
      std::memcpy(&sum, &value, sizeof sum);
      const std::int8_t* const a = bytes.data() + row * depth * 4;
      ASSERT_EQ(sum, dot(a, weights.data() + column * depth * 4, depth * 4) + column)
          << rows << " rows, " << depth << " words, " << columns << " columns: " << row << " " << column;
    }
  }
}

TEST(IntegerKernels, ProductsOfEveryTile) {
  for (const PanelKernels* kernels : testing::all_kernels()) {
    for (std::int64_t rows = 1; rows <= 31; ++rows) {
      for (const std::int64_t columns : {40, 64}) check_kernel(*kernels, rows, 19, columns);
    }
    for (const std::int64_t rows : {1, 3, 9, 33, 48, 50}) {
      for (const std::int64_t columns : {1, 8, 16, 17, 31, 32, 33, 300, 544}) check_kernel(*kernels, rows, 7, columns);
    }
    for (const std::int64_t words : {1, 2, 383, 384, 385, 800}) {
      for (const std::int64_t rows : {1, 4, 20, 40}) check_kernel(*kernels, rows, words, 50);
    }
  }
}

// The machine's own choice is what layers run; sums of these wrap around.
TEST(IntegerKernels, MachinesWithTheInstructionsUseThem) {
  for (const char* const isa : {"amx", "avx512vnni", "avxvnni", "dotprod"}) {
    const PanelKernels* const kernels = panel_kernels_for(isa);
    if (kernels == nullptr) continue;
    EXPECT_EQ(panel_kernels(PanelType::kInt8).of(PanelType::kInt8).words, 1) << isa;
    EXPECT_EQ(kernels->of(PanelType::kInt8).words, 1) << isa;
  }
  for (const char* const isa : {"avx512vnni", "avxvnni", "dotprod"}) {
    EXPECT_EQ(panel_kernels_for(isa) != nullptr, cpu_supports(isa)) << isa;
  }
}

Numbers layer(const Bytes& input, const Bytes& weights, std::int64_t rows, std::int64_t features,
              std::int64_t columns) {
  Arena arena;
  Workspace workspace;
  const IntegerLinear linear(weights.data(), features, columns, arena);
  Numbers output(static_cast<std::size_t>(rows * columns + 1), 7);
  linear.run(workspace, input.data(), rows, output.data());
  EXPECT_EQ(output.back(), 7);
  return output;
}

TEST(IntegerLinear, SumsAreExactWithAnyNumberOfThreads) {
  const int before = omp_get_max_threads();
  for (const std::int64_t rows : {1, 2, 15, 64, 400}) {
    for (const std::int64_t features : {0, 1, 3, 64, 130, 2048, 5000}) {
      for (const std::int64_t columns : {1, 33, 160}) {
        const Bytes input = some_bytes(rows * features, 3);
        const Bytes weights = some_bytes(columns * features, 4);
        omp_set_num_threads(1);
        const Numbers output = layer(input, weights, rows, features, columns);
        for (std::int64_t i = 0; i < rows * columns; ++i) {
          const std::int8_t* const a = input.data() + i / columns * features;
          ASSERT_EQ(output[static_cast<std::size_t>(i)], dot(a, weights.data() + i % columns * features, features))
              << rows << " x " << features << " x " << columns << ": " << i;
        }
        omp_set_num_threads(3);
        ASSERT_EQ(layer(input, weights, rows, features, columns), output) << rows << " " << features << " " << columns;
      }
    }
  }
  omp_set_num_threads(before);
}

TEST(IntegerLinear, SumsWrapAround) {
  constexpr std::int64_t kFeatures = 1 << 18;
  const Bytes least(kFeatures, -128);
  EXPECT_EQ(layer(least, least, 1, kFeatures, 1)[0], 0);  // 2^32
  const Bytes most(kFeatures, 127);
  EXPECT_EQ(layer(most, most, 1, kFeatures, 1)[0], static_cast<std::int32_t>(127LL * 127 * kFeatures));
}

}  // namespace
}  // namespace aotbuild::detail
