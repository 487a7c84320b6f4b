// Models end to end: creation, calls, caller-provided and allocated outputs, checks at the door, threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <atomic>
#include <cfenv>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <locale>
#include <new>
#include <thread>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "aotbuild/model.hpp"
#include "runtime_test_model.hpp"

namespace {

std::atomic<int> allocations{0};

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  void* const memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
// std::stable_sort's: were it left to a sanitizer, its memory would not be for std::free.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace aotbuild::testing;
using aotbuild::detail::Activation;
using aotbuild::detail::CallContext;
using aotbuild::detail::context_allocate;
using aotbuild::detail::context_linear;
using aotbuild::detail::context_weight;

constexpr std::int64_t kIn = 24, kHidden = 40, kOut = 10;

// linear, gelu, linear over a dynamic batch
void run_mlp(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  std::int64_t* sizes = nullptr;
  aoti_torch_get_sizes(inputs[0], &sizes);
  const std::int64_t hidden_sizes[] = {sizes[0], kHidden};
  const std::int64_t hidden_strides[] = {kHidden, 1};
  AtenTensorHandle hidden = context_allocate(context, 2, hidden_sizes, hidden_strides, kFloat32, -1);
  context_linear(context, 0, inputs[0], hidden);
  const std::int64_t out_sizes[] = {sizes[0], kOut};
  const std::int64_t out_strides[] = {kOut, 1};
  outputs[0] = context_allocate(context, 2, out_sizes, out_strides, kFloat32, 0);
  context_linear(context, 1, hidden, outputs[0]);
  aoti_torch_delete_tensor_object(hidden);
}

// As many features as make the runtime part the sums, and rows that lie apart.
void run_wide_mlp(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  std::int64_t* sizes = nullptr;
  aoti_torch_get_sizes(inputs[0], &sizes);
  const std::int64_t out_sizes[] = {sizes[0], 7};
  const std::int64_t out_strides[] = {7, 1};
  outputs[0] = context_allocate(context, 2, out_sizes, out_strides, kFloat32, 0);
  aotbuild::detail::context_mlp(context, 0, inputs[0], outputs[0]);
}

TEST(Linear, PairsInBlocksGiveTheSameSums) {
  constexpr std::int64_t kWideIn = 300, kWideHidden = 700, kFew = 7;
  const std::vector<float> w0 = random_values(kWideHidden * kWideIn, 1), b0 = random_values(kWideHidden, 2);
  const std::vector<float> w1 = random_values(kFew * kWideHidden, 3), b1 = random_values(kFew, 4);
  for (const bool with_bias : {false, true}) {
    ModelBuilder builder(run_wide_mlp);
    builder.input("x", kFloat, {dynamic("s0", 1, 64), fixed(kWideIn)}, {-1, 1})
        .output("y", kFloat, {dynamic("s0", 1, 64), fixed(kFew)})
        .weight("0.weight", {kWideHidden, kWideIn}, w0)
        .weight("0.bias", {kWideHidden}, b0)
        .weight("2.weight", {kFew, kWideHidden}, w1)
        .weight("2.bias", {kFew}, b1)
        .linear({0}, {with_bias ? 1 : -1}, Activation::kRelu)
        .linear({2}, {with_bias ? 3 : -1}, Activation::kTanh)
        .join();
    Model model(builder.spec());
    ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
    for (const std::int64_t rows : {1, 5, 64}) {
      constexpr std::int64_t kGap = 4;
      std::vector<float> spaced(static_cast<std::size_t>(rows * (kWideIn + kGap)));
      const std::vector<float> x = random_values(static_cast<std::size_t>(rows * kWideIn), 5);
      for (std::int64_t m = 0; m < rows; ++m) {
        std::copy_n(x.begin() + m * kWideIn, kWideIn, spaced.begin() + m * (kWideIn + kGap));
      }
      Buffer<float> input({rows, kWideIn}, spaced);
      input.strides = {kWideIn + kGap, 1};
      Buffer<float> y({rows, kFew});
      aotbuild_tensor in = input.tensor(), out = y.tensor();
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
          << aotbuild_last_error();
      std::vector<double> hidden =
          linear_reference(x, w0, with_bias ? b0 : std::vector<float>(), rows, kWideIn, kWideHidden);
      for (std::int64_t m = 0; m < rows; ++m) {
        for (std::int64_t n = 0; n < kFew; ++n) {
          double sum = with_bias ? double{b1[n]} : 0.0;
          for (std::int64_t k = 0; k < kWideHidden; ++k) {
            sum += std::max(hidden[m * kWideHidden + k], 0.0) * double{w1[n * kWideHidden + k]};
          }
          ASSERT_NEAR(y.values[m * kFew + n], std::tanh(sum), 2e-3) << m << ", " << n << " of " << rows;
        }
      }
    }
  }
}

// One row takes more columns at once.
TEST(Linear, OneRowGivesTheSumsOfSeveral) {
  constexpr std::int64_t kFeatures = 301, kColumns = 333;
  const std::vector<float> w = random_values(kColumns * kFeatures, 1), b = random_values(kColumns, 2);
  for (const Activation activation : {Activation::kNone, Activation::kRelu}) {
    ModelBuilder builder([](CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
      std::int64_t* sizes = nullptr;
      aoti_torch_get_sizes(inputs[0], &sizes);
      const std::int64_t out_sizes[] = {sizes[0], kColumns};
      const std::int64_t out_strides[] = {kColumns, 1};
      outputs[0] = context_allocate(context, 2, out_sizes, out_strides, kFloat32, 0);
      context_linear(context, 0, inputs[0], outputs[0]);
    });
    builder.input("x", kFloat, {dynamic("s0", 1, 64), fixed(kFeatures)})
        .output("y", kFloat, {dynamic("s0", 1, 64), fixed(kColumns)})
        .weight("weight", {kColumns, kFeatures}, w)
        .weight("bias", {kColumns}, b)
        .linear({0}, {1}, activation);
    Model model(builder.spec());
    ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
    for (const std::int64_t rows : {1, 2}) {
      Buffer<float> x({rows, kFeatures}, random_values(static_cast<std::size_t>(rows * kFeatures), 3));
      Buffer<float> y({rows, kColumns});
      aotbuild_tensor in = x.tensor(), out = y.tensor();
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
          << aotbuild_last_error();
      std::vector<double> expected = linear_reference(x.values, w, b, rows, kFeatures, kColumns);
      for (double& value : expected) value = activation == Activation::kRelu ? std::max(value, 0.0) : value;
      for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(y.values[i], expected[i], 1e-4) << i;
    }
  }
}

class Mlp {
 public:
  Mlp() : w0(random_values(kHidden * kIn, 1)), b0(random_values(kHidden, 2)), w1(random_values(kOut * kHidden, 3)) {
    builder.input("x", kFloat, {dynamic("s0", 1, 64), fixed(kIn)})
        .output("y", kFloat, {dynamic("s0", 1, 64), fixed(kOut)})
        .weight("0.weight", {kHidden, kIn}, w0)
        .weight("0.bias", {kHidden}, b0)
        .weight("2.weight", {kOut, kHidden}, w1)
        .linear({0}, {1}, Activation::kGelu)
        .linear({2}, {-1});
  }
  std::vector<double> reference(const std::vector<float>& x, std::int64_t rows) const {
    std::vector<double> h = linear_reference(x, w0, b0, rows, kIn, kHidden);
    std::vector<double> y(static_cast<std::size_t>(rows * kOut));
    for (std::int64_t m = 0; m < rows; ++m) {
      for (std::int64_t n = 0; n < kOut; ++n) {
        double sum = 0;
        for (std::int64_t k = 0; k < kHidden; ++k) sum += gelu(h[m * kHidden + k]) * double{w1[n * kHidden + k]};
        y[m * kOut + n] = sum;
      }
    }
    return y;
  }
  std::vector<float> w0, b0, w1;
  ModelBuilder builder{run_mlp};
};

void expect_near(const float* actual, const std::vector<double>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 1e-4) << i;
}

TEST(Linear, WeightsMayBeTransposed) {
  constexpr std::int64_t kFeatures = 21, kColumns = 37, kRows = 3;
  const std::vector<float> w = random_values(kColumns * kFeatures, 1), b = random_values(kColumns, 2);
  std::vector<float> transposed(w.size());
  for (std::int64_t n = 0; n < kColumns; ++n) {
    for (std::int64_t k = 0; k < kFeatures; ++k) transposed[k * kColumns + n] = w[n * kFeatures + k];
  }
  ModelBuilder builder([](CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
    const std::int64_t sizes[] = {kRows, kColumns};
    const std::int64_t strides[] = {kColumns, 1};
    outputs[0] = context_allocate(context, 2, sizes, strides, kFloat32, 0);
    context_linear(context, 0, inputs[0], outputs[0]);
  });
  builder.input("x", kFloat, {fixed(kRows), fixed(kFeatures)})
      .output("y", kFloat, {fixed(kRows), fixed(kColumns)})
      .weight("weight", {kFeatures, kColumns}, transposed)
      .weight("bias", {kColumns}, b)
      .linear({0}, {1}, Activation::kNone, /*transposed=*/true);
  Model model(builder.spec());
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  Buffer<float> x({kRows, kFeatures}, random_values(kRows * kFeatures, 3));
  Buffer<float> y({kRows, kColumns});
  aotbuild_tensor in = x.tensor(), out = y.tensor();
  ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
      << aotbuild_last_error();
  expect_near(y.values.data(), linear_reference(x.values, w, b, kRows, kFeatures, kColumns));
}

TEST(Model, WritesIntoTheCallersBufferWithoutACopy) {
  Mlp mlp;
  Model model(mlp.builder.spec());
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  for (const std::int64_t rows : {1, 5, 8, 64}) {
    Buffer<float> x({rows, kIn}, random_values(static_cast<std::size_t>(rows * kIn), 7));
    Buffer<float> y({rows, kOut});
    aotbuild_tensor in = x.tensor();
    aotbuild_tensor out = y.tensor();
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
    expect_near(y.values.data(), mlp.reference(x.values, rows));
  }
}

TEST(Model, AllocatesOutputsThatOutliveTheModel) {
  Mlp mlp;
  Buffer<float> x({3, kIn}, random_values(3 * kIn, 7));
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = to_allocate();
  aotbuild_result* result = nullptr;
  {
    Model model(mlp.builder.spec());
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, &result), AOTBUILD_OK)
        << aotbuild_last_error();
  }
  ASSERT_EQ(out.ndim, 2);
  EXPECT_EQ(out.shape[0], 3);
  EXPECT_EQ(out.strides[0], kOut);
  expect_near(static_cast<float*>(out.data), mlp.reference(x.values, 3));
  aotbuild_result_destroy(result);
}

TEST(Model, WritesToStridedBuffers) {
  Mlp plain;
  ModelBuilder builder(run_mlp);
  builder.input("x", kFloat, {dynamic("s0", 1, 64), fixed(kIn)})
      .output("y", kFloat, {dynamic("s0", 1, 64), fixed(kOut)}, {-1, 1})
      .weight("0.weight", {kHidden, kIn}, plain.w0)
      .weight("0.bias", {kHidden}, plain.b0)
      .weight("2.weight", {kOut, kHidden}, plain.w1)
      .linear({0}, {1}, Activation::kGelu)
      .linear({2}, {-1});
  Model model(builder.spec());
  Buffer<float> x({2, kIn}, random_values(2 * kIn, 7));
  Buffer<float> y({2, kOut}, std::vector<float>(2 * 16, -5.0F));
  y.strides = {16, 1};
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = y.tensor();
  ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
      << aotbuild_last_error();
  const std::vector<double> expected = plain.reference(x.values, 2);
  for (std::int64_t n = 0; n < kOut; ++n) EXPECT_NEAR(y.values[16 + n], expected[kOut + n], 1e-4);
  EXPECT_EQ(y.values[kOut], -5.0F);
}

TEST(Model, InputAndOutputMayBeTheSameMemory) {
  ModelBuilder builder([](CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
    const std::int64_t sizes[] = {4, 4};
    const std::int64_t strides[] = {4, 1};
    outputs[0] = context_allocate(context, 2, sizes, strides, kFloat32, 0);
    context_linear(context, 0, inputs[0], outputs[0]);
    outputs[1] = nullptr;
    aoti_torch_new_tensor_handle(inputs[0], &outputs[1]);  // a view of the input
  });
  const std::vector<float> w = random_values(16, 1);
  builder.input("x", kFloat, {fixed(4), fixed(4)})
      .output("y", kFloat, {fixed(4), fixed(4)})
      .output("same", kFloat, {fixed(4), fixed(4)})
      .weight("w", {4, 4}, w)
      .linear({0}, {-1});
  Model model(builder.spec());
  const std::vector<float> original = random_values(16, 2);
  Buffer<float> x({4, 4}, original);
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out[] = {x.tensor(), to_allocate()};
  aotbuild_result* result = nullptr;
  ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, out, 2, &result), AOTBUILD_OK)
      << aotbuild_last_error();
  expect_near(x.values.data(), linear_reference(original, w, {}, 4, 4, 4));
  EXPECT_TRUE(std::equal(original.begin(), original.end(), static_cast<float*>(out[1].data)));
  aotbuild_result_destroy(result);
}

TEST(Model, ResultsNeverAliasWeightsOrEachOther) {
  ModelBuilder builder([](CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
    aoti_torch_new_tensor_handle(context_weight(context, 0), &outputs[0]);
    outputs[1] = outputs[0];  // one handle for two outputs
  });
  builder.output("a", kFloat, {fixed(3)}).output("b", kFloat, {fixed(3)}).weight("w", {3}, {1, 2, 3});
  Model model(builder.spec());
  for (int i = 0; i < 2; ++i) {
    aotbuild_tensor out[] = {to_allocate(), to_allocate()};
    aotbuild_result* result = nullptr;
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, nullptr, 0, out, 2, &result), AOTBUILD_OK)
        << aotbuild_last_error();
    auto* a = static_cast<float*>(out[0].data);
    auto* b = static_cast<float*>(out[1].data);
    EXPECT_EQ(a[1], 2);
    a[1] = 9;
    EXPECT_EQ(b[1], 2);
    aotbuild_result_destroy(result);
  }
}

struct BadCall {
  const char* text;
  void (*spoil)(aotbuild_tensor& in, aotbuild_tensor& out);
};

// Without it GoogleTest prints the bytes of pointers, which differ from run to run.
void PrintTo(const BadCall& call, std::ostream* stream) { *stream << call.text; }

std::int64_t g_wrong_shape[2];
std::int64_t g_wrong_strides[2];

class Checks : public ::testing::TestWithParam<BadCall> {};

TEST_P(Checks, NameTheTensorAndTheRemedy) {
  Mlp mlp;
  Model model(mlp.builder.spec());
  Buffer<float> x({3, kIn}, random_values(3 * kIn, 7));
  Buffer<float> y({3, kOut});
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = y.tensor();
  GetParam().spoil(in, out);
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(aotbuild_last_error(), GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(
    All, Checks,
    ::testing::Values(
        BadCall{"encoder: input 'x' has type float64, expected float32",
                [](aotbuild_tensor& in, aotbuild_tensor&) { in.dtype = kDouble; }},
        BadCall{"encoder: input 'x' has 1 dimensions, expected 2",
                [](aotbuild_tensor& in, aotbuild_tensor&) { in.ndim = 1; }},
        BadCall{"encoder: input 'x' dimension 0 is 65, allowed range is 1..64 (symbol 's0')",
                [](aotbuild_tensor& in, aotbuild_tensor&) { in.shape[0] = 65; }},
        BadCall{"encoder: input 'x' dimension 1 is 25, expected 24",
                [](aotbuild_tensor& in, aotbuild_tensor&) { in.shape[1] = 25; }},
        BadCall{"encoder: input 'x' has a null data pointer",
                [](aotbuild_tensor& in, aotbuild_tensor&) { in.data = nullptr; }},
        BadCall{"encoder: input 'x' has data that is not aligned to 4 bytes, the size of one float32",
                [](aotbuild_tensor& in, aotbuild_tensor&) { in.byte_offset = 2; }},
        BadCall{"encoder: input 'x' is on device type 2, expected 1 (CPU)",
                [](aotbuild_tensor& in, aotbuild_tensor&) { in.device.type = AOTBUILD_CUDA; }},
        BadCall{"encoder: input 'x' has strides (1, 3), expected (24, 1) (contiguous); copy it to that layout",
                [](aotbuild_tensor& in, aotbuild_tensor&) {
                  g_wrong_strides[0] = 1;
                  g_wrong_strides[1] = 3;
                  in.strides = g_wrong_strides;
                }},
        BadCall{"encoder: output 'y' dimension 0 is 2, expected 3 to agree with the dimensions before it (symbol 's0' "
                "is 3)",
                [](aotbuild_tensor&, aotbuild_tensor& out) {
                  g_wrong_shape[0] = 2;
                  g_wrong_shape[1] = kOut;
                  out.shape = g_wrong_shape;
                }},
        BadCall{"encoder: output 'y' has no data, but there is no aotbuild_result** to return its memory through",
                [](aotbuild_tensor&, aotbuild_tensor& out) { out.data = nullptr; }}));

// A program's locale may group digits.
struct GroupedDigits : std::numpunct<char> {
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST(ModelChecks, NumbersAreTheSameInAnyLocale) {
  Mlp mlp;
  Model model(mlp.builder.spec());
  Buffer<float> x({3, kIn});
  aotbuild_tensor in = x.tensor();
  in.shape[1] = 1234567;
  Buffer<float> y({3, kOut});
  aotbuild_tensor out = y.tensor();
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new GroupedDigits));
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_INVALID_ARGUMENT);
  std::locale::global(before);
  EXPECT_STREQ(aotbuild_last_error(), "encoder: input 'x' dimension 1 is 1234567, expected 24");
}

TEST(ModelChecks, CountsOfInputsAndOutputs) {
  Mlp mlp;
  Model model(mlp.builder.spec());
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, nullptr, 0, nullptr, 1, nullptr), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(aotbuild_last_error(), "encoder: got 0 inputs, expected 1");
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, nullptr, 1, nullptr, 1, nullptr), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(aotbuild_last_error(), "encoder: the array of inputs is null");
}

TEST(ModelChecks, SizesThatAreNoMultiple) {
  ModelBuilder builder([](CallContext&, AtenTensorHandle*, AtenTensorHandle*) {});
  builder.input("x", kFloat, {dynamic("s0", 2, 64, 4, 2)});
  Model model(builder.spec());
  Buffer<float> good({14});
  aotbuild_tensor in = good.tensor();
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, nullptr, 0, nullptr), AOTBUILD_OK)
      << aotbuild_last_error();
  Buffer<float> bad({15});
  in = bad.tensor();
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, nullptr, 0, nullptr), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(aotbuild_last_error(),
               "encoder: input 'x' dimension 0 is 15, expected 4 * s0 + 2 for a whole number s0");
}

TEST(ModelChecks, UnsupportedHardwareListsWhatIsInside) {
  Mlp mlp;
  mlp.builder.variants()[0].isa = "avx9000";
  mlp.builder.variants()[0].supported = [] { return false; };
  Model model(mlp.builder.spec());
  EXPECT_EQ(model.status, AOTBUILD_UNSUPPORTED_HARDWARE);
  EXPECT_EQ(std::string(aotbuild_last_error()).rfind("encoder: built for avx9000, but this machine has only ", 0), 0U);
}

// A structure of a later header, which has a field more than this runtime knows of.
template <typename T>
struct Longer {
  T known{};
  std::uint64_t added = 0;
  explicit Longer(T values = {}) : known(values) { known.struct_size = sizeof(Longer); }
};

TEST(ModelAbi, OptionsOfOtherSizes) {
  Mlp mlp;
  aotbuild_model* model = nullptr;
  aotbuild_options unset = default_options();
  const auto odd = static_cast<std::uint32_t>(sizeof unset + 1);
  for (const std::uint32_t size : {0U, 4U, odd, 100000U}) {
    unset.struct_size = size;
    EXPECT_EQ(aotbuild_model_create(&mlp.builder.spec(), &unset, &model), AOTBUILD_INVALID_ARGUMENT);
    const std::string expected = "encoder: aotbuild_options::struct_size is " + std::to_string(size) + ", expected";
    EXPECT_EQ(std::string(aotbuild_last_error()).rfind(expected, 0), 0U) << aotbuild_last_error();
  }
  Longer<aotbuild_options> later(default_options());
  EXPECT_EQ(aotbuild_model_create(&mlp.builder.spec(), &later.known, &model), AOTBUILD_OK) << aotbuild_last_error();
  aotbuild_model_destroy(model);
  later.added = 1;
  EXPECT_EQ(aotbuild_model_create(&mlp.builder.spec(), &later.known, &model), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(
      aotbuild_last_error(),
      "encoder: aotbuild_options has a field set that this library, which was built with an earlier version of "
      "aotbuild, does not know; leave it zero, or build the model again");
}

TEST(ModelAbi, StatisticsAreAsLongAsTheCallersHeaderHasThem) {
  Mlp mlp;
  Model model(mlp.builder.spec());
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  Longer<aotbuild_statistics> later;
  later.known.calls = 3;
  later.added = 5;
  EXPECT_EQ(aotbuild_model_statistics(model.handle, &later.known), AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(later.known.struct_size, sizeof later);
  EXPECT_EQ(later.known.calls, 0U);
  EXPECT_EQ(later.added, 0U) << "what the library does not know is zero";
  aotbuild_statistics unset{};
  unset.calls = 3;
  EXPECT_EQ(aotbuild_model_statistics(model.handle, &unset), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_EQ(unset.calls, 3U);
}

TEST(ModelAbi, WeightsAreAsFarApartAsTheCallersHeaderHasThem) {
  const auto run = [](CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
    aoti_torch_clone(context_weight(context, 1), &outputs[0]);
  };
  ModelBuilder builder(run);
  builder.output("y", kFloat, {fixed(1)}).weight("a", {1}, {5}).weight("b", {1}, {7});
  Model model(builder.spec());
  Buffer<float> a({1}, {1}), b({1}, {2}), y({1});
  Longer<aotbuild_named_tensor> named[] = {Longer<aotbuild_named_tensor>({0, "a", a.tensor()}),
                                           Longer<aotbuild_named_tensor>({0, "b", b.tensor()})};
  EXPECT_EQ(aotbuild_model_set_weights(model.handle, &named[0].known, 2), AOTBUILD_OK) << aotbuild_last_error();
  aotbuild_tensor out = y.tensor();
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, nullptr, 0, &out, 1, nullptr), AOTBUILD_OK);
  EXPECT_EQ(y.values[0], 2);
  named[0].known.struct_size = 0;
  EXPECT_EQ(aotbuild_model_set_weights(model.handle, &named[0].known, 2), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(aotbuild_last_error()).rfind("encoder: aotbuild_named_tensor::struct_size is 0", 0), 0U);
}

// y = 2 * (x + 1), with a tensor between.
void run_affine(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  std::int64_t* sizes = nullptr;
  aoti_torch_get_sizes(inputs[0], &sizes);
  const std::int64_t strides[] = {1};
  const auto data_of = [](AtenTensorHandle tensor) {
    void* data = nullptr;
    aoti_torch_get_data_ptr(tensor, &data);
    return static_cast<float*>(data);
  };
  AtenTensorHandle sum = context_allocate(context, 1, sizes, strides, kFloat32, -1);
  outputs[0] = context_allocate(context, 1, sizes, strides, kFloat32, 0);
  for (std::int64_t i = 0; i < sizes[0]; ++i) data_of(sum)[i] = data_of(inputs[0])[i] + 1;
  for (std::int64_t i = 0; i < sizes[0]; ++i) data_of(outputs[0])[i] = 2 * data_of(sum)[i];
  aoti_torch_delete_tensor_object(sum);
}

// What oneDNN allocates in each of its primitives is its own.
TEST(ModelClass, ACallIntoTheCallersMemoryAllocatesNothing) {
  static const aotbuild::detail::ModelSpec* spec = nullptr;
  ModelBuilder builder(run_affine);
  builder.input("x", kFloat, {dynamic("n", 1, 1000)}).output("y", kFloat, {dynamic("n", 1, 1000)});
  spec = &builder.spec();
  aotbuild_api functions{};
  functions.abi_version = AOTBUILD_ABI_VERSION;
  functions.struct_size = sizeof functions;
  functions.create = [](const aotbuild_options* options, aotbuild_model** model) {
    return aotbuild_model_create(spec, options, model);
  };
  functions.destroy = aotbuild_model_destroy;
  functions.run = aotbuild_model_run;
  functions.last_error = aotbuild_last_error;
  const aotbuild::Model model(functions, {});
  std::vector<float> x(300, 1), y(300);
  const aotbuild::TensorView<const float, 1> input(x);
  const aotbuild::TensorView<float, 1> output(y);
  for (int i = 0; i < 4; ++i) {
    const int before = allocations;
    const aotbuild::Status status = model.try_run_into<1>({input.c_tensor()}, {output.c_tensor()});
    const int made = allocations - before;
    ASSERT_TRUE(status.ok()) << status.message().c_str();
    if (i > 0) EXPECT_EQ(made, 0) << "in call " << i;
    EXPECT_EQ(y[299], 4);
  }
}

TEST(ModelClass, LibrariesOfAnotherVersionAreRefused) {
  aotbuild_api functions{};
  functions.abi_version = 3;
  const auto model = aotbuild::Model::try_create(functions, {});
  ASSERT_FALSE(model.ok());
  EXPECT_STREQ(
      model.status().message().c_str(),
      "the model's library has version 3 of aotbuild's binary interface, this program was compiled for version "
      "4. Build the library and the program with one release of aotbuild");
}

TEST(ModelAbi, CodeOfAnotherReleaseIsRefused) {
  Mlp mlp;
  aotbuild::detail::ModelSpec spec = mlp.builder.spec();
  spec.release = 90211;
  Model model(spec);
  EXPECT_EQ(model.status, AOTBUILD_INVALID_ARGUMENT);
  const std::string expected = "encoder: generated by aotbuild 9.2.11, but the runtime in this program is of ";
  EXPECT_EQ(std::string(aotbuild_last_error()).rfind(expected, 0), 0U) << aotbuild_last_error();
}

TEST(Model, AThrowingKernelIsAStatus) {
  ModelBuilder builder([](CallContext&, AtenTensorHandle*, AtenTensorHandle*) {
    aoti_torch_check(false, "kernel", "file", 1, "index out of bounds");
  });
  Model model(builder.spec());
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, nullptr, 0, nullptr, 0, nullptr), AOTBUILD_RUNTIME_ERROR);
  EXPECT_STREQ(aotbuild_last_error(), "encoder: kernel: index out of bounds");
}

TEST(Model, MutatedBuffersBelongToEachModelObject) {
  ModelBuilder builder([](CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
    void* data = nullptr;
    aoti_torch_get_data_ptr(context_weight(context, 0), &data);
    *static_cast<float*>(data) += 1;
    aoti_torch_clone(context_weight(context, 0), &outputs[0]);
  });
  builder.output("count", kFloat, {fixed(1)}).weight("count", {1}, {5}, /*mutated=*/true);
  Model first(builder.spec());
  Model second(builder.spec());
  Buffer<float> y({1});
  aotbuild_tensor out = y.tensor();
  for (int i = 1; i <= 3; ++i) {
    ASSERT_EQ(aotbuild_model_run(first.handle, 0, nullptr, nullptr, 0, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
    EXPECT_EQ(y.values[0], 5 + i);
  }
  ASSERT_EQ(aotbuild_model_run(second.handle, 0, nullptr, nullptr, 0, &out, 1, nullptr), AOTBUILD_OK);
  EXPECT_EQ(y.values[0], 6);
  aotbuild_model* session = nullptr;
  ASSERT_EQ(aotbuild_model_new_session(first.handle, &session), AOTBUILD_OK) << aotbuild_last_error();
  ASSERT_EQ(aotbuild_model_run(session, 0, nullptr, nullptr, 0, &out, 1, nullptr), AOTBUILD_OK);
  EXPECT_EQ(y.values[0], 6);
  aotbuild_model_destroy(session);
}

TEST(Model, MethodsCountWeightsAndLayersOnTheirOwn) {
  const auto run = [](CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
    aoti_torch_clone(context_weight(context, 0), &outputs[0]);
  };
  ModelBuilder builder(run);
  builder.output("y", kFloat, {fixed(1)}).weight("a", {1}, {5}).weight("b", {1}, {7});
  aotbuild::detail::ModelSpec spec = builder.spec();
  aotbuild_model_info info = *spec.info;
  const aotbuild_tensor_info* const* const outputs = info.methods[0]->outputs;
  const aotbuild_method_info first = {sizeof(aotbuild_method_info), "first", 0, nullptr, 1, outputs};
  const aotbuild_method_info second = {sizeof(aotbuild_method_info), "second", 0, nullptr, 1, outputs};
  const aotbuild_method_info* const infos[] = {&first, &second};
  constexpr int kFirst[] = {0, 1};
  constexpr int kSecond[] = {1};
  const aotbuild::detail::IndexTable none{nullptr, 0};
  const aotbuild::detail::MethodSpec methods[] = {{spec.variants, {kFirst, 2}, none, none, none},
                                                  {spec.variants, {kSecond, 1}, none, none, none}};
  info.method_count = 2;
  info.methods = infos;
  spec.info = &info;
  spec.methods = methods;
  Model model(spec);
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  Buffer<float> y({1});
  aotbuild_tensor out = y.tensor();
  for (const auto& [method, value] : {std::pair<std::size_t, float>{0, 5}, {1, 7}}) {
    ASSERT_EQ(aotbuild_model_run(model.handle, method, nullptr, nullptr, 0, &out, 1, nullptr), AOTBUILD_OK);
    EXPECT_EQ(y.values[0], value);
  }
  EXPECT_EQ(aotbuild_model_run(model.handle, 2, nullptr, nullptr, 0, &out, 1, nullptr), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(aotbuild_last_error(), "encoder: there is no method 2; the model has 2");
}

// y = x / 2, by all threads
void run_halves(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  const std::int64_t sizes[] = {64};
  const std::int64_t strides[] = {1};
  outputs[0] = context_allocate(context, 1, sizes, strides, kFloat32, 0);
  void* x = nullptr;
  void* y = nullptr;
  aoti_torch_get_data_ptr(inputs[0], &x);
  aoti_torch_get_data_ptr(outputs[0], &y);
#pragma omp parallel for schedule(static, 1)
  for (int i = 0; i < 64; ++i) static_cast<float*>(y)[i] = static_cast<float*>(x)[i] * 0.5F;
}

// What linking with -ffast-math, or an audio thread, makes of a processor.
class FlushesAndRoundsUp {
 public:
  FlushesAndRoundsUp() {
    std::fesetround(FE_UPWARD);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040U);
#elif defined(__aarch64__)
    set_fpcr(fpcr() | (std::uint64_t{1} << 24));
#endif
  }
  ~FlushesAndRoundsUp() {
#if defined(__aarch64__)
    set_fpcr(0);
#endif
    std::fesetenv(FE_DFL_ENV);
  }
  static bool is_on() {
    const volatile float tiny = 0x1p-126F;
    const volatile float one = 1.0F;
    const volatile float flushed = tiny * 0.5F;
    const volatile float above = one + tiny;
    return flushed == 0 && above > 1.0F;
  }

 private:
#if defined(__aarch64__)
  static std::uint64_t fpcr() {
    std::uint64_t value = 0;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void set_fpcr(std::uint64_t value) { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }
#endif
};

TEST(Model, CallersFloatingPointModesChangeNoResultAndComeBack) {
  ModelBuilder builder(run_halves);
  builder.input("x", kFloat, {fixed(64)}).output("y", kFloat, {fixed(64)});
  // A thread of its own, whose OpenMP helpers begin with its modes.
  std::thread([&] {
    const FlushesAndRoundsUp modes;
    const std::vector<int> all(static_cast<std::size_t>(omp_get_max_threads()), 1);
    std::vector<int> flushes(all.size(), 0);
    const auto look = [&] {
#pragma omp parallel
      flushes[static_cast<std::size_t>(omp_get_thread_num())] = FlushesAndRoundsUp::is_on() ? 1 : 0;
    };
    look();
    ASSERT_EQ(flushes, all);
    Model model(builder.spec());
    Buffer<float> x({64}, std::vector<float>(64, 0x1p-128F));
    Buffer<float> y({64});
    aotbuild_tensor in = x.tensor();
    aotbuild_tensor out = y.tensor();
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
    std::vector<std::uint32_t> bits(64);
    std::memcpy(bits.data(), y.values.data(), 64 * sizeof(float));
    EXPECT_EQ(bits, std::vector<std::uint32_t>(64, 0x00100000U));  // 2^-129
    look();
    EXPECT_EQ(flushes, all);
  }).join();
}

std::ptrdiff_t thread_count() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

TEST(Model, OneThreadStartsNoOthersAndTwoGiveTheSameResult) {
  Mlp mlp;
  for (const std::int32_t count : {1, 2}) {
    // In a thread of its own: OpenMP keeps its helpers for each thread that has started some.
    std::thread([&] {
      const std::ptrdiff_t before = thread_count();
      Model model(mlp.builder.spec(), default_options(count));
      Buffer<float> x({64, kIn}, random_values(64 * kIn, 7));
      Buffer<float> y({64, kOut});
      aotbuild_tensor in = x.tensor();
      aotbuild_tensor out = y.tensor();
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
          << aotbuild_last_error();
      expect_near(y.values.data(), mlp.reference(x.values, 64));
      if (count == 1) {
        EXPECT_LE(thread_count(), before);  // helpers of earlier tests may end meanwhile
      }
    }).join();
  }
}

TEST(Model, SixtyFourThreadsShareOneObject) {
  Mlp mlp;
  Model model(mlp.builder.spec());
  std::vector<std::thread> threads;
  std::vector<int> failures(64, 0);
  for (int t = 0; t < 64; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 8; ++i) {
        const std::int64_t rows = 1 + (t * 7 + i * 5) % 64;
        Buffer<float> x({rows, kIn}, random_values(static_cast<std::size_t>(rows * kIn), 7));
        aotbuild_tensor in = x.tensor();
        aotbuild_tensor out = to_allocate();
        aotbuild_result* result = nullptr;
        if (aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, &result) != AOTBUILD_OK) ++failures[t];
        const std::vector<double> expected = mlp.reference(x.values, rows);
        for (std::size_t k = 0; k < expected.size(); ++k) {
          if (std::fabs(static_cast<float*>(out.data)[k] - expected[k]) > 1e-4) ++failures[t];
        }
        aotbuild_result_destroy(result);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 0; t < 64; ++t) EXPECT_EQ(failures[t], 0) << t;
}

}  // namespace
