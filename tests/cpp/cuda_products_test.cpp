// Products by cuBLASLt, over the stand-ins for it and for the driver.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "aotbuild/detail/cuda_spec.hpp"
#include "base/error.hpp"
#include "cuda/kernels.hpp"
#include "cuda/workspace.hpp"
#include "environment.hpp"
#include "fake_cuda/driver.hpp"
#include "fake_cuda/fake_cublaslt.hpp"
#include "fake_cuda/fake_cuda.hpp"

namespace {

using aotbuild::detail::CudaImageKind;
using aotbuild::detail::CudaKernelSpec;
using aotbuild::detail::CudaProductSpec;
using aotbuild::detail::CudaVariantSpec;
namespace cuda = aotbuild::detail::cuda;

constexpr std::int32_t kFloat32 = 6;
constexpr double kKernelMicroseconds = 10;

CudaProductSpec described;  // NOLINT: what the stand-in kernel computes
int kernel_launches = 0;    // NOLINT

// out = a @ b + bias, by the strides of `described`
void multiply(const float* a, const float* b, const float* bias, float* out) {
  const auto& [batch, m, n, k] = described.sizes;
  const auto& s = described.a_strides;
  const auto& t = described.b_strides;
  for (std::int64_t q = 0; q < batch; ++q) {
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        float sum = bias != nullptr ? bias[j] : 0;
        for (std::int64_t l = 0; l < k; ++l) {
          sum += a[q * s[0] + i * s[1] + l * s[2]] * b[q * t[0] + l * t[1] + j * t[2]];
        }
        out[(q * m + i) * n + j] = sum;
      }
    }
  }
}

class CudaProducts : public ::testing::Test {
 protected:
  void SetUp() override {
    set_variable("AOTBUILD_CUDA_DRIVER", AOTBUILD_FAKE_CUDA);
    set_variable("AOTBUILD_CUBLASLT", AOTBUILD_FAKE_CUBLASLT);
    fake_cuda::reset();
    fake_cublaslt::reset();
    kernel_launches = 0;
    described = {0, kFloat32, {1, 2, 3, 4}, {0, 4, 1}, {0, 3, 1}, 0, 1, 2, 3, {1, 1, 1}};
    fake_cuda::add_kernel("multiply",
                          [](const fake_cuda::Launch&, void** arguments) {
                            fake_cuda::advance(kKernelMicroseconds);
                            ++kernel_launches;
                            const auto pointer = [&](int i) { return *static_cast<float**>(arguments[i]); };
                            multiply(pointer(described.a), pointer(described.b),
                                     described.bias >= 0 ? pointer(described.bias) : nullptr, pointer(described.out));
                            return 0;
                          },
                          {8, 8, 8, 8, 8, 8});
    device_ = std::make_shared<cuda::CudaDevice>(cuda::open_driver("net"), 0, "net");
  }
  void TearDown() override {
    device_ = nullptr;
    EXPECT_TRUE(fake_cuda::live().none());
    EXPECT_EQ(fake_cublaslt::live(), 0);
    EXPECT_EQ(fake_cuda::violations(), std::vector<std::string>());
  }

  // The kernel of `described` on the device, its operands, and what it computes.
  struct Product {
    Product(const std::shared_ptr<cuda::CudaDevice>& device, bool is_offered)
        : image(fake_cuda::make_image(90, {"multiply"})),
          kernel{"multiply", image.data(), image.size(), 128, 0, 1, 6, false, true},
          variant(variant_of(&kernel, is_offered)),
          kernels(device, variant),
          stream(device) {
      for (int i = 0; i < 4; ++i) {
        buffers.push_back(std::make_unique<cuda::DeviceBuffer>(device, 1024, "a test"));
        values.push_back(static_cast<float*>(buffers.back()->data()));
        for (int j = 0; j < 256; ++j) values.back()[j] = static_cast<float>((7 * i + 3 * j) % 11 - 5);
      }
      for (std::size_t i = 0; i < 6; ++i) arguments.push_back(i < 4 ? static_cast<void*>(&values[i]) : &none);
    }
    void launch(bool* follows_kernel) { kernels.launch(0, 1, 1, 1, arguments.data(), stream.get(), follows_kernel); }
    void expect_result() const {
      std::vector<float> expected(
          static_cast<std::size_t>(described.sizes[0] * described.sizes[1] * described.sizes[2]));
      multiply(values[0], values[1], described.bias >= 0 ? values[2] : nullptr, expected.data());
      EXPECT_EQ(std::vector<float>(values[3], values[3] + expected.size()), expected);
    }
    static CudaVariantSpec variant_of(const CudaKernelSpec* kernel, bool is_offered) {
      CudaVariantSpec variant{90, CudaImageKind::kCubin, 0, 1, kernel};
      variant.product_count = is_offered ? 1 : 0;
      variant.products = &described;
      return variant;
    }

    std::vector<unsigned char> image;
    CudaKernelSpec kernel;
    CudaVariantSpec variant;
    cuda::CudaKernels kernels;
    cuda::OwnedStream stream;
    std::vector<std::unique_ptr<cuda::DeviceBuffer>> buffers;
    std::vector<float*> values;
    std::vector<void*> arguments;
    void* none = nullptr;
  };

  // Whether the library computes what `described` says; the result is right in both cases.
  bool uses_library(bool is_offered = true) {
    const cuda::ContextScope scope(*device_);
    Product product(device_, is_offered);
    const int launches = kernel_launches;
    const int products = fake_cublaslt::products();
    bool follows_kernel = false;
    product.launch(&follows_kernel);
    synchronize(product);
    const bool is_used = fake_cublaslt::products() == products + 1;
    EXPECT_EQ(kernel_launches, launches + (is_used ? 0 : 1));
    EXPECT_EQ(follows_kernel, !is_used);
    follows_kernel = true;
    product.launch(&follows_kernel);
    EXPECT_EQ(follows_kernel, !is_used) << "what cuBLASLt launches is not known";
    synchronize(product);
    product.expect_result();
    return is_used;
  }

  void synchronize(const Product& product) {
    device_->check(device_->driver().stream_synchronize(product.stream.get()), "cuStreamSynchronize");
  }

  std::shared_ptr<cuda::CudaDevice> device_;
};

TEST_F(CudaProducts, AreTheLibrarysWhereItIsFaster) { EXPECT_TRUE(uses_library()); }

TEST_F(CudaProducts, OfEveryLayout) {
  for (const bool has_bias : {true, false}) {
    for (const bool a_transposed : {false, true}) {
      for (const bool b_transposed : {false, true}) {
        for (const std::int64_t batch : {1, 3}) {
          described = {0, kFloat32, {batch, 2, 3, 4}, {}, {}, 0, 1, has_bias ? 2 : -1, 3, {1, 1, 1}};
          const std::int64_t a[] = {40, a_transposed ? 1 : 5, a_transposed ? 6 : 1};
          const std::int64_t b[] = {50, b_transposed ? 1 : 7, b_transposed ? 8 : 1};
          std::copy(a, a + 3, described.a_strides);
          std::copy(b, b + 3, described.b_strides);
          EXPECT_TRUE(uses_library()) << has_bias << a_transposed << b_transposed << batch;
        }
      }
    }
  }
}

TEST_F(CudaProducts, AreTheKernelsWhereTheLibraryIsNotFaster) {
  fake_cublaslt::set_microseconds(kKernelMicroseconds);
  EXPECT_FALSE(uses_library());
}

TEST_F(CudaProducts, AreTheKernelsWhereTheLibraryHasNoneOfItsOwn) {
  fake_cublaslt::support_nothing();
  EXPECT_FALSE(uses_library());
}

TEST_F(CudaProducts, AreTheKernelsWithoutTheLibrary) {
  set_variable("AOTBUILD_CUBLASLT", "/nowhere/libcublasLt.so");
  EXPECT_FALSE(uses_library());
  set_variable("AOTBUILD_CUBLASLT", AOTBUILD_FAKE_CUDA);  // a library, but another
  EXPECT_FALSE(uses_library());
}

TEST_F(CudaProducts, AreTheKernelsWhereTheModelDoesNotAskForTheLibrary) {
  EXPECT_FALSE(uses_library(false));
  EXPECT_EQ(fake_cublaslt::products(), 0);
}

TEST_F(CudaProducts, AreTheKernelsWithoutMemoryToTimeThem) {
  fake_cuda::fail("cuMemAlloc_v2", 2, 0, 1);
  EXPECT_FALSE(uses_library());
}

// Whichever call fails, of the library or of the driver: without the library the result is as right, and what the
// driver refuses is an error after which nothing is left.
TEST_F(CudaProducts, AnyCallOfTheLibraryMayFail) {
  long of_the_library = 0;
  std::string failed = "none yet";
  for (long number = 0; !failed.empty(); ++number) {
    const auto has_failed = [&failed](const char* word) { return failed.find(word) != std::string::npos; };
    {
      const cuda::ContextScope scope(*device_);
      constexpr int kInternalError = 14;  // CUBLAS_STATUS_INTERNAL_ERROR
      fake_cuda::fail_call(number, kInternalError);
      try {
        Product product(device_, true);
        for (int i = 0; i < 2; ++i) {
          std::fill_n(product.values[3], 256, 0.0F);
          bool follows_kernel = false;
          product.launch(&follows_kernel);
          synchronize(product);
          product.expect_result();
        }
      } catch (const aotbuild::detail::Error&) {
        EXPECT_EQ(fake_cuda::failed_call().find("cublasLt"), std::string::npos) << fake_cuda::failed_call();
      }
      failed = fake_cuda::failed_call();
      fake_cuda::fail_call(-1, 0);
    }
    of_the_library += has_failed("cublasLt") ? 1 : 0;
    for (void* popped = nullptr; fake_cuda::context_depth() > 0;) cuCtxPopCurrent_v2(&popped);
    device_ = nullptr;
    EXPECT_EQ(fake_cublaslt::live(), 0) << number << ", " << failed;
    // What the driver has refused to free stays.
    if (!has_failed("Destroy") && !has_failed("Free") && !has_failed("Unload")) {
      EXPECT_TRUE(fake_cuda::live().none()) << number << ", " << failed;
    }
    SetUp();
  }
  EXPECT_GT(of_the_library, 50);
  std::printf("calls of cuBLASLt that failed: %ld\n", of_the_library);
}

}  // namespace
