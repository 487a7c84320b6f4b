// What tests of convolutions share: a random one, its exact result, and one over packed weights.
#ifndef AOTBUILD_TESTS_CPP_CONVOLUTION_TEST_HPP_
#define AOTBUILD_TESTS_CPP_CONVOLUTION_TEST_HPP_

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <ostream>
#include <random>
#include <vector>

#include "base/arena.hpp"
#include "kernels/convolution_shape.hpp"
#include "kernels/panel_kernels.hpp"
#include "runtime_test_model.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::testing {

using namespace detail;  // NOLINT: the names of the tests' own namespace

using Sizes = std::vector<std::int64_t>;

inline std::int64_t product(const Sizes& sizes) {
  std::int64_t result = 1;
  for (const std::int64_t size : sizes) result *= size;
  return result;
}

// A convolution, the sizes of its input and weights, and its operands: [N, spatial..., C] and [O, I, kernel...].
struct Case {
  ConvolutionShape shape;
  Sizes input_sizes;
  Sizes weight_sizes;
  Sizes output_sizes;
  std::vector<float> input;
  std::vector<float> weight;
  std::vector<float> bias;
};

inline std::ostream& operator<<(std::ostream& stream, const Case& one) {
  stream << "groups " << one.shape.groups << ", activation " << static_cast<int>(one.shape.activation) << ", input";
  for (const std::int64_t size : one.input_sizes) stream << " " << size;
  stream << ", weight";
  for (const std::int64_t size : one.weight_sizes) stream << " " << size;
  stream << ", stride, padding, dilation";
  for (std::size_t d = 0; d < static_cast<std::size_t>(one.shape.spatial_rank); ++d) {
    stream << " " << one.shape.stride[d] << " " << one.shape.padding[d] << " " << one.shape.dilation[d];
  }
  return stream;
}

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  std::int64_t between(std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(engine_() % static_cast<std::uint32_t>(most - least + 1));
  }
  std::int64_t one_of(const Sizes& values) {
    return values[static_cast<std::size_t>(between(0, static_cast<std::int64_t>(values.size()) - 1))];
  }

 private:
  std::mt19937 engine_;
};

// The sizes of the output, and random operands.
inline void fill(Case* one, std::uint32_t seed) {
  one->output_sizes = one->shape.output_sizes(one->input_sizes.data(), one->weight_sizes.data());
  one->input = random_values(static_cast<std::size_t>(product(one->input_sizes)), seed);
  one->weight = random_values(static_cast<std::size_t>(product(one->weight_sizes)), seed + 1);
  one->bias = random_values(static_cast<std::size_t>(one->output_sizes[1]), seed + 2);
}

inline Case random_case(std::uint32_t seed) {
  Random random(seed);
  Case one{};
  const bool is_depthwise = seed % 4 == 1;
  one.shape.transposed = seed % 4 == 3;
  one.shape.groups = seed % 4 == 2 || seed % 8 == 7 ? random.between(2, 5) : 1;
  one.shape.spatial_rank = static_cast<int>(random.one_of({1, 2, 2, 2, 3}));
  std::int64_t channels = random.one_of(is_depthwise ? Sizes{2, 3, 8, 16, 17, 40} : Sizes{1, 3, 4, 16, 33, 200});
  std::int64_t outputs = is_depthwise ? channels : random.one_of({1, 7, 16, 32, 33, 48, 70});
  const bool has_small_groups = seed % 16 == 6;
  if (is_depthwise) {
    one.shape.groups = channels;
  } else if (has_small_groups) {
    const std::int64_t group = random.one_of({2, 4, 8});
    one.shape.groups = random.between(16 / group, 40 / group);
    channels = outputs = one.shape.groups * group;
  } else {
    channels = (channels + one.shape.groups - 1) / one.shape.groups * one.shape.groups;
    outputs = (outputs + one.shape.groups - 1) / one.shape.groups * one.shape.groups;
  }
  one.shape.activation = std::array{Activation::kNone, Activation::kRelu, Activation::kSilu}[seed / 4 % 3];
  one.input_sizes = {random.between(1, 2), channels};
  one.weight_sizes = {outputs, channels / one.shape.groups};
  if (one.shape.transposed) one.weight_sizes = {channels, outputs / one.shape.groups};
  for (std::size_t d = 0; d < static_cast<std::size_t>(one.shape.spatial_rank); ++d) {
    const std::int64_t kernel = random.one_of({1, 2, 3, 3, 5, 7});
    one.shape.stride[d] = random.between(1, 3);
    one.shape.dilation[d] = random.one_of({1, 1, 1, 2});
    one.shape.padding[d] = random.between(0, kernel);
    const std::int64_t reach = one.shape.dilation[d] * (kernel - 1) + 1;
    std::int64_t least = std::max<std::int64_t>(0, reach - 2 * one.shape.padding[d]);
    if (one.shape.transposed) {
      one.shape.output_padding[d] = random.between(0, one.shape.stride[d] - 1);
      least = 1 + std::max<std::int64_t>(0, 2 * one.shape.padding[d] - reach) / one.shape.stride[d] + 1;
    }
    one.input_sizes.push_back(random.between(least, least + (one.shape.spatial_rank == 1 ? 70 : 17)));
    one.weight_sizes.push_back(kernel);
  }
  fill(&one, seed);
  return one;
}

inline double activated(Activation activation, double x) {
  if (activation == Activation::kRelu) return x < 0 ? 0 : x;
  return activation == Activation::kSilu ? x / (1 + std::exp(-x)) : x;
}

// Sizes in space as three dimensions, with ones before those that there are.
inline std::array<std::int64_t, 3> in_space(const Sizes& sizes) {
  std::array<std::int64_t, 3> result{1, 1, 1};
  for (std::size_t d = 2; d < sizes.size(); ++d) result[3 - sizes.size() + d] = sizes[d];
  return result;
}

// The products are walked over by elements of the small side, which is the input where it is transposed.
inline std::vector<double> exact(const Case& one) {
  const ConvolutionShape& shape = one.shape;
  const auto first = static_cast<std::size_t>(3 - shape.spatial_rank);
  const std::array<std::int64_t, 3> small = in_space(shape.transposed ? one.input_sizes : one.output_sizes);
  const std::array<std::int64_t, 3> large = in_space(shape.transposed ? one.output_sizes : one.input_sizes);
  const std::array<std::int64_t, 3> kernel = in_space(one.weight_sizes);
  const std::int64_t places = kernel[0] * kernel[1] * kernel[2];
  const std::int64_t outputs = one.output_sizes[1];
  const std::int64_t inputs = one.input_sizes[1];
  const std::int64_t group_outputs = outputs / shape.groups;
  const std::int64_t group_inputs = inputs / shape.groups;
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  std::vector<double> result(at(product(one.output_sizes)));
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = static_cast<double>(one.bias[i % at(outputs)]);
  for (std::int64_t element = 0; element < one.input_sizes[0] * small[0] * small[1] * small[2]; ++element) {
    for (std::int64_t place = 0; place < places; ++place) {
      std::int64_t image = element;
      std::int64_t rest = place;
      std::array<std::int64_t, 3> there{};
      bool is_inside = true;
      for (std::size_t d = 3; d-- > 0; rest /= kernel[d], image /= small[d]) {
        const std::int64_t k = rest % kernel[d];
        if (d >= first) {
          const std::size_t i = d - first;
          there[d] = image % small[d] * shape.stride[i] - shape.padding[i] + k * shape.dilation[i];
        }
        is_inside = is_inside && there[d] >= 0 && there[d] < large[d];
      }
      if (!is_inside) continue;
      const std::int64_t other = ((image * large[0] + there[0]) * large[1] + there[1]) * large[2] + there[2];
      const std::int64_t from = shape.transposed ? element : other;
      const std::int64_t to = shape.transposed ? other : element;
      for (std::int64_t column = 0; column < outputs; ++column) {
        const std::int64_t group = column / group_outputs;
        for (std::int64_t channel = 0; channel < group_inputs; ++channel) {
          const std::int64_t weight = shape.transposed
                                          ? (group * group_inputs + channel) * group_outputs + column % group_outputs
                                          : column * group_inputs + channel;
          result[at(to * outputs + column)] +=
              static_cast<double>(one.input[at(from * inputs + group * group_inputs + channel)]) *
              static_cast<double>(one.weight[at(weight * places + place)]);
        }
      }
    }
  }
  for (double& value : result) value = activated(shape.activation, value);
  return result;
}

inline TensorPtr borrowed(float* data, const Sizes& sizes, const Sizes& strides) {
  const auto nbytes = static_cast<std::size_t>(product(sizes)) * sizeof(float);
  return make_borrowed(data, nbytes, ScalarType::kFloat32, static_cast<std::int64_t>(sizes.size()), sizes.data(),
                       strides.data());
}

// Those of one piece, the last dimension innermost.
inline Sizes plain(const Sizes& sizes) {
  Sizes strides(sizes.size(), 1);
  for (std::size_t d = sizes.size() - 1; d-- > 0;) strides[d] = strides[d + 1] * sizes[d + 1];
  return strides;
}

template <typename Convolution>
class Built {
 public:
  explicit Built(Case& one)
      : one_(one),
        weight_(borrowed(one.weight.data(), one.weight_sizes, plain(one.weight_sizes))),
        bias_(borrowed(one.bias.data(), {one.output_sizes[1]}, {1})),
        convolution_(one.shape, *weight_, bias_.get(), arena_) {}

  std::vector<float> run(float* input, const PanelKernels& kernels) {
    std::vector<float> output(static_cast<std::size_t>(product(one_.output_sizes)),
                              std::numeric_limits<float>::quiet_NaN());
    const TensorPtr from = borrowed(input, one_.input_sizes, channels_last_strides(one_.input_sizes));
    const TensorPtr to = borrowed(output.data(), one_.output_sizes, channels_last_strides(one_.output_sizes));
    convolution_.run(workspace_, *from, *to, kernels);
    return output;
  }

 private:
  Case& one_;
  Arena arena_;
  Workspace workspace_;
  TensorPtr weight_;
  TensorPtr bias_;
  Convolution convolution_;
};

}  // namespace aotbuild::testing

#endif  // AOTBUILD_TESTS_CPP_CONVOLUTION_TEST_HPP_
