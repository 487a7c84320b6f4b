// Operators against plain loops: the shim's tensors, copies, matrix products, convolutions and indexed writes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>

#include "runtime_test_model.hpp"

namespace {

using namespace aotbuild::testing;
using aotbuild::detail::Activation;
using aotbuild::detail::CallContext;
using aotbuild::detail::ConvolutionSpec;

constexpr std::int32_t kInt64Type = 4, kFloat64Type = 7, kHalfType = 5, kComplex128Type = 10, kBFloat16Type = 15,
                       kBoolType = 11;

std::vector<std::int64_t> dense(const std::vector<std::int64_t>& sizes) {
  std::vector<std::int64_t> strides(sizes.size());
  std::int64_t stride = 1;
  for (std::size_t d = sizes.size(); d-- > 0; stride *= sizes[d]) strides[d] = stride;
  return strides;
}

struct Handle {
  AtenTensorHandle value = nullptr;
  Handle() = default;
  Handle(void* data, const std::vector<std::int64_t>& sizes, std::vector<std::int64_t> strides = {},
         std::int32_t dtype = kFloat32) {
    if (strides.empty()) strides = dense(sizes);
    EXPECT_EQ(aoti_torch_create_tensor_from_blob(data, static_cast<std::int64_t>(sizes.size()), sizes.data(),
                                                 strides.data(), 0, dtype, 0, 0, &value),
              0)
        << aotbuild_last_error();
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { aoti_torch_delete_tensor_object(value); }
  template <typename T>
  T* data() const {
    void* pointer = nullptr;
    EXPECT_EQ(aoti_torch_get_data_ptr(value, &pointer), 0) << aotbuild_last_error();
    return static_cast<T*>(pointer);
  }
};

#define EXPECT_SHIM_OK(call) EXPECT_EQ(call, 0) << aotbuild_last_error()

TEST(Shim, MessagesStartWithTheNameOfTheFunction) {
  std::int64_t value = 0;
  EXPECT_EQ(aoti_torch_get_dim(nullptr, &value), 1);
  EXPECT_STREQ(aotbuild_last_error(), "aoti_torch_get_dim: argument 'tensor' is null");
  const std::int64_t sizes[] = {INT64_MAX / 2, 8};
  const std::int64_t strides[] = {8, 1};
  AtenTensorHandle tensor = nullptr;
  EXPECT_EQ(aoti_torch_empty_strided(2, sizes, strides, kFloat32, 0, 0, &tensor), 1);
  EXPECT_EQ(tensor, nullptr);
  EXPECT_EQ(aoti_torch_empty_strided(2, sizes, strides, 99, 0, 0, &tensor), 1);
  EXPECT_STREQ(aotbuild_last_error(), "aoti_torch_empty_strided: there is no element type with the number 99");
}

TEST(Shim, ViewsShareStorageAndHandlesAreIndependent) {
  std::vector<float> values = random_values(24, 1);
  Handle base(values.data(), {4, 6});
  const std::int64_t sizes[] = {3, 2};
  const std::int64_t strides[] = {6, 2};
  Handle view, again;
  EXPECT_SHIM_OK(aoti_torch__reinterpret_tensor(base.value, 2, sizes, strides, 7, &view.value));
  EXPECT_EQ(view.data<float>(), values.data() + 7);
  EXPECT_SHIM_OK(aoti_torch__reinterpret_tensor(view.value, 2, sizes, strides, 1, &again.value));
  EXPECT_EQ(again.data<float>(), values.data() + 8);  // the offset is an increment, as upstream
  std::int64_t offset = 0;
  EXPECT_SHIM_OK(aoti_torch_get_storage_offset(again.value, &offset));
  EXPECT_EQ(offset, 8);
  Handle clone;
  EXPECT_SHIM_OK(aoti_torch_clone(view.value, &clone.value));
  EXPECT_EQ(clone.data<float>()[3], values[7 + 6 + 2]);
}

TEST(Shim, TensorsOfMoreThanEightDimensions) {
  const std::vector<std::int64_t> sizes{1, 2, 1, 2, 1, 2, 1, 2, 1, 2};
  std::vector<float> values = random_values(32, 1);
  Handle base(values.data(), sizes);
  Handle clone, other;
  EXPECT_SHIM_OK(aoti_torch_clone(base.value, &clone.value));
  EXPECT_SHIM_OK(aoti_torch_new_tensor_handle(clone.value, &other.value));
  std::int64_t size = 0;
  EXPECT_SHIM_OK(aoti_torch_get_size(other.value, -1, &size));
  EXPECT_EQ(size, 2);
  EXPECT_EQ(other.data<float>()[31], values[31]);
}

TEST(Shim, CopyConvertsBroadcastsAndFollowsStrides) {
  std::vector<float> source{1.5F, -2.5F, 3.0F};
  std::vector<std::int64_t> out(6, 0);
  Handle from(source.data(), {3});
  Handle to(out.data(), {2, 3}, {1, 2}, kInt64Type);
  EXPECT_SHIM_OK(aoti_torch_copy_(to.value, from.value, 0));
  EXPECT_EQ(out, (std::vector<std::int64_t>{1, 1, -2, -2, 3, 3}));
  std::vector<std::uint16_t> half(3), brain(3);
  Handle to_half(half.data(), {3}, {}, kHalfType);
  Handle to_brain(brain.data(), {3}, {}, kBFloat16Type);
  EXPECT_SHIM_OK(aoti_torch_copy_(to_half.value, from.value, 0));
  EXPECT_SHIM_OK(aoti_torch_copy_(to_brain.value, from.value, 0));
  EXPECT_EQ(half, (std::vector<std::uint16_t>{0x3e00, 0xc100, 0x4200}));
  EXPECT_EQ(brain, (std::vector<std::uint16_t>{0x3fc0, 0xc020, 0x4040}));
  Handle wrong(source.data(), {3, 1});
  EXPECT_EQ(aoti_torch_copy_(from.value, wrong.value, 0), 1);
  EXPECT_STREQ(aotbuild_last_error(), "aoti_torch_copy_: cannot copy a tensor of sizes (3, 1) to one of sizes (3,)");
}

TEST(Shim, HalfConversionIsExactOverAllValues) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    auto half = static_cast<std::uint16_t>(bits);
    float value = 0;
    Handle from(&half, {}, {}, kHalfType);
    Handle to(&value, {});
    ASSERT_EQ(aoti_torch_copy_(to.value, from.value, 0), 0);
    if (std::isnan(value)) continue;
    std::uint16_t back = 0;
    Handle to_half(&back, {}, {}, kHalfType);
    ASSERT_EQ(aoti_torch_copy_(to_half.value, to.value, 0), 0);
    ASSERT_EQ(back, half);
  }
}

TEST(Shim, ItemsAndScalars) {
  Handle tensor;
  EXPECT_SHIM_OK(aoti_torch_scalar_to_tensor_int64(-7, &tensor.value));
  std::int64_t whole = 0;
  double real = 0;
  EXPECT_SHIM_OK(aoti_torch_item_int64(tensor.value, &whole));
  EXPECT_SHIM_OK(aoti_torch_item_float64(tensor.value, &real));
  EXPECT_EQ(whole, -7);
  EXPECT_EQ(real, -7.0);
}

// Every way that matrices can lie: transposed, with gaps, expanded, windows that overlap, in two element types.
template <typename T>
void check_products(std::int32_t dtype, double tolerance) {
  const std::int64_t m = 5, n = 7, k = 6, batch = 3;
  std::vector<T> a(400), b(400), c(400);
  const std::vector<float> random = random_values(1200, 5);
  for (std::size_t i = 0; i < 400; ++i) {
    a[i] = static_cast<T>(random[i]);
    b[i] = static_cast<T>(random[400 + i]);
    c[i] = static_cast<T>(random[800 + i]);
  }
  const std::vector<std::vector<std::int64_t>> a_layouts{
      {m * k, k, 1}, {m * k, 1, m}, {m * k * 2, k + 3, 1}, {0, k, 1}, {50, 2 * k, 2}, {30, 1, 1}, {40, 0, 1}};
  const std::vector<std::vector<std::int64_t>> b_layouts{{k * n, n, 1}, {k * n, 1, k}, {0, 1, k + 1}, {60, n, 0}};
  const std::vector<std::vector<std::int64_t>> c_layouts{{m * n, n, 1}, {0, 0, 1}, {0, 1, 0}, {m * n, 1, m}};
  for (const auto& as : a_layouts) {
    for (const auto& bs : b_layouts) {
      for (const auto& cs : c_layouts) {
        for (const auto& [alpha, beta] : {std::pair(1.0, 1.0), std::pair(0.5, 2.0), std::pair(1.0, 0.0)}) {
          std::vector<T> out(static_cast<std::size_t>(batch * m * n), static_cast<T>(NAN));
          Handle out_h(out.data(), {batch, m, n}, {}, dtype), a_h(a.data(), {batch, m, k}, as, dtype),
              b_h(b.data(), {batch, k, n}, bs, dtype), c_h(c.data(), {batch, m, n}, cs, dtype);
          ASSERT_EQ(aoti_torch_cpu_baddbmm_out(out_h.value, c_h.value, a_h.value, b_h.value, beta, alpha), 0)
              << aotbuild_last_error();
          for (std::int64_t i = 0; i < batch * m * n; ++i) {
            const std::int64_t z = i / (m * n), y = i / n % m, x = i % n;
            double sum = 0;
            for (std::int64_t t = 0; t < k; ++t) {
              sum += double{a[z * as[0] + y * as[1] + t * as[2]]} * double{b[z * bs[0] + t * bs[1] + x * bs[2]]};
            }
            const double expected = alpha * sum + beta * double{c[z * cs[0] + y * cs[1] + x * cs[2]]};
            ASSERT_NEAR(out[i], expected, tolerance) << i;
          }
        }
      }
    }
  }
}

TEST(Matmul, Float32OfAnyStrides) { check_products<float>(kFloat32, 1e-4); }
TEST(Matmul, Float64OfAnyStrides) { check_products<double>(kFloat64Type, 1e-12); }

TEST(Matmul, BiasIsARowAndIntegersWrap) {
  std::vector<float> a = random_values(12, 1), b = random_values(20, 2), bias = random_values(5, 3), out(15);
  Handle a_h(a.data(), {3, 4}), b_h(b.data(), {4, 5}), bias_h(bias.data(), {5}), out_h(out.data(), {3, 5});
  EXPECT_SHIM_OK(aoti_torch_cpu_addmm_out(out_h.value, bias_h.value, a_h.value, b_h.value, 1, 1));
  double expected = bias[1];
  for (int k = 0; k < 4; ++k) expected += double{a[8 + k]} * double{b[5 * k + 1]};
  EXPECT_NEAR(out[11], expected, 1e-5);
  std::vector<std::int64_t> x{INT64_MAX, 2}, y{2, 3}, z(1);
  Handle x_h(x.data(), {1, 2}, {}, kInt64Type), y_h(y.data(), {2, 1}, {}, kInt64Type),
      z_h(z.data(), {1, 1}, {}, kInt64Type);
  EXPECT_SHIM_OK(aoti_torch_cpu_mm_out(z_h.value, x_h.value, y_h.value));
  EXPECT_EQ(z[0], 4);
}

TEST(Matmul, NoColumnsToSumGivesTheAddend) {
  std::vector<float> empty(1), bias{1, 2}, out(4, NAN);
  Handle a(empty.data(), {2, 0}), b(empty.data(), {0, 2}), bias_h(bias.data(), {2}), out_h(out.data(), {2, 2});
  EXPECT_SHIM_OK(aoti_torch_cpu_addmm_out(out_h.value, bias_h.value, a.value, b.value, 1, 1));
  EXPECT_EQ(out, (std::vector<float>{1, 2, 1, 2}));
  EXPECT_EQ(aoti_torch_cpu_mm_out(out_h.value, a.value, a.value), 1);
  EXPECT_STREQ(aotbuild_last_error(), "aoti_torch_cpu_mm_out: sizes do not fit: (2, 0) @ (2, 0) to (2, 2)");
}

struct ConvolutionCase {
  const char* name;
  int rank;
  bool transposed;
  std::int64_t groups, in, out, kernel, stride, padding, dilation, output_padding;
};

// Without it GoogleTest prints the bytes of pointers, which differ from run to run.
void PrintTo(const ConvolutionCase& convolution, std::ostream* stream) { *stream << convolution.name; }

// The definition, as a sum over all pairs of positions.
std::vector<double> reference(const ConvolutionCase& c, const std::vector<float>& x, const std::vector<float>& w,
                              const std::vector<float>& bias, std::int64_t size, std::int64_t out_size) {
  const std::int64_t batch = 2;
  const auto power = [&](std::int64_t value) { return static_cast<std::int64_t>(std::pow(value, c.rank) + 0.5); };
  const std::int64_t in_area = power(size), out_area = power(out_size), k_area = power(c.kernel);
  const std::int64_t in_group = c.in / c.groups, out_group = c.out / c.groups;
  std::vector<double> y(static_cast<std::size_t>(batch * c.out * out_area));
  for (std::int64_t i = 0; i < batch * c.out * out_area; ++i) y[i] = bias[i / out_area % c.out];
  for (std::int64_t n = 0; n < batch; ++n) {
    for (std::int64_t ic = 0; ic < c.in; ++ic) {
      const std::int64_t group = ic / in_group;
      for (std::int64_t j = 0; j < out_group; ++j) {
        const std::int64_t oc = group * out_group + j;
        for (std::int64_t k = 0; k < k_area; ++k) {
          const std::int64_t weight =
              c.transposed ? (ic * out_group + j) * k_area + k : (oc * in_group + ic % in_group) * k_area + k;
          const std::int64_t small_area = c.transposed ? in_area : out_area;
          for (std::int64_t s = 0; s < small_area; ++s) {
            // The position in the large tensor that (s, k) reaches, one digit for each dimension.
            std::int64_t large = 0, scale = 1, rest_s = s, rest_k = k;
            const std::int64_t small_size = c.transposed ? size : out_size, large_size = c.transposed ? out_size : size;
            bool inside = true;
            for (int d = 0; d < c.rank; ++d) {
              const std::int64_t at = rest_s % small_size * c.stride - c.padding + rest_k % c.kernel * c.dilation;
              inside = inside && at >= 0 && at < large_size;
              large += at * scale;
              scale *= large_size;
              rest_s /= small_size;
              rest_k /= c.kernel;
            }
            if (!inside) continue;
            const std::int64_t in_at = (n * c.in + ic) * in_area + (c.transposed ? s : large);
            const std::int64_t out_at = (n * c.out + oc) * out_area + (c.transposed ? large : s);
            y[out_at] += double{x[in_at]} * double{w[weight]};
          }
        }
      }
    }
  }
  return y;
}

class Convolution : public ::testing::TestWithParam<ConvolutionCase> {
 protected:
  void prepare(std::int64_t size) {
    const ConvolutionCase& c = GetParam();
    const std::int64_t reach = c.dilation * (c.kernel - 1) + 1;
    out_size = c.transposed ? (size - 1) * c.stride - 2 * c.padding + reach + c.output_padding
                            : (size + 2 * c.padding - reach) / c.stride + 1;
    x_sizes = {2, c.in};
    w_sizes = c.transposed ? std::vector<std::int64_t>{c.in, c.out / c.groups}
                           : std::vector<std::int64_t>{c.out, c.in / c.groups};
    y_sizes = {2, c.out};
    for (int d = 0; d < c.rank; ++d) {
      x_sizes.push_back(size);
      w_sizes.push_back(c.kernel);
      y_sizes.push_back(out_size);
    }
    x = random_values(count(x_sizes), 1);
    w = random_values(count(w_sizes), 2);
    bias = random_values(static_cast<std::size_t>(c.out), 3);
    expected = reference(c, x, w, bias, size, out_size);
  }
  static std::size_t count(const std::vector<std::int64_t>& sizes) {
    std::int64_t result = 1;
    for (const std::int64_t size : sizes) result *= size;
    return static_cast<std::size_t>(result);
  }
  std::int64_t out_size = 0;
  std::vector<std::int64_t> x_sizes, w_sizes, y_sizes;
  std::vector<float> x, w, bias;
  std::vector<double> expected;
};

TEST_P(Convolution, OfTensors) {
  const ConvolutionCase& c = GetParam();
  prepare(9);
  for (const std::int32_t dtype : {kFloat32, kFloat64Type}) {
    std::vector<double> xd(x.begin(), x.end()), wd(w.begin(), w.end()), bd(bias.begin(), bias.end());
    const bool wide = dtype == kFloat64Type;
    Handle x_h(wide ? static_cast<void*>(xd.data()) : x.data(), x_sizes, {}, dtype);
    Handle w_h(wide ? static_cast<void*>(wd.data()) : w.data(), w_sizes, {}, dtype);
    Handle b_h(wide ? static_cast<void*>(bd.data()) : bias.data(), {c.out}, {}, dtype);
    Handle y;
    ASSERT_EQ(aoti_torch_cpu_convolution(x_h.value, w_h.value, &b_h.value, &c.stride, 1, &c.padding, 1, &c.dilation, 1,
                                         c.transposed, &c.output_padding, 1, c.groups, &y.value),
              0)
        << aotbuild_last_error();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(wide ? y.data<double>()[i] : double{y.data<float>()[i]}, expected[i], wide ? 1e-10 : 1e-3) << i;
    }
  }
}

void run_convolution(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  // The test passes the output's buffer as the second input, so that its sizes and strides are given.
  aotbuild::detail::context_convolution(context, 0, inputs[0], inputs[1]);
  aoti_torch_new_tensor_handle(inputs[1], &outputs[0]);
}

std::vector<std::int64_t> channels_last(const std::vector<std::int64_t>& sizes) {
  std::vector<std::int64_t> strides(sizes.size());
  std::int64_t stride = sizes[1];
  strides[1] = 1;
  for (std::size_t d = sizes.size(); d-- > 2; stride *= sizes[d]) strides[d] = stride;
  strides[0] = stride;
  return strides;
}

// Packed at one size and used at others, from and to both memory formats.
TEST_P(Convolution, Packed) {
  const ConvolutionCase& c = GetParam();
  for (const auto& [packed_channels_last, with_norm] :
       {std::pair{false, false}, std::pair{true, false}, std::pair{true, true}}) {
    prepare(9);
    const auto channels = static_cast<std::size_t>(c.out);
    const std::vector<float> mean = random_values(channels, 4), scale = random_values(channels, 5);
    std::vector<float> variance = random_values(channels, 6);
    for (float& value : variance) value = 0.5f + value * value;
    ModelBuilder builder(run_convolution);
    ConvolutionSpec spec{};
    spec.weight = 0;
    spec.bias = 1;
    spec.spatial_rank = c.rank;
    spec.transposed = c.transposed;
    spec.channels_last = packed_channels_last;
    spec.groups = c.groups;
    for (int d = 0; d < c.rank; ++d) {
      spec.stride[d] = c.stride;
      spec.padding[d] = c.padding;
      spec.dilation[d] = c.dilation;
      spec.output_padding[d] = c.output_padding;
    }
    std::copy(x_sizes.begin(), x_sizes.end(), spec.input_hint);
    spec.activation = Activation::kRelu;
    std::vector<aotbuild_dim_info> any(x_sizes.size(), dynamic("?", 0, 1000));
    const std::vector<std::int64_t> free_strides(x_sizes.size(), -1);
    builder.input("x", kFloat, any, free_strides)
        .input("target", kFloat, any, free_strides)
        .output("y", kFloat, any, free_strides)
        .weight("weight", w_sizes, w)
        .weight("bias", {c.out}, bias);
    if (with_norm) {
      builder.weight("norm.running_mean", {c.out}, mean)
          .weight("norm.running_var", {c.out}, variance)
          .weight("norm.weight", {c.out}, scale);
      spec.norm_mean = 2;
      spec.norm_variance = 3;
      spec.norm_weight = 4;
      spec.norm_epsilon = 1e-5;
    }
    builder.convolution(spec);
    Model model(builder.spec());
    ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
    for (const std::int64_t size : {9, 13}) {
      prepare(size);
      for (const bool last : {false, true}) {
        Buffer<float> in(x_sizes, std::vector<float>(x.size())), target(y_sizes);
        if (last) {
          in.strides = channels_last(x_sizes);
          target.strides = channels_last(y_sizes);
        }
        Handle from(x.data(), x_sizes), to(in.values.data(), x_sizes, in.strides);
        EXPECT_SHIM_OK(aoti_torch_copy_(to.value, from.value, 0));
        aotbuild_tensor inputs[] = {in.tensor(), target.tensor()};
        Buffer<float> result(y_sizes);
        aotbuild_tensor output = result.tensor();
        ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, inputs, 2, &output, 1, nullptr), AOTBUILD_OK)
            << aotbuild_last_error();
        for (std::size_t i = 0; i < expected.size(); ++i) {
          double value = expected[i];
          if (with_norm) {
            const std::size_t channel = i / (expected.size() / 2 / channels) % channels;
            value = (value - mean[channel]) / std::sqrt(variance[channel] + 1e-5) * scale[channel];
          }
          ASSERT_NEAR(result.values[i], std::max(value, 0.0), 1e-3)
              << i << " size " << size << " channels last " << last << " packed so " << packed_channels_last;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Convolution,
                         ::testing::Values(ConvolutionCase{"plain", 2, false, 1, 3, 16, 3, 1, 1, 1, 0},
                                           ConvolutionCase{"strided", 2, false, 1, 16, 32, 3, 2, 1, 1, 0},
                                           ConvolutionCase{"dilated", 2, false, 1, 8, 8, 3, 1, 2, 2, 0},
                                           ConvolutionCase{"grouped", 2, false, 4, 8, 12, 3, 1, 1, 1, 0},
                                           ConvolutionCase{"depthwise", 2, false, 16, 16, 16, 3, 1, 1, 1, 0},
                                           ConvolutionCase{"pointwise", 2, false, 1, 32, 64, 1, 1, 0, 1, 0},
                                           ConvolutionCase{"rank1", 1, false, 1, 6, 10, 5, 2, 2, 1, 0},
                                           ConvolutionCase{"rank3", 3, false, 1, 4, 6, 3, 2, 1, 1, 0},
                                           ConvolutionCase{"transposed", 2, true, 1, 6, 8, 3, 2, 1, 1, 1},
                                           ConvolutionCase{"transposed_grouped", 2, true, 2, 6, 8, 3, 2, 1, 1, 0},
                                           ConvolutionCase{"transposed_rank1_no_padding", 1, true, 1, 4, 5, 3, 2, 0, 1,
                                                           1}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Scatter, AssignsAddsAndAverages) {
  std::vector<float> out(6, 0), self{1, 2, 3, 4, 5, 6}, source{10, 20, 30, 40};
  std::vector<std::int64_t> index{0, 0, 1, 1};
  Handle out_h(out.data(), {2, 3}), self_h(self.data(), {2, 3}), source_h(source.data(), {2, 2}),
      index_h(index.data(), {2, 2}, {}, kInt64Type);
  EXPECT_SHIM_OK(aoti_torch_scatter_reduce_out(out_h.value, self_h.value, 1, index_h.value, source_h.value, "sum", 1));
  EXPECT_EQ(out, (std::vector<float>{31, 2, 3, 4, 75, 6}));
  EXPECT_SHIM_OK(
      aoti_torch_cpu_scatter_reduce_two_out(out_h.value, self_h.value, 1, index_h.value, source_h.value, "mean", 0));
  EXPECT_EQ(out, (std::vector<float>{15, 2, 3, 4, 35, 6}));
  EXPECT_SHIM_OK(
      aoti_torch_cpu_scatter_reduce_two_out(out_h.value, self_h.value, 1, index_h.value, source_h.value, "amax", 1));
  EXPECT_EQ(out, (std::vector<float>{20, 2, 3, 4, 40, 6}));
  EXPECT_SHIM_OK(aoti_torch_cpu_scatter_value_out(out_h.value, self_h.value, 0, index_h.value, -1));
  EXPECT_EQ(out, (std::vector<float>{-1, -1, 3, -1, -1, 6}));
  index[3] = 7;
  EXPECT_EQ(aoti_torch_scatter_out(out_h.value, self_h.value, 1, index_h.value, source_h.value), 1);
  EXPECT_STREQ(aotbuild_last_error(), "aoti_torch_scatter_out: index 7 is out of bounds for dimension 1 of size 3");
}

TEST(IndexPut, MasksStandForTheIndicesOfTheirElements) {
  std::vector<float> out(6, 0), self(6, 0), values{1, 2};
  std::uint8_t mask[] = {1, 0, 0, 0, 0, 1}, rows[] = {0, 1};
  Handle out_h(out.data(), {2, 3}), self_h(self.data(), {2, 3}), mask_h(mask, {2, 3}, {}, kBoolType),
      rows_h(rows, {2}, {}, kBoolType), values_h(values.data(), {2}), one(values.data() + 1, {1});
  const AtenTensorHandle whole[] = {mask_h.value}, first[] = {rows_h.value};
  EXPECT_SHIM_OK(aoti_torch_index_put_out(out_h.value, self_h.value, whole, 1, values_h.value, false));
  EXPECT_EQ(out, (std::vector<float>{1, 0, 0, 0, 0, 2}));
  EXPECT_SHIM_OK(aoti_torch_index_put_out(out_h.value, out_h.value, first, 1, one.value, true));
  EXPECT_EQ(out, (std::vector<float>{1, 0, 0, 2, 2, 4}));
  const AtenTensorHandle second[] = {nullptr, rows_h.value};
  EXPECT_EQ(aoti_torch_index_put_out(out_h.value, self_h.value, second, 2, one.value, false), 1);
  EXPECT_STREQ(aotbuild_last_error(),
               "aoti_torch_index_put_out: a mask of sizes (2,) at dimension 1 does not fit a tensor of sizes (2, 3)");
}

TEST(IndexPut, NeighbouringAndSeparatedIndices) {
  std::vector<float> out(24, 0), self(24, 0), values{1, 2};
  std::vector<std::int64_t> first{0, -1}, second{2, 2};
  Handle out_h(out.data(), {2, 3, 4}), self_h(self.data(), {2, 3, 4}), first_h(first.data(), {2}, {}, kInt64Type),
      second_h(second.data(), {2}, {}, kInt64Type);
  Handle column(values.data(), {2, 1}), row(values.data(), {2});
  const AtenTensorHandle neighbours[] = {first_h.value, second_h.value};
  EXPECT_SHIM_OK(aoti_torch_index_put_out(out_h.value, self_h.value, neighbours, 2, column.value, false));
  EXPECT_EQ(out[8], 1);   // [0, 2, 0]
  EXPECT_EQ(out[23], 2);  // [-1, 2, 3]
  const AtenTensorHandle separated[] = {first_h.value, nullptr, second_h.value};
  EXPECT_SHIM_OK(aoti_torch_index_put_out(out_h.value, self_h.value, separated, 3, column.value, false));
  EXPECT_EQ(out[6], 1);       // [0, 1, 2]
  EXPECT_EQ(out[12 + 6], 2);  // [1, 1, 2]
  const AtenTensorHandle repeated[] = {nullptr, nullptr, second_h.value};
  EXPECT_SHIM_OK(aoti_torch_index_put_out(out_h.value, self_h.value, repeated, 3, row.value, true));
  EXPECT_EQ(out[2], 3);
  EXPECT_EQ(out[3], 0);
}

TEST(Sort, EqualElementsKeepTheirOrderAndNanIsTheGreatest) {
  std::vector<float> values{2, NAN, 1, 2, -1, 1};
  Handle input(values.data(), {6});
  for (const bool descending : {false, true}) {
    Handle sorted, places;
    EXPECT_SHIM_OK(
        aoti_torch_cpu_sort_stable(input.value, nullptr, 0, descending ? 1 : 0, &sorted.value, &places.value));
    const std::vector<std::int64_t> expected =
        descending ? std::vector<std::int64_t>{1, 0, 3, 2, 5, 4} : std::vector<std::int64_t>{4, 2, 5, 0, 3, 1};
    const auto* const at = places.data<std::int64_t>();
    EXPECT_EQ(std::vector<std::int64_t>(at, at + 6), expected);
    EXPECT_TRUE(std::isnan(sorted.data<float>()[descending ? 0 : 5]));
  }
}

TEST(Kthvalue, EveryRankOfElementsWithTies) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < 101; ++i) values.push_back(i * 37 % 23);
  Handle input(values.data(), {101}, {}, kInt64Type);
  std::vector<std::int64_t> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  for (std::int64_t k = 1; k <= 101; ++k) {
    Handle value, place;
    EXPECT_SHIM_OK(aoti_torch_cpu_kthvalue(input.value, k, 0, 0, &value.value, &place.value));
    EXPECT_EQ(*value.data<std::int64_t>(), sorted[static_cast<std::size_t>(k - 1)]);
    EXPECT_EQ(values[static_cast<std::size_t>(*place.data<std::int64_t>())], *value.data<std::int64_t>());
  }
}

TEST(Sort, TensorsOfNoDimensionsAreLinesOfOneElement) {
  float value = 3;
  Handle input(&value, {});
  Handle sorted, places, median, place;
  EXPECT_SHIM_OK(aoti_torch_cpu_sort_stable(input.value, nullptr, -1, 0, &sorted.value, &places.value));
  EXPECT_EQ(*sorted.data<float>(), 3);
  EXPECT_SHIM_OK(aoti_torch_cpu_median_dim(input.value, -1, 1, &median.value, &place.value));
  EXPECT_EQ(*median.data<float>(), 3);
  EXPECT_EQ(*place.data<std::int64_t>(), 0);
}

TEST(Histogram, BinsBetweenGivenEdgesAreClosedAtTheLast) {
  std::vector<float> values = {-1, 0, 0.5F, 1, 2, 3, 3.5F, NAN};
  std::vector<float> borders = {0, 1, 3};
  std::vector<float> weights = {9, 1, 2, 3, 4, 5, 9, 9};
  Handle input(values.data(), {8}), edges(borders.data(), {3}), factors(weights.data(), {8});
  const auto bins = [&](AtenTensorHandle* weight, int density) {
    Handle counts, returned;
    EXPECT_SHIM_OK(aoti_torch_cpu_histogram_bins_tensor(input.value, edges.value, weight, density, &counts.value,
                                                        &returned.value));
    EXPECT_EQ(std::vector<float>(returned.data<float>(), returned.data<float>() + 3), borders);
    return std::vector<float>(counts.data<float>(), counts.data<float>() + 2);
  };
  EXPECT_EQ(bins(nullptr, 0), (std::vector<float>{2, 3}));
  EXPECT_EQ(bins(&factors.value, 0), (std::vector<float>{3, 12}));
  EXPECT_EQ(bins(nullptr, 1), (std::vector<float>{2.0F / 5, 3.0F / (5 * 2)}));
}

#ifdef AOTBUILD_TESTS_EIGEN
// Lengths of every kind: 1, small factors, and those with a large prime factor, which take another way.
TEST(Fourier, TransformsOfAnyLengthAreTheDefinition) {
  for (const std::int64_t length : {1, 2, 30, 31, 64, 37, 74, 101}) {
    const auto n = static_cast<std::size_t>(length);
    std::vector<std::complex<double>> signal(n);
    for (std::size_t i = 0; i < n; ++i) signal[i] = {std::sin(1.0 + double(i * i)), std::cos(3.0 * double(i))};
    Handle input(signal.data(), {length}, {}, kComplex128Type);
    const std::int64_t dim = 0;
    Handle spectrum, back;
    EXPECT_SHIM_OK(aoti_torch_cpu__fft_c2c(input.value, &dim, 1, 0, 1, &spectrum.value));
    EXPECT_SHIM_OK(aoti_torch_cpu__fft_c2c(spectrum.value, &dim, 1, 2, 0, &back.value));
    for (std::size_t k = 0; k < n; ++k) {
      std::complex<double> expected = 0;
      for (std::size_t i = 0; i < n; ++i) {
        expected += signal[i] * std::polar(1.0, -2 * 3.14159265358979323846 * double(i * k % n) / double(n));
      }
      EXPECT_LT(std::abs(spectrum.data<std::complex<double>>()[k] - expected), 1e-11) << length << ", " << k;
      EXPECT_LT(std::abs(back.data<std::complex<double>>()[k] - signal[k]), 1e-12) << length << ", " << k;
    }
  }
}
#endif

TEST(Complex, FunctionsTakeAnyStridesAndPowersAreBroadcast) {
  using Number = std::complex<double>;
  std::vector<Number> numbers{{0, 0}, {0, INFINITY}, {-INFINITY, 1}, {1e-20, -1e20}, {-2, 0.5}, {3, -0.0}};
  std::vector<Number> powers{{0.5, 0}, {-1, 2}};
  const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  Handle transposed(numbers.data(), {2, 3}, {1, 2}, kComplex128Type);
  Handle column(powers.data(), {2, 1}, {}, kComplex128Type);
  Handle row(numbers.data(), {3}, {}, kComplex128Type);
  Handle roots, raised;
  EXPECT_SHIM_OK(aoti_torch_cpu_complex_function(transposed.value, "sqrt", &roots.value));
  EXPECT_SHIM_OK(aoti_torch_cpu_complex_power(row.value, column.value, &raised.value));
  for (std::size_t i = 0; i < 6; ++i) {
    const Number root = std::sqrt(numbers[i % 3 * 2 + i / 3]), power = std::pow(numbers[i % 3], powers[i / 3]);
    EXPECT_PRED2(same, roots.data<Number>()[i].real(), root.real()) << i;
    EXPECT_PRED2(same, roots.data<Number>()[i].imag(), root.imag()) << i;
    EXPECT_PRED2(same, raised.data<Number>()[i].real(), power.real()) << i;
    EXPECT_PRED2(same, raised.data<Number>()[i].imag(), power.imag()) << i;
  }
  AtenTensorHandle result = nullptr;
  EXPECT_EQ(aoti_torch_cpu_complex_function(row.value, "erf", &result), 1);
  EXPECT_STREQ(aotbuild_last_error(), "aoti_torch_cpu_complex_function: there is no function 'erf' of complex numbers");
  EXPECT_EQ(result, nullptr);
}

TEST(Shim, IndicesOutOfBoundsAreErrors) {
  std::vector<float> values(6, 1);
  std::vector<std::int64_t> index{0, 3};
  Handle self(values.data(), {3, 2});
  Handle places(index.data(), {2}, {}, kInt64Type);
  Handle source(values.data(), {2, 2});
  AtenTensorHandle result = nullptr;
  EXPECT_EQ(aoti_torch_cpu_index_reduce(self.value, 0, places.value, source.value, "amax", 1, &result), 1);
  EXPECT_STREQ(aotbuild_last_error(), "aoti_torch_cpu_index_reduce: index 3 is out of bounds for size 3");
  AtenTensorHandle indices = nullptr;
  EXPECT_EQ(aoti_torch_cpu_topk(self.value, 3, 1, 1, 1, &result, &indices), 1);
  EXPECT_STREQ(aotbuild_last_error(), "aoti_torch_cpu_topk: k is 3 for a dimension of size 2");
  EXPECT_EQ(result, nullptr);
}

}  // namespace
