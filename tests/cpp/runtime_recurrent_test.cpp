// The loops of recurrent layers for every instruction set that the machine has: sums of every tile, cells of every
// value.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "base/arena.hpp"
#include "kernels/recurrent.hpp"
#include "kernels/recurrent_kernels.hpp"
#include "runtime_test_model.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {
namespace {

template <typename T>
std::vector<const RecurrentKernels<T>*> all_kernels() {
  std::vector<const RecurrentKernels<T>*> found;
  for (const char* isa : {static_cast<const char*>(nullptr), "avx2", "avx512"}) {
    if (const RecurrentKernels<T>* kernels = recurrent_kernels_for<T>(isa)) found.push_back(kernels);
  }
  return found;
}

template <typename T>
std::vector<T> random_numbers(std::int64_t count, double size) {
  static std::mt19937 generator(1);
  std::uniform_real_distribution<double> numbers(-size, size);
  std::vector<T> result(static_cast<std::size_t>(count));
  std::generate(result.begin(), result.end(), [&] { return static_cast<T>(numbers(generator)); });
  return result;
}

template <typename T>
void check_product(const RecurrentKernels<T>& kernels, std::int64_t rows, std::int64_t depth, std::int64_t panels,
                   bool has_bias) {
  const std::int64_t width = 2 * kernels.lanes;
  const std::int64_t columns = panels * width;
  const std::int64_t input_stride = depth + 3;
  const std::int64_t output_stride = columns + 5;
  const std::vector<T> input = random_numbers<T>(rows * input_stride, 1);
  const std::vector<T> weights = random_numbers<T>(columns * depth, 1);
  const std::vector<T> bias = random_numbers<T>(columns, 1);
  for (const bool backward : {false, true}) {
    std::vector<T> output(static_cast<std::size_t>(rows * output_stride), T{7});
    kernels.multiply({input.data(), input_stride, weights.data(), has_bias ? bias.data() : nullptr, output.data(),
                      output_stride, rows, depth, panels, backward});
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t column = 0; column < output_stride; ++column) {
        const auto at = static_cast<std::size_t>(row * output_stride + column);
        if (column >= columns) {
          ASSERT_EQ(output[at], T{7}) << "written beyond the row";
          continue;
        }
        double sum = has_bias ? static_cast<double>(bias[static_cast<std::size_t>(column)]) : 0;
        for (std::int64_t k = 0; k < depth; ++k) {
          const std::int64_t place = (column / width * depth + k) * width + column % width;
          sum += static_cast<double>(input[static_cast<std::size_t>(row * input_stride + k)]) *
                 static_cast<double>(weights[static_cast<std::size_t>(place)]);
        }
        const double allowed = 4 * std::sqrt(static_cast<double>(depth) + 1) * std::numeric_limits<T>::epsilon();
        ASSERT_NEAR(output[at], sum, allowed) << rows << " rows, depth " << depth << ", column " << column;
      }
    }
  }
}

TEST(RecurrentKernels, ProductsOfEveryTile) {
  for (const auto* kernels : all_kernels<float>()) {
    for (std::int64_t rows = 1; rows <= 30; ++rows) check_product<float>(*kernels, rows, 65, 5, rows % 2 == 0);
    for (const std::int64_t depth : {1, 2, 63, 64, 128, 200}) check_product<float>(*kernels, 3, depth, 3, true);
    for (std::int64_t panels = 1; panels <= 9; ++panels) check_product<float>(*kernels, 1, 10, panels, true);
  }
  for (const auto* kernels : all_kernels<double>()) {
    for (std::int64_t rows = 1; rows <= 15; ++rows) check_product<double>(*kernels, rows, 65, 5, rows % 2 == 0);
  }
}

// The cell's result for one unit: gates of the input's part, h's part, what is added to the third, h and c before.
struct Unit {
  double input[4];
  double hidden[4];
  double third;
  double h;
  double c;
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// h after, and c after of an LSTM.
std::pair<double, double> exact(RecurrentCell cell, const Unit& unit) {
  const double* x = unit.input;
  const double* h = unit.hidden;
  if (cell == RecurrentCell::kTanh) return {std::tanh(x[0] + h[0]), 0};
  if (cell == RecurrentCell::kRelu) return {x[0] + h[0] < 0 ? 0 : x[0] + h[0], 0};
  if (cell == RecurrentCell::kGru) {
    const double made = std::tanh(x[2] + sigmoid(x[0] + h[0]) * (h[2] + unit.third));
    return {made + sigmoid(x[1] + h[1]) * (unit.h - made), 0};
  }
  const double c = sigmoid(x[1] + h[1]) * unit.c + sigmoid(x[0] + h[0]) * std::tanh(x[2] + h[2]);
  return {sigmoid(x[3] + h[3]) * std::tanh(c), c};
}

template <typename T>
void check_cell(const RecurrentKernels<T>& kernels, RecurrentCell cell, const std::vector<Unit>& units) {
  const std::int64_t gates = cell == RecurrentCell::kLstm ? 4 : (cell == RecurrentCell::kGru ? 3 : 1);
  const std::int64_t lanes = kernels.lanes;
  const auto count = static_cast<std::int64_t>(units.size());
  const std::int64_t padded = (count + lanes - 1) / lanes * lanes;
  const auto size = static_cast<std::size_t>(padded);
  std::vector<T> input(size * static_cast<std::size_t>(gates)), hidden(input.size()), third(size), h(size), c(size);
  std::vector<T> next(size);
  for (std::int64_t i = 0; i < count; ++i) {
    const Unit& unit = units[static_cast<std::size_t>(i)];
    for (std::int64_t gate = 0; gate < gates; ++gate) {
      const auto at = static_cast<std::size_t>((i / lanes * gates + gate) * lanes + i % lanes);
      input[at] = static_cast<T>(unit.input[gate]);
      hidden[at] = static_cast<T>(unit.hidden[gate]);
    }
    third[static_cast<std::size_t>(i)] = static_cast<T>(unit.third);
    h[static_cast<std::size_t>(i)] = static_cast<T>(unit.h);
    c[static_cast<std::size_t>(i)] = static_cast<T>(unit.c);
  }
  kernels.step[static_cast<int>(cell)](
      {input.data(), hidden.data(), padded * gates, third.data(), h.data(), c.data(), next.data(), padded, 1, padded});
  const auto check = [&](double got, double wanted, const Unit& unit) {
    if (std::isnan(wanted)) {
      EXPECT_TRUE(std::isnan(got)) << got;
    } else if (std::isinf(wanted)) {
      EXPECT_EQ(got, wanted);
    } else {
      // Cells with a state add it to what may be small; the others keep the precision of small values.
      const double scale = gates == 1 ? std::abs(wanted) + std::numeric_limits<float>::min() : 1 + std::abs(wanted);
      EXPECT_NEAR(got, wanted, 4 * std::numeric_limits<T>::epsilon() * scale) << "of gate " << unit.input[0];
    }
  };
  for (std::int64_t i = 0; i < count; ++i) {
    const Unit& unit = units[static_cast<std::size_t>(i)];
    const auto [wanted, wanted_c] = exact(cell, unit);
    check(next[static_cast<std::size_t>(i)], wanted, unit);
    if (cell == RecurrentCell::kLstm) check(c[static_cast<std::size_t>(i)], wanted_c, unit);
  }
}

constexpr RecurrentCell kCells[] = {RecurrentCell::kLstm, RecurrentCell::kGru, RecurrentCell::kTanh,
                                    RecurrentCell::kRelu};

// Each gate through all sizes that float32 has, while the others are 0.
std::vector<Unit> sweep() {
  std::vector<Unit> units;
  for (int gate = 0; gate < 4; ++gate) {
    for (double size = 1e-30; size < 1e30; size *= 1.07) {
      for (const double x : {size, -size}) {
        Unit unit{};
        unit.input[gate] = static_cast<float>(x);
        unit.h = 1;
        unit.c = 1;
        units.push_back(unit);
      }
    }
  }
  return units;
}

TEST(RecurrentKernels, CellsOfEverySize) {
  for (const RecurrentCell cell : kCells) {
    for (const auto* kernels : all_kernels<float>()) check_cell<float>(*kernels, cell, sweep());
    for (const auto* kernels : all_kernels<double>()) check_cell<double>(*kernels, cell, sweep());
  }
}

TEST(RecurrentKernels, CellsOfValuesThatAreNotFinite) {
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<Unit> units;
  for (const double value : {std::nan(""), infinity, -infinity}) {
    for (int gate = 0; gate < 4; ++gate) {
      Unit unit{};
      unit.input[gate] = value;
      unit.h = unit.c = 0.5;
      units.push_back(unit);
    }
    Unit state{};
    state.h = state.c = value;
    units.push_back(state);
  }
  for (const RecurrentCell cell : kCells) {
    for (const auto* kernels : all_kernels<float>()) check_cell<float>(*kernels, cell, units);
    for (const auto* kernels : all_kernels<double>()) check_cell<double>(*kernels, cell, units);
  }
}

// The output and the states after it, of a layer of random weights.
std::vector<float> run_layer(const RecurrentSpec& spec, std::int64_t features, std::int64_t hidden, std::int64_t batch,
                             int threads) {
  std::mt19937 generator(7);
  std::uniform_real_distribution<float> numbers(-0.1F, 0.1F);
  const auto random = [&](std::vector<std::int64_t> sizes) {
    TensorPtr tensor =
        make_tensor(ScalarType::kFloat32, static_cast<std::int64_t>(sizes.size()), sizes.data(), nullptr);
    std::generate_n(tensor->data_as<float>(), tensor->numel(), [&] { return numbers(generator); });
    return tensor;
  };
  const std::int64_t gates = spec.cell == RecurrentCell::kLstm ? 4 : (spec.cell == RecurrentCell::kGru ? 3 : 1);
  const std::int64_t directions = spec.bidirectional ? 2 : 1;
  std::vector<TensorPtr> weights;
  for (std::int64_t part = 0; part < spec.layers * directions; ++part) {
    weights.push_back(random({gates * hidden, part < directions ? features : directions * hidden}));
    weights.push_back(random({gates * hidden, hidden}));
    weights.push_back(random({gates * hidden}));
    weights.push_back(random({gates * hidden}));
  }
  std::vector<const Tensor*> given;
  for (const TensorPtr& weight : weights) given.push_back(weight.get());
  const TensorPtr input = random({9, batch, features});
  const TensorPtr state = random({spec.layers * directions, batch, hidden});
  const TensorPtr cell = random({spec.layers * directions, batch, hidden});
  Arena arena;
  const PackedRecurrent layer(spec, given, arena, "test");
  omp_set_num_threads(threads);
  const RecurrentResult result =
      layer.run(*input, *state, spec.cell == RecurrentCell::kLstm ? cell.get() : nullptr, "test");
  std::vector<float> values;
  for (const TensorPtr& part : result) {
    values.insert(values.end(), part->data_as<float>(), part->data_as<float>() + part->numel());
  }
  return values;
}

TEST(PackedRecurrent, BitsDoNotDependOnThreads) {
  const int before = omp_get_max_threads();
  for (const RecurrentCell cell : {RecurrentCell::kLstm, RecurrentCell::kGru, RecurrentCell::kTanh}) {
    for (const bool bidirectional : {false, true}) {
      for (const std::int64_t hidden : {129, 144, 256, 300}) {
        if (testing::kIsAddressSanitized && hidden % 16 == 0) continue;
        for (const std::int64_t batch : {1, 3}) {
          RecurrentSpec spec{};
          spec.cell = cell;
          spec.layers = 2;
          spec.bidirectional = bidirectional;
          spec.weight_count = bidirectional ? 16 : 8;
          spec.has_biases = true;
          const std::vector<float> expected = run_layer(spec, 70, hidden, batch, 1);
          for (const int threads : {2, 3, 7}) {
            if (testing::kIsThreadSanitized) break;
            EXPECT_EQ(run_layer(spec, 70, hidden, batch, threads), expected) << hidden << " " << batch;
          }
        }
      }
    }
  }
  omp_set_num_threads(before);
}

}  // namespace
}  // namespace aotbuild::detail
