// Products over packed float32 weights, for every instruction set that the machine has: sums of every tile, activations
// of every value, and whole layers, whatever the number of threads.
#include <gtest/gtest.h>
#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/detail/runtime.hpp"
#include "kernels/intrinsics.hpp"
#include "kernels/packing.hpp"
#include "kernels/panel_kernels.hpp"
#include "kernels/panel_product.hpp"
#include "panel_test.hpp"
#include "runtime_test_model.hpp"

namespace aotbuild::detail {
namespace {

using testing::random_values;

// The tiles of AVX-512 on every machine: GCC and Clang make vectors of 64 bytes of what there is.
#pragma GCC diagnostic ignored "-Wpsabi"  // to the end of the file, where GCC writes the functions
namespace wide {

constexpr bool kAskingReads = false;
constexpr std::int64_t kBytes = 64;
constexpr int kSums = 28;
using Floats = float __attribute__((vector_size(kBytes)));
using Doubles = double __attribute__((vector_size(kBytes)));
__attribute__((always_inline)) inline Floats multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }
__attribute__((always_inline)) inline Floats at_least(Floats low, Floats value) { return value < low ? low : value; }
__attribute__((always_inline)) inline Doubles multiply_add(Doubles a, Doubles b, Doubles c) { return a * b + c; }

__attribute__((always_inline)) inline Floats load_part(const float* from, std::int64_t count) {
  Floats value = {};
  for (std::int64_t i = 0; i < count; ++i) value[i] = from[i];
  return value;
}
__attribute__((always_inline)) inline void store_part(float* to, Floats value, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = value[i];
}

#include "kernels/panel_loops.hpp"

}  // namespace wide

}  // namespace
}  // namespace aotbuild::detail

namespace aotbuild::testing {

std::vector<const detail::PanelKernels*> all_kernels() {
  std::vector<const detail::PanelKernels*> found = {&detail::wide::kKernels};
  for (const char* isa :
       {static_cast<const char*>(nullptr), "avx2", "avxvnni", "avx512", "avx512bf16", "avx512vnni", "amx", "dotprod"}) {
    if (const detail::PanelKernels* kernels = detail::panel_kernels_for(isa)) found.push_back(kernels);
  }
  return found;
}

namespace {

// Memory of whole pages between two that cannot be read.
std::shared_ptr<float> guarded(const std::vector<float>& values, bool at_end) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t nbytes = values.size() * sizeof(float);
  const std::size_t size = (nbytes + page - 1) / page * page;
  void* const memory = mmap(nullptr, size + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(memory) + page;
  mprotect(memory, page, PROT_NONE);
  mprotect(begin + size, page, PROT_NONE);
  char* const data = at_end ? begin + size - nbytes : begin;
  if (nbytes != 0) std::memcpy(data, values.data(), nbytes);
  return {reinterpret_cast<float*>(data), [=](float*) { munmap(memory, size + 2 * page); }};
}

}  // namespace

std::shared_ptr<float> before_the_end_of_memory(const std::vector<float>& values) { return guarded(values, true); }
std::shared_ptr<float> from_the_start_of_memory(const std::vector<float>& values) { return guarded(values, false); }

}  // namespace aotbuild::testing

namespace aotbuild::detail {
namespace {

using testing::all_kernels;
using testing::before_the_end_of_memory;

std::vector<float> numbers(std::int64_t count, std::uint32_t seed) {
  return random_values(static_cast<std::size_t>(count), seed);
}

std::int64_t padded(std::int64_t count, std::int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// Random operands of a product, with memory around them that has to stay as it is or must not be read.
struct Operands {
  Operands(std::int64_t row_count, std::int64_t term_count, std::int64_t column_count, std::int64_t gap = 3)
      : rows(row_count),
        depth(term_count),
        columns(column_count),
        input_stride(depth + gap),
        output_stride(columns + 5),
        input(numbers(rows * input_stride, 1)),
        bias(numbers(padded(columns, kPanelColumns), 2)),
        weights(numbers(padded(columns, kPanelColumns) * padded(depth, kPanelRows), 3)) {
    for (std::int64_t row = 0; row < rows; ++row) {
      std::fill_n(input.begin() + row * input_stride + depth, input_stride - depth,
                  std::numeric_limits<float>::quiet_NaN());
    }
  }

  double exact(std::int64_t row, std::int64_t column) const {
    double sum = static_cast<double>(bias[static_cast<std::size_t>(column)]);
    const std::int64_t panel = column / kPanelColumns * padded(depth, kPanelRows) * kPanelColumns;
    for (std::int64_t k = 0; k < depth; ++k) {
      sum += static_cast<double>(input[static_cast<std::size_t>(row * input_stride + k)]) *
             static_cast<double>(weights[static_cast<std::size_t>(panel + k * kPanelColumns + column % kPanelColumns)]);
    }
    return sum;
  }

  void expect_sums(const std::vector<float>& output) const {
    const double allowed = 8 * std::sqrt(static_cast<double>(depth) + 1) * std::numeric_limits<float>::epsilon();
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t column = 0; column < output_stride; ++column) {
        const float value = output[static_cast<std::size_t>(row * output_stride + column)];
        if (column >= columns) {
          ASSERT_EQ(value, 7.0F) << "written beyond row " << row << " of " << rows;
        } else {
          ASSERT_NEAR(value, exact(row, column), allowed)
              << "row " << row << " of " << rows << ", column " << column << " of " << columns << ", depth " << depth;
        }
      }
    }
  }

  std::vector<float> empty_output() const {
    return std::vector<float>(static_cast<std::size_t>(rows * output_stride), 7.0F);
  }

  std::int64_t rows;
  std::int64_t depth;
  std::int64_t columns;
  std::int64_t input_stride;
  std::int64_t output_stride;
  std::vector<float> input;
  std::vector<float> bias;
  std::vector<float> weights;
};

void check_kernel(const PanelKernels& kernels, const Operands& operands) {
  std::vector<float> output = operands.empty_output();
  std::vector<float> beside(static_cast<std::size_t>(operands.rows * kPanelColumns));
  PanelProduct product{};
  product.input = operands.input.data();
  product.input_stride = operands.input_stride;
  const auto weights = before_the_end_of_memory(operands.weights);
  const auto bias = before_the_end_of_memory(operands.bias);
  product.weights = weights.get();
  product.panel_stride = padded(operands.depth, kPanelRows) * kPanelColumns;
  product.bias = bias.get();
  product.output = output.data();
  product.output_stride = operands.output_stride;
  product.rows = operands.rows;
  product.depth = operands.depth;
  product.columns = operands.columns;
  product.end = term_parts(operands.depth);
  product.beside = beside.data();
  kernels.of(PanelType::kFloat32).run(product);
  operands.expect_sums(output);
}

TEST(PanelKernels, ProductsOfEveryTile) {
  for (const PanelKernels* kernels : all_kernels()) {
    for (std::int64_t rows = 1; rows <= 31; ++rows) {
      for (const std::int64_t columns : {40, 64}) check_kernel(*kernels, {rows, 19, columns});
    }
    for (std::int64_t columns = 1; columns <= 70; ++columns) {
      for (const std::int64_t rows : {1, 2, 17}) check_kernel(*kernels, {rows, 5, columns});
    }
    for (const std::int64_t columns : {256, 300, 544}) check_kernel(*kernels, {1, 40, columns});
    for (const std::int64_t depth : {0, 1, 191, 192, 193, 384, 400, 577}) {
      for (const std::int64_t rows : {1, 4, 20}) check_kernel(*kernels, {rows, depth, 50});
    }
  }
}

double exact(Activation activation, double x, double alpha) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return x < 0 ? 0 : x;
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x * std::sqrt(0.5));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kHardswish:
      return x * std::min(std::max(x + 3, 0.0), 6.0) / 6;
    case Activation::kLeakyRelu:
      return x > 0 ? x : x * alpha;
  }
  return x;
}

constexpr Activation kActivations[] = {Activation::kNone,      Activation::kRelu,     Activation::kGelu,
                                       Activation::kGeluTanh,  Activation::kSilu,     Activation::kTanh,
                                       Activation::kHardswish, Activation::kLeakyRelu};

std::vector<float> activated(const PanelKernels& kernels, Activation activation, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  const auto count = static_cast<std::int64_t>(x.size());
  kernels.activate[static_cast<int>(activation)]({x.data(), count, y.data(), count, 1, count, 0.3F});
  return y;
}

TEST(PanelKernels, ActivationsAreRightToTheLastBits) {
  std::vector<float> x;
  for (int i = -14000; i <= 14000; ++i) x.push_back(static_cast<float>(i) / 1000.0F);
  for (float size = 1e-30F; size < 1e30F; size *= 3.7F) x.insert(x.end(), {size, -size});
  for (const PanelKernels* kernels : all_kernels()) {
    for (const Activation activation : kActivations) {
      const std::vector<float> y = activated(*kernels, activation, x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double expected = exact(activation, static_cast<double>(x[i]), static_cast<double>(0.3F));
        // Where a result is small because terms cancel, the error is that of the terms.
        const double size = std::max(std::abs(expected), std::min(1.0, std::abs(static_cast<double>(x[i]))) * 0.25);
        ASSERT_NEAR(y[i], expected, 4e-7 * size) << "activation " << static_cast<int>(activation) << " of " << x[i];
      }
    }
  }
}

TEST(PanelKernels, ActivationsKeepWhatIsNoNumber) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> x(19, kNan);
  for (const PanelKernels* kernels : all_kernels()) {
    for (const Activation activation : kActivations) {
      for (const float y : activated(*kernels, activation, x))
        EXPECT_TRUE(std::isnan(y)) << static_cast<int>(activation);
    }
    const std::vector<float> ends = {kInfinity, -kInfinity, 3e38F, -3e38F};
    const auto of = [&](Activation activation) { return activated(*kernels, activation, ends); };
    EXPECT_EQ(of(Activation::kRelu), (std::vector<float>{kInfinity, 0, 3e38F, 0}));
    EXPECT_EQ(of(Activation::kTanh), (std::vector<float>{1, -1, 1, -1}));
    EXPECT_EQ(of(Activation::kGelu)[0], kInfinity);
    EXPECT_TRUE(std::isnan(of(Activation::kGelu)[1]));
    EXPECT_EQ(of(Activation::kGelu)[2], 3e38F);
    EXPECT_EQ(of(Activation::kGelu)[3], 0);
    EXPECT_EQ(of(Activation::kSilu)[0], kInfinity);
    EXPECT_EQ(of(Activation::kSilu)[3], 0);
    EXPECT_EQ(of(Activation::kGeluTanh)[3], 0);
  }
}

std::vector<float> product_of(const Operands& operands, Activation activation) {
  std::vector<float> output = operands.empty_output();
  Workspace workspace;
  const Rows input{const_cast<float*>(operands.input.data()), operands.input_stride, operands.rows};
  const Panels panels{operands.weights.data(), operands.bias.data(), operands.depth, operands.columns};
  multiply_panels(workspace, input, panels, activation, 0.3, {output.data(), operands.output_stride, operands.rows});
  return output;
}

// Rows in several blocks; rows that are copied since their distance is a multiple of 2 KB; sums in several blocks.
TEST(PanelProduct, LargeProductsInBlocks) {
  for (const Operands& operands : {Operands(500, 20, 70), Operands(300, 512, 200, 0), Operands(7, 1024, 130, 0),
                                   Operands(200, 1100, 40), Operands(250, 1536, 132, 0)}) {
    operands.expect_sums(product_of(operands, Activation::kNone));
  }
}

TEST(PanelProduct, NothingIsWrittenForNoRowsAndNoColumns) {
  EXPECT_EQ(product_of({0, 5, 40}, Activation::kNone), std::vector<float>());
  EXPECT_EQ(product_of({2, 5, 0}, Activation::kRelu), std::vector<float>(10, 7.0F));
}

TEST(PanelProduct, ThreadsAndOtherRowsChangeNoBit) {
  const int threads = omp_get_max_threads();
  for (const auto& [rows, depth, columns] : {std::array<std::int64_t, 3>{1, 700, 900}, {5, 400, 333}, {150, 500, 77}}) {
    const Operands operands(rows, depth, columns);
    omp_set_num_threads(1);
    const std::vector<float> expected = product_of(operands, Activation::kGelu);
    for (const int count : {2, 3, 8}) {
      if (testing::kIsThreadSanitized) break;
      omp_set_num_threads(count);
      EXPECT_EQ(product_of(operands, Activation::kGelu), expected) << count << " threads";
    }
    omp_set_num_threads(threads);
    Operands one = operands;
    one.rows = 1;
    const std::vector<float> first = product_of(one, Activation::kGelu);
    EXPECT_TRUE(std::equal(first.begin(), first.end(), expected.begin()));
  }
}

}  // namespace
}  // namespace aotbuild::detail
