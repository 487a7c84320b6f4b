// Convolutions by Winograd's method, for every instruction set that the machine has: sums of every shape, nothing read
// outside the input, special values as from sums over the kernel, and the same bits whatever the number of threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "convolution_test.hpp"
#include "kernels/winograd_convolution.hpp"
#include "panel_test.hpp"

namespace aotbuild::detail {
namespace {

using testing::all_kernels;
using testing::Case;
using testing::exact;
using Built = testing::Built<WinogradConvolution>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Case case_of(std::int64_t channels, std::int64_t outputs, std::int64_t height, std::int64_t width, std::int64_t padding,
             std::int64_t images = 1, Activation activation = Activation::kNone) {
  Case one{};
  one.shape = {2, false, 1, {1, 1}, {padding, padding}, {1, 1}, {}, activation, 0};
  one.input_sizes = {images, channels, height, width};
  one.weight_sizes = {outputs, channels, 3, 3};
  testing::fill(&one, static_cast<std::uint32_t>(channels + outputs + height + width));
  return one;
}

Case random_case(std::uint32_t seed) {
  testing::Random random(seed);
  const std::int64_t padding = random.between(0, 4);
  const std::int64_t least = std::max<std::int64_t>(1, 3 - 2 * padding);
  Case one =
      case_of(random.one_of({1, 3, 16, 17, 33, 64, 130}), random.one_of({1, 7, 16, 32, 33, 48, 70}),
              random.between(least, least + 17), random.between(least, least + 17), padding, random.between(1, 3),
              std::array{Activation::kNone, Activation::kRelu, Activation::kSilu}[seed % 3]);
  one.shape.padding[1] = random.between(std::max<std::int64_t>(0, (4 - one.input_sizes[3]) / 2), 4);
  testing::fill(&one, seed);
  return one;
}

// What such sums may be off by.
double allowed(const Case& one) {
  return 16 * std::sqrt(9 * static_cast<double>(one.input_sizes[1]) + 1) *
         static_cast<double>(std::numeric_limits<float>::epsilon());
}

TEST(WinogradConvolution, SumsOfRandomShapes) {
  for (std::uint32_t seed = 0; seed < (testing::kIsThreadSanitized    ? 20U
                                       : testing::kIsAddressSanitized ? 30U
                                                                      : 120U);
       ++seed) {
    Case one = random_case(seed);
    Built built(one);
    const std::vector<double> expected = exact(one);
    for (const auto& input :
         {testing::before_the_end_of_memory(one.input), testing::from_the_start_of_memory(one.input)}) {
      for (const PanelKernels* kernels : all_kernels()) {
        const std::vector<float> output = built.run(input.get(), *kernels);
        for (std::size_t i = 0; i < output.size(); ++i)
          ASSERT_NEAR(output[i], expected[i], allowed(one)) << seed << one;
      }
    }
  }
}

TEST(WinogradConvolution, BitsDoNotDependOnThreads) {
  const int before = omp_get_max_threads();
  for (std::uint32_t seed = 200; seed < 230; ++seed) {
    Case one = random_case(seed);
    if (seed % 3 == 0) one.input[one.input.size() / 2] = kInfinity;
    Built built(one);
    omp_set_num_threads(1);
    const std::vector<float> expected = built.run(one.input.data(), panel_kernels());
    for (const int threads : {2, 3, 7}) {
      if (testing::kIsThreadSanitized) break;
      omp_set_num_threads(threads);
      const std::vector<float> output = built.run(one.input.data(), panel_kernels());
      for (std::size_t i = 0; i < output.size(); ++i) {
        ASSERT_TRUE(output[i] == expected[i] || std::isnan(expected[i])) << seed << one;
      }
    }
  }
  omp_set_num_threads(before);
}

// An infinity reaches the elements that read it and no others, and makes no number where a weight is zero; the other
// image of the batch keeps the bits that it has alone.
TEST(WinogradConvolution, SpecialValuesStayWhereTheyAreRead) {
  for (const float special : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(), 1e30F}) {
    Case one = case_of(32, 40, 9, 10, 1, 2, Activation::kRelu);
    for (std::size_t i = 0; i < one.weight.size(); i += 9 * 5)
      std::fill_n(one.weight.begin() + static_cast<long>(i), 9, 0.0F);
    Case clean = one;
    one.input[32 * (4 * 10 + 5) + 3] = special;
    Built built(one);
    Built built_clean(clean);
    const std::vector<double> expected = exact(one);
    for (const PanelKernels* kernels : all_kernels()) {
      const std::vector<float> output = built.run(one.input.data(), *kernels);
      const std::vector<float> without = built_clean.run(clean.input.data(), *kernels);
      const auto half = static_cast<std::ptrdiff_t>(output.size() / 2);
      EXPECT_TRUE(std::equal(output.begin() + half, output.end(), without.begin() + half));
      for (std::size_t i = 0; i < output.size(); ++i) {
        if (std::isfinite(expected[i]) && std::abs(expected[i]) < 1e6) {
          ASSERT_NEAR(output[i], expected[i], allowed(one)) << special << " " << i;
        } else if (std::isfinite(expected[i])) {
          ASSERT_NEAR(output[i] / expected[i], 1, 1e-6) << special << " " << i;
        } else {
          ASSERT_EQ(std::isnan(output[i]), std::isnan(expected[i])) << special << " " << i;
          if (!std::isnan(expected[i])) ASSERT_EQ(static_cast<double>(output[i]), expected[i]) << special << " " << i;
        }
      }
    }
  }
}

TEST(WinogradConvolution, SuitsWhatItIsExactFor) {
  const auto suits = [](Case one) {
    const TensorPtr weight = testing::borrowed(one.weight.data(), one.weight_sizes, testing::plain(one.weight_sizes));
    return WinogradConvolution::suits(one.shape, *weight, one.input_sizes.data());
  };
  const Case usual = case_of(32, 32, 14, 14, 1);
  EXPECT_TRUE(suits(usual));
  for (const float value : {kInfinity, std::numeric_limits<float>::quiet_NaN(), 1e10F}) {
    Case one = usual;
    one.weight[100] = value;
    EXPECT_FALSE(suits(one)) << value;
  }
  Case pruned = usual;
  for (std::size_t i = 4; i < pruned.weight.size(); i += 9) pruned.weight[i] = 0;  // amid numbers, as not all come back
  EXPECT_FALSE(suits(pruned));
  Case dead = usual;
  std::fill_n(dead.weight.begin(), 32 * 9, 0.0F);
  EXPECT_TRUE(suits(dead));
  Case strided = usual;
  strided.shape.stride = {2, 2};
  EXPECT_FALSE(suits(strided));
  Case dilated = usual;
  dilated.shape.dilation = {1, 2};
  EXPECT_FALSE(suits(dilated));
  EXPECT_FALSE(suits(case_of(3, 32, 14, 14, 1)));
}

}  // namespace
}  // namespace aotbuild::detail
