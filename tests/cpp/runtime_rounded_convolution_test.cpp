// Convolutions of float32 that are computed in a 16-bit type: sums of every shape, operands that are rounded, and the
// same bits whatever the number of threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "convolution_test.hpp"
#include "kernels/rounded_convolution.hpp"

namespace aotbuild::detail {
namespace {

using testing::borrowed;
using testing::Case;
using testing::exact;
using testing::plain;
using testing::product;
using testing::random_case;

Case dense_case(std::uint32_t seed) {
  Case one = random_case(4 * seed);
  if (seed % 3 == 0) one.shape.padding = {};
  for (int d = 0; d < one.shape.spatial_rank; ++d) {  // what the kernel reaches over
    const auto i = static_cast<std::size_t>(d);
    const std::int64_t reach = one.shape.dilation[i] * (one.weight_sizes[i + 2] - 1) + 1;
    one.input_sizes[i + 2] = std::max(one.input_sizes[i + 2], reach - 2 * one.shape.padding[i]);
  }
  testing::fill(&one, seed);
  return one;
}

bool suits(Case& one) {
  const TensorPtr weight = borrowed(one.weight.data(), one.weight_sizes, plain(one.weight_sizes));
  return RoundedConvolution::suits(one.shape, *weight, /*is_winograd=*/false);
}

std::vector<float> run(Case& one) {
  const TensorPtr weight = borrowed(one.weight.data(), one.weight_sizes, plain(one.weight_sizes));
  const TensorPtr bias = borrowed(one.bias.data(), {one.output_sizes[1]}, {1});
  Arena arena;
  const RoundedConvolution convolution(one.shape, *weight, bias.get(), arena);
  std::vector<float> output(static_cast<std::size_t>(product(one.output_sizes)),
                            std::numeric_limits<float>::quiet_NaN());
  const TensorPtr from = borrowed(one.input.data(), one.input_sizes, channels_last_strides(one.input_sizes));
  const TensorPtr to = borrowed(output.data(), one.output_sizes, channels_last_strides(one.output_sizes));
  Workspace workspace;
  convolution.run(workspace, *from, *to);
  return output;
}

void round_all(std::vector<float>* values) {
  for (float& value : *values) value = convert<float>(BFloat16(value));
}

bool has_instructions() { return panel_kernels(PanelType::kBFloat16).of(PanelType::kBFloat16).words == 1; }

TEST(RoundedConvolution, SumsAreThoseOfRoundedOperands) {
  int count = 0;
  for (std::uint32_t seed = 0; seed < (testing::kIsThreadSanitized ? 15 : 80); ++seed) {
    Case one = dense_case(seed);
    if (!suits(one)) continue;
    ++count;
    const std::vector<float> output = run(one);
    round_all(&one.input);
    round_all(&one.weight);
    ASSERT_EQ(run(one), output) << seed << one;
    const std::vector<double> expected = exact(one);
    const auto terms = static_cast<double>(product(one.weight_sizes) / one.weight_sizes[0]);
    // Tiles add one pair of terms after the other.
    const double unit = 8 * static_cast<double>(std::numeric_limits<float>::epsilon());
    for (std::size_t i = 0; i < output.size(); ++i) {
      ASSERT_NEAR(output[i], expected[i], unit * (std::sqrt(terms + 1) + std::abs(expected[i]))) << seed << one;
    }
  }
  EXPECT_EQ(count > 5, has_instructions()) << count;
}

TEST(RoundedConvolution, BitsDoNotDependOnThreads) {
  const int before = omp_get_max_threads();
  for (std::uint32_t seed = 100; seed < 130; ++seed) {
    Case one = dense_case(seed);
    if (!suits(one)) continue;
    omp_set_num_threads(1);
    const std::vector<float> expected = run(one);
    for (const int threads : {2, 5}) {
      if (testing::kIsThreadSanitized) break;
      omp_set_num_threads(threads);
      EXPECT_EQ(run(one), expected) << seed << one;
    }
  }
  omp_set_num_threads(before);
}

// Zeros around the image would make NaN of them.
TEST(RoundedConvolution, WeightsThatAreInfiniteAreNotMultipliedThisWay) {
  Case one{};
  one.shape = {1, false, 1, {1}, {1}, {1}, {}, Activation::kNone, 0};
  one.weight_sizes = {1, 32, 3};
  one.weight.assign(96, 1);
  EXPECT_EQ(suits(one), has_instructions());
  one.weight[5] = 3.4e38F;  // in bfloat16
  EXPECT_FALSE(suits(one));
}

}  // namespace
}  // namespace aotbuild::detail
