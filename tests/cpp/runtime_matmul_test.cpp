// Products of matrices over panels that a call makes: every way that matrices can lie, element types, what is added,
// and the same bits whatever the number of threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/panel_matmul.hpp"
#include "runtime_test_model.hpp"
#include "tensor/dtype.hpp"

namespace aotbuild::detail {
namespace {

using testing::random_values;

struct Product {
  std::int64_t batch;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t depth;
  bool a_is_transposed;
  bool b_is_transposed;
  bool out_is_transposed;
  double alpha;
  double beta;
  bool has_bias;
};

std::array<std::int64_t, 3> strides_of(std::int64_t rows, std::int64_t columns, bool is_transposed) {
  const std::int64_t gap = 3;  // rows are longer than their values; 509 make rows that are copied
  if (is_transposed) return {columns * (rows + gap), 1, rows + gap};
  return {rows * (columns + gap), columns + gap, 1};
}

template <typename T>
std::vector<T> random_matrix(std::int64_t count, std::uint32_t seed) {
  std::vector<T> values;
  for (const float value : random_values(static_cast<std::size_t>(count), seed)) values.push_back(convert<T>(value));
  return values;
}

template <typename T>
struct Operands {
  explicit Operands(const Product& p)
      : a(random_matrix<T>(p.batch * (p.rows + 3) * (p.depth + 3), 1)),
        b(random_matrix<T>(p.batch * (p.depth + 3) * (p.columns + 3), 2)),
        bias(random_matrix<T>(p.columns, 3)),
        before(random_matrix<T>(p.batch * (p.rows + 3) * (p.columns + 3), 4)) {
    if (p.beta == 0) before.assign(before.size(), convert<T>(std::numeric_limits<float>::quiet_NaN()));
  }

  std::vector<T> run(const Product& p, ScalarType dtype) {
    std::vector<T> out = before;
    const Matrices out_m{out.data(), {p.batch, p.rows, p.columns}, strides_of(p.rows, p.columns, p.out_is_transposed)};
    const Matrices a_m{a.data(), {p.batch, p.rows, p.depth}, strides_of(p.rows, p.depth, p.a_is_transposed)};
    const Matrices b_m{b.data(), {p.batch, p.depth, p.columns}, strides_of(p.depth, p.columns, p.b_is_transposed)};
    const Addition addition{p.has_bias ? bias.data() : nullptr, p.alpha, p.beta};
    EXPECT_TRUE(panel_matmul(out_m, a_m, b_m, addition, dtype));
    return out;
  }

  std::vector<T> a, b, bias, before;
};

std::vector<Product> products() {
  std::vector<Product> result;
  for (const std::int64_t rows : {4, 15, 200}) {
    for (const std::int64_t columns : {1, 31, 64, 160}) {
      for (const std::int64_t depth : {0, 1, 6, 64, 509, 496}) {
        const auto i = static_cast<std::int64_t>(result.size());
        result.push_back({1 + i % 3, rows, columns, depth, i % 2 == 1, i / 2 % 2 == 1, i % 5 == 4,
                          i % 4 == 3 ? 0.5 : 1.0, i % 7 == 6 ? 2.0 : 0.0, i % 3 == 2 && i % 4 != 3 && i % 7 != 6});
      }
    }
  }
  return result;
}

template <typename T>
void check_all(ScalarType dtype, double rounding) {
  for (const Product& p : products()) {
    Operands<T> operands(p);
    const std::vector<T> out = operands.run(p, dtype);
    const auto as = strides_of(p.rows, p.depth, p.a_is_transposed);
    const auto bs = strides_of(p.depth, p.columns, p.b_is_transposed);
    const auto os = strides_of(p.rows, p.columns, p.out_is_transposed);
    const auto value = [](const std::vector<T>& from, std::int64_t at) {
      return static_cast<double>(convert<float>(from[static_cast<std::size_t>(at)]));
    };
    for (std::int64_t i = 0; i < p.batch * p.rows * p.columns; ++i) {
      const std::int64_t z = i / (p.rows * p.columns);
      const std::int64_t y = i / p.columns % p.rows;
      const std::int64_t x = i % p.columns;
      double sum = 0;
      for (std::int64_t k = 0; k < p.depth; ++k) {
        sum +=
            value(operands.a, z * as[0] + y * as[1] + k * as[2]) * value(operands.b, z * bs[0] + k * bs[1] + x * bs[2]);
      }
      const std::int64_t at = z * os[0] + y * os[1] + x * os[2];
      double expected = p.alpha * sum + (p.has_bias ? value(operands.bias, x) : 0);
      if (p.beta != 0) expected += p.beta * value(operands.before, at);
      const double allowed = 1e-6 * std::sqrt(static_cast<double>(p.depth) + 1) + rounding * std::abs(expected);
      ASSERT_NEAR(value(out, at), expected, allowed) << p.rows << " " << p.columns << " " << p.depth << " " << i;
    }
  }
}

TEST(PanelMatmul, Float32) { check_all<float>(ScalarType::kFloat32, 1e-6); }
TEST(PanelMatmul, BFloat16) { check_all<BFloat16>(ScalarType::kBFloat16, 1.0 / 256); }
TEST(PanelMatmul, Float16) { check_all<Half>(ScalarType::kFloat16, 1.0 / 2048); }

TEST(PanelMatmul, BitsDoNotDependOnThreads) {
  const int before = omp_get_max_threads();
  for (const Product& p : products()) {
    Operands<float> operands(p);
    omp_set_num_threads(1);
    const std::vector<float> expected = operands.run(p, ScalarType::kFloat32);
    for (const int threads : {2, 3, 7}) {
      if (testing::kIsThreadSanitized) break;
      omp_set_num_threads(threads);
      const std::vector<float> out = operands.run(p, ScalarType::kFloat32);
      for (std::size_t i = 0; i < out.size(); ++i) {
        ASSERT_TRUE(out[i] == expected[i] || std::isnan(expected[i])) << p.rows << " " << p.columns << " " << p.depth;
      }
    }
  }
  omp_set_num_threads(before);
}

TEST(PanelMatmul, NanSpreadsAlongItsRowAndColumnAlone) {
  Product p{1, 20, 40, 30, false, true, false, 1, 0, false};
  Operands<float> operands(p);
  operands.a[static_cast<std::size_t>(5 * 33 + 2)] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> out = operands.run(p, ScalarType::kFloat32);
  for (std::int64_t y = 0; y < 20; ++y) {
    for (std::int64_t x = 0; x < 40; ++x) EXPECT_EQ(std::isnan(out[static_cast<std::size_t>(y * 43 + x)]), y == 5);
  }
}

}  // namespace
}  // namespace aotbuild::detail
