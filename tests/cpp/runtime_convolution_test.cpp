// Convolutions over packed float32 weights, for every instruction set that the machine has: sums of every shape,
// nothing read outside the input, and the same bits whatever the number of threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "convolution_test.hpp"
#include "kernels/panel_convolution.hpp"
#include "panel_test.hpp"

namespace aotbuild::detail {
namespace {

using testing::all_kernels;
using testing::Case;
using testing::exact;
using testing::product;
using testing::random_case;
using testing::random_values;
using Built = testing::Built<PanelConvolution>;

TEST(PanelConvolution, SumsOfRandomShapes) {
  for (std::uint32_t seed = 0; seed < (testing::kIsThreadSanitized    ? 20U
                                       : testing::kIsAddressSanitized ? 40U
                                                                      : 160U);
       ++seed) {
    Case one = random_case(seed);
    Built built(one);
    const std::vector<double> expected = exact(one);
    const std::int64_t places = product(one.weight_sizes) / one.weight_sizes[0] / one.weight_sizes[1];
    const auto terms = static_cast<double>(places * one.input_sizes[1] / one.shape.groups);
    const double allowed = 8 * std::sqrt(terms + 1) * static_cast<double>(std::numeric_limits<float>::epsilon());
    for (const auto& input :
         {testing::before_the_end_of_memory(one.input), testing::from_the_start_of_memory(one.input)}) {
      for (const PanelKernels* kernels : all_kernels()) {
        const std::vector<float> output = built.run(input.get(), *kernels);
        for (std::size_t i = 0; i < output.size(); ++i) ASSERT_NEAR(output[i], expected[i], allowed) << seed << one;
      }
    }
  }
}

TEST(PanelConvolution, BitsDoNotDependOnThreads) {
  const int before = omp_get_max_threads();
  for (std::uint32_t seed = 200; seed < 230; ++seed) {
    Case one = random_case(seed);
    Built built(one);
    omp_set_num_threads(1);
    const std::vector<float> expected = built.run(one.input.data(), panel_kernels());
    for (const int threads : {2, 3, 7}) {
      if (testing::kIsThreadSanitized) break;
      omp_set_num_threads(threads);
      EXPECT_EQ(built.run(one.input.data(), panel_kernels()), expected) << seed << one;
    }
  }
  omp_set_num_threads(before);
}

TEST(PanelConvolution, OfAnInputWithoutElementsIsTheBias) {
  for (const std::int64_t groups : {1, 32}) {
    Case one{};
    one.shape = {2, false, groups, {1, 1}, {2, 2}, {1, 1}, {}, Activation::kNone, 0};
    one.input_sizes = {1, 32, 4, 0};
    one.weight_sizes = {32, 32 / groups, 3, 3};
    one.output_sizes = {1, 32, 6, 2};
    one.weight = random_values(static_cast<std::size_t>(product(one.weight_sizes)), 1);
    one.bias = random_values(32, 2);
    Built built(one);
    const std::vector<float> output = built.run(one.bias.data(), panel_kernels());
    for (std::size_t i = 0; i < output.size(); ++i) EXPECT_EQ(output[i], one.bias[i % 32]);
  }
}

TEST(PanelConvolution, PaddingDoesNotMeetTheWeights) {
  Case one = random_case(0);
  one.shape = {2, false, 1, {1, 1}, {1, 1}, {1, 1}, {}, Activation::kRelu, 0};
  one.input_sizes = one.output_sizes = {1, 1, 3, 3};
  one.weight_sizes = {1, 1, 3, 3};
  one.input.assign(9, 1);
  one.weight = {std::numeric_limits<float>::infinity(), 1, 1, 1, 1, 1, 1, 1, 1};
  one.bias = {0};
  Built built(one);
  const std::vector<float> output = built.run(one.input.data(), panel_kernels());
  EXPECT_EQ(output[0], 4);  // the infinite weight falls outside
  EXPECT_TRUE(std::isinf(output[8]));
}

TEST(PanelConvolution, NanStaysInEveryElementThatReadsIt) {
  for (std::uint32_t seed = 300; seed < 320; ++seed) {
    Case one = random_case(seed);
    for (float& value : one.input) value = std::numeric_limits<float>::quiet_NaN();
    Built built(one);
    const std::vector<double> expected = exact(one);
    for (const PanelKernels* kernels : all_kernels()) {
      const std::vector<float> output = built.run(one.input.data(), *kernels);
      for (std::size_t i = 0; i < output.size(); ++i) {
        ASSERT_EQ(std::isnan(output[i]), std::isnan(expected[i])) << seed << one;
      }
    }
  }
}

}  // namespace
}  // namespace aotbuild::detail
