// Linear layers over quantized weights: exact sums of integers, dequantized products, weights of four bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "kernels/quantized_kernels.hpp"
#include "runtime_test_model.hpp"

namespace {

using namespace aotbuild::testing;
using aotbuild::detail::CallContext;
using aotbuild::detail::context_allocate;
using aotbuild::detail::context_quantized_linear;

using Bytes = std::vector<std::int8_t>;

Bytes random_bytes(std::int64_t count, std::uint32_t seed, int low = -128, int high = 127) {
  Bytes bytes;
  for (const float value : random_values(static_cast<std::size_t>(count), seed)) {
    const float place = (value + 1) / 2 * static_cast<float>(high - low + 1);
    bytes.push_back(static_cast<std::int8_t>(std::min(low + static_cast<int>(place), high)));
  }
  return bytes;
}

// Two values to a byte, as WeightSpec::four_bits says.
Bytes halves(const Bytes& values) {
  Bytes packed;
  for (std::size_t block = 0; block < values.size(); block += 32) {
    for (std::size_t i = block; i < block + 16; ++i) {
      packed.push_back(static_cast<std::int8_t>((values[i] & 15) | values[i + 16] * 16));
    }
  }
  return packed;
}

// The layer over the last output's columns, which the model's description has.
template <std::int64_t kColumns, std::int32_t kType>
void run_layer(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  std::int64_t* sizes = nullptr;
  aoti_torch_get_sizes(inputs[0], &sizes);
  const std::int64_t out_sizes[] = {sizes[0], kColumns};
  const std::int64_t out_strides[] = {kColumns, 1};
  outputs[0] = context_allocate(context, 2, out_sizes, out_strides, kType, 0);
  context_quantized_linear(context, 0, inputs[0], outputs[0]);
}

template <std::int64_t kColumns>
void expect_exact_sums(std::int64_t features) {
  const std::string label = "features " + std::to_string(features);
  Bytes weights = random_bytes(kColumns * features, 1);
  std::fill_n(weights.begin(), features, std::int8_t{-128});  // sums of pairs that 16 bits do not hold
  ModelBuilder builder(run_layer<kColumns, kInt32>);
  builder.input("x", kByte, {dynamic("s0", 0, 1024), fixed(features)})
      .output("y", kInt, {dynamic("s0", 0, 1024), fixed(kColumns)})
      .byte_weight("w", {kColumns, features}, weights)
      .quantized({0, -1, -1, features, true});
  for (const std::int32_t threads : {1, aotbuild::testing::kIsThreadSanitized ? 1 : 2}) {
    Model model(builder.spec(), default_options(threads));
    ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
    for (const std::int64_t rows : {0, 1, 2, 7, 16, 65, 300}) {
      Bytes values = random_bytes(rows * features, 2);
      if (rows > 1) std::fill_n(values.begin(), features, std::int8_t{-128});
      if (rows > 2) std::fill_n(values.begin() + features, features, std::int8_t{127});
      Buffer<std::int8_t> x({rows, features}, values);
      Buffer<std::int32_t> y({rows, kColumns});
      y.values.reserve(1);  // an output of no rows has a place, too
      aotbuild_tensor in = x.tensor(kByte);
      aotbuild_tensor out = y.tensor(kInt);
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
          << aotbuild_last_error();
      for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t column = 0; column < kColumns; ++column) {
          std::int32_t sum = 0;
          for (std::int64_t k = 0; k < features; ++k)
            sum += values[row * features + k] * weights[column * features + k];
          ASSERT_EQ(y.values[row * kColumns + column], sum) << label << ", row " << row << " of " << rows;
        }
      }
    }
  }
}

TEST(Quantized, SumsOfIntegersAreExact) {
  expect_exact_sums<1>(1);
  expect_exact_sums<7>(33);
  expect_exact_sums<65>(127);
  expect_exact_sums<96>(512);
}

struct Groups {
  std::int64_t features;
  std::int64_t group;
  bool four_bits;
  bool with_zero_points;
};

void PrintTo(const Groups& groups, std::ostream* stream) { *stream << groups.features << " by " << groups.group; }

class QuantizedGroups : public ::testing::TestWithParam<Groups> {};

TEST_P(QuantizedGroups, AreDequantizedInTheProduct) {
  constexpr std::int64_t kColumns = 19;
  const auto [features, group, four_bits, with_zero_points] = GetParam();
  const std::int64_t count = kColumns * features / group;
  const Bytes weights = four_bits ? random_bytes(kColumns * features, 1, -8, 7) : random_bytes(kColumns * features, 1);
  const Bytes zeros = random_bytes(count, 3, -8, 7);
  const std::vector<float> scales = random_values(static_cast<std::size_t>(count), 4);
  ModelBuilder builder(run_layer<kColumns, kFloat32>);
  builder.input("x", kFloat, {dynamic("s0", 0, 64), fixed(features)})
      .output("y", kFloat, {dynamic("s0", 0, 64), fixed(kColumns)})
      .byte_weight("w", {kColumns, features}, four_bits ? halves(weights) : weights, four_bits)
      .weight("scale", {kColumns, features / group}, scales)
      .byte_weight("zero", {kColumns, features / group}, zeros)
      .quantized({0, 1, with_zero_points ? 2 : -1, group, false});
  std::vector<float> dequantized;
  for (std::int64_t i = 0; i < kColumns * features; ++i) {
    const int zero = with_zero_points ? zeros[i / group] : 0;
    dequantized.push_back(static_cast<float>(weights[i] - zero) * scales[i / group]);
  }
  Model model(builder.spec());
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  for (const std::int64_t rows : {0, 1, 3, 5, 13}) {
    Buffer<float> x({rows, features}, random_values(static_cast<std::size_t>(rows * features), 5));
    Buffer<float> y({rows, kColumns});
    y.values.reserve(1);
    aotbuild_tensor in = x.tensor();
    aotbuild_tensor out = y.tensor();
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
    const std::vector<double> expected = linear_reference(x.values, dequantized, {}, rows, features, kColumns);
    const float scale = four_bits ? 1.0F : 16.0F;
    for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(y.values[i], expected[i], scale * 1e-4) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, QuantizedGroups,
                         ::testing::Values(Groups{70, 35, false, true}, Groups{70, 70, false, false},
                                           Groups{1040, 130, false, true}, Groups{64, 32, true, true},
                                           Groups{1056, 1056, true, false}, Groups{1024, 64, true, true}));

// The machine's own choice is what the tests above run.
TEST(Quantized, KernelsOfEveryInstructionSetAgree) {
  constexpr std::int64_t kDepth = 96;
  constexpr std::int64_t kColumns = aotbuild::detail::kTileColumns;
  const Bytes bytes = random_bytes(kDepth, 1);
  const Bytes nibbles = halves(random_bytes(kDepth, 2, -8, 7));
  const auto* packed = reinterpret_cast<const std::uint8_t*>(nibbles.data());
  const std::vector<float> input = random_values(6 * kDepth, 3);
  const std::vector<float> weights = random_values(kColumns * kDepth, 4);
  const auto& plain = *aotbuild::detail::quantized_kernels_for(nullptr);
  for (const char* isa : {"avx2", "avx512"}) {
    const auto* kernels = aotbuild::detail::quantized_kernels_for(isa);
    ASSERT_EQ(kernels != nullptr, aotbuild::detail::cpu_supports(isa)) << isa;
    if (kernels == nullptr) continue;
    for (const std::int64_t count : {5, 16, 37, 96}) {
      std::vector<float> expected(kDepth), values(kDepth);
      plain.dequantize8(bytes.data(), 7, 0.3F, count, expected.data());
      kernels->dequantize8(bytes.data(), 7, 0.3F, count, values.data());
      EXPECT_EQ(values, expected) << isa;
      plain.dequantize4(packed, -3, 0.3F, count / 32 * 32, expected.data());
      kernels->dequantize4(packed, -3, 0.3F, count / 32 * 32, values.data());
      EXPECT_EQ(values, expected) << isa;
    }
    for (std::int64_t rows = 1; rows <= kernels->tile_rows; ++rows) {
      float expected[aotbuild::detail::kMaxTileRows][kColumns] = {};
      float sums[aotbuild::detail::kMaxTileRows][kColumns] = {};
      plain.multiply[rows - 1](input.data(), kDepth, weights.data(), kDepth, kDepth, expected);
      kernels->multiply[rows - 1](input.data(), kDepth, weights.data(), kDepth, kDepth, sums);
      for (std::int64_t i = 0; i < rows * kColumns; ++i) {
        EXPECT_NEAR(sums[i / kColumns][i % kColumns], expected[i / kColumns][i % kColumns], 1e-5) << isa;
      }
    }
  }
  // The plain ones against values that were worked out by hand.
  float values[32];
  plain.dequantize8(Bytes{-128, 127}.data(), 1, 2.0F, 2, values);
  EXPECT_EQ(values[0], -258);
  EXPECT_EQ(values[1], 252);
  const std::uint8_t pairs[16] = {0x80, 0x7f};
  plain.dequantize4(pairs, 1, 2.0F, 32, values);
  EXPECT_EQ(values[0], -2);
  EXPECT_EQ(values[1], -4);
  EXPECT_EQ(values[16], -18);
  EXPECT_EQ(values[17], 12);
}

class FourBits : public ::testing::Test {
 protected:
  FourBits() : builder_(run_layer<3, kFloat32>), weights_(random_bytes(3 * 32, 1, -8, 7)) {
    builder_.input("x", kFloat, {fixed(1), fixed(32)})
        .output("y", kFloat, {fixed(1), fixed(3)})
        .byte_weight("w", {3, 32}, halves(weights_), true)
        .quantized({0, -1, -1, 32, false});
  }

  std::vector<float> outputs(const Model& model) {
    Buffer<float> x({1, 32}, random_values(32, 2));
    Buffer<float> y({1, 3});
    aotbuild_tensor in = x.tensor();
    aotbuild_tensor out = y.tensor();
    EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
    return y.values;
  }

  ModelBuilder builder_;
  Bytes weights_;
};

TEST_F(FourBits, WeightsOfACheckpointMayHaveAByteForEachValue) {
  Model model(builder_.spec());
  const std::vector<float> expected = outputs(model);
  Bytes others = weights_;
  std::reverse(others.begin(), others.end());
  Buffer<std::int8_t> plain({3, 32}, others);
  aotbuild_named_tensor named = {sizeof(aotbuild_named_tensor), "w", plain.tensor(kByte)};
  ASSERT_EQ(aotbuild_model_set_weights(model.handle, &named, 1), AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_NE(outputs(model), expected);
  Buffer<std::int8_t> same({3, 32}, weights_);
  named = {sizeof(aotbuild_named_tensor), "w", same.tensor(kByte)};
  ASSERT_EQ(aotbuild_model_set_weights(model.handle, &named, 1), AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(outputs(model), expected);
}

TEST_F(FourBits, OtherWeightsAreRefusedByName) {
  Model model(builder_.spec());
  Bytes large = weights_;
  large[40] = 9;
  Buffer<std::int8_t> plain({3, 32}, large);
  aotbuild_named_tensor named = {sizeof(aotbuild_named_tensor), "w", plain.tensor(kByte)};
  EXPECT_EQ(aotbuild_model_set_weights(model.handle, &named, 1), AOTBUILD_INVALID_WEIGHTS);
  EXPECT_STREQ(aotbuild_last_error(),
               "encoder: weight 'w' in the given tensors has the value 9, but the model was built with weights of 4 "
               "bits, from -8 to 7; quantize the checkpoint as the model");
  Buffer<float> floats({3, 32});
  named = {sizeof(aotbuild_named_tensor), "w", floats.tensor()};
  EXPECT_EQ(aotbuild_model_set_weights(model.handle, &named, 1), AOTBUILD_INVALID_WEIGHTS);
  EXPECT_STREQ(aotbuild_last_error(),
               "encoder: weight 'w' in the given tensors has type float32 and shape (3, 32), expected contiguous int8 "
               "(3, 32), or two values to a byte as uint8 (3, 16)");
}

}  // namespace
