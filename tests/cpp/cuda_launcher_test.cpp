// Launchers of hand-written kernels over the stand-in driver: grids, streams, checked arguments, errors by name.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "aotbuild/detail/launcher.hpp"
#include "aotbuild/kernel.hpp"
#include "fake_cuda/driver.hpp"
#include "fake_cuda/fake_cuda.hpp"

namespace {

using aotbuild::detail::argument_value;
using aotbuild::detail::CudaImageKind;
using aotbuild::detail::CudaKernelSpec;
using aotbuild::detail::CudaVariantSpec;
using aotbuild::detail::LauncherSpec;
using aotbuild::detail::VariantSpec;

std::vector<unsigned> seen_grid;

// x[i] *= factor for the first `count`
int scale(const fake_cuda::Launch& launch, void** arguments) {
  seen_grid.assign(launch.grid, launch.grid + 3);
  auto* const x = argument_value<float*>(arguments[0]);
  const auto count = argument_value<std::int32_t>(arguments[1]);
  const auto factor = argument_value<float>(arguments[2]);
  for (std::int32_t i = 0; i < count; ++i) x[i] *= factor;
  return 0;
}

// cdiv(count, 4), 8 // count - 1, 1
void grid(const void* const* arguments, std::int64_t* blocks) {
  const auto count = std::int64_t{argument_value<std::int32_t>(arguments[1])};
  blocks[0] = aotbuild::detail::cdiv(count, 4);
  blocks[1] = aotbuild::detail::floor_div(8, count) - 1;
  blocks[2] = 1;
}

constexpr aotbuild::detail::KernelParameterSpec kParameters[] = {
    {"x", true, 8, 16}, {"count", false, 4, 2}, {"factor", false, 4, 1}};
constexpr const char* kGrid[] = {"cdiv(count, 4)", "8 // count - 1", "1"};
constexpr aotbuild::detail::GridFunction kGrids[] = {grid};

class Launcher : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("AOTBUILD_CUDA_DRIVER", AOTBUILD_FAKE_CUDA, 1);
    fake_cuda::reset();
    fake_cuda::add_kernel("scale", scale, {8, 4, 4, 8, 8});
    image_ = fake_cuda::make_image(90, {"scale"});
    kernel_ = {"scale", image_.data(), image_.size(), 128, 0, 1, 5, false, false};
    cuda_ = {90, CudaImageKind::kArchitectureSpecific, 0, 1, &kernel_};
    variant_ = {"sm_90", nullptr, nullptr, &cuda_};
    ASSERT_EQ(cuInit(0), 0);
    ASSERT_EQ(cuDevicePrimaryCtxRetain(&context_, 0), 0);
    ASSERT_EQ(cuCtxPushCurrent_v2(context_), 0);
    ASSERT_EQ(cuStreamCreate(&stream_, 1), 0);
    ASSERT_EQ(cuMemAlloc_v2(&memory_, 64), 0);
  }
  void TearDown() override {
    cuStreamSynchronize(stream_);
    cuStreamDestroy_v2(stream_);
    cuMemFree_v2(memory_);
    cuCtxPopCurrent_v2(&context_);
    cuDevicePrimaryCtxRelease_v2(0);
    EXPECT_TRUE(fake_cuda::live().none());
    for (const std::string& violation : fake_cuda::violations()) ADD_FAILURE() << violation;
  }

  float* data() const { return reinterpret_cast<float*>(memory_); }

  aotbuild_status create(aotbuild_kernel** kernel, int device = 0) {
    return aotbuild_kernel_create(&spec_, device, kernel);
  }

  // "" or the error
  std::string launch(const aotbuild_kernel* kernel, float* x, std::int32_t count) {
    float factor = 3;
    void* none = nullptr;
    void* arguments[] = {&x, &count, &factor, &none, &none};
    const aotbuild_status status = aotbuild_kernel_launch(kernel, stream_, arguments);
    EXPECT_TRUE(status == AOTBUILD_OK || status == AOTBUILD_INVALID_ARGUMENT);
    return status == AOTBUILD_OK ? "" : aotbuild_last_error();
  }

  std::vector<unsigned char> image_;
  CudaKernelSpec kernel_{};
  CudaVariantSpec cuda_{};
  VariantSpec variant_{};
  const LauncherSpec spec_ = {"scaled", 3, kParameters, kGrid, 1, &variant_, kGrids};
  void* context_ = nullptr;
  void* stream_ = nullptr;
  unsigned long long memory_ = 0;
};

TEST_F(Launcher, LaunchesOnTheStreamWithTheGridOfItsArguments) {
  aotbuild_kernel* kernel = nullptr;
  ASSERT_EQ(create(&kernel), AOTBUILD_OK) << aotbuild_last_error();
  const std::size_t depth = fake_cuda::context_depth();
  for (int i = 0; i < 4; ++i) data()[i] = 1;
  EXPECT_EQ(launch(kernel, data(), 4), "");
  EXPECT_EQ(data()[3], 1);  // only queued
  cuStreamSynchronize(stream_);
  EXPECT_EQ(data()[3], 3);
  EXPECT_EQ(seen_grid, (std::vector<unsigned>{1, 1, 1}));
  EXPECT_EQ(fake_cuda::context_depth(), depth);
  aotbuild_kernel_destroy(kernel);
}

TEST_F(Launcher, NoBlocksAreNoLaunch) {
  aotbuild_kernel* kernel = nullptr;
  ASSERT_EQ(create(&kernel), AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(launch(kernel, nullptr, 8), "");
  EXPECT_EQ(fake_cuda::calls("cuLaunchKernel"), 0);
  aotbuild_kernel_destroy(kernel);
}

TEST_F(Launcher, WrongArgumentsAreRefusedByName) {
  aotbuild_kernel* kernel = nullptr;
  ASSERT_EQ(create(&kernel), AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(launch(kernel, nullptr, 4), "scaled: argument 'x' is null");
  EXPECT_EQ(launch(kernel, data() + 1, 4),
            "scaled: argument 'x' points to an address that is no multiple of 16, as its type in SIGNATURE promises");
  EXPECT_EQ(launch(kernel, data(), 3),
            "scaled: argument 'count' is 3, no multiple of 2, as its type in SIGNATURE promises");
  EXPECT_EQ(launch(kernel, data(), 16),
            "scaled: GRID 8 // count - 1 is -1 with these arguments; CUDA allows 0 to 65535 blocks in y");
  EXPECT_EQ(launch(kernel, data(), 0),
            "scaled: GRID divides by 0 with these arguments: cdiv(count, 4), 8 // count - 1, 1");
  EXPECT_EQ(launch(nullptr, data(), 4), "aotbuild_kernel_launch: the kernel is null");
  EXPECT_EQ(fake_cuda::calls("cuLaunchKernel"), 0);
  aotbuild_kernel_destroy(kernel);
}

TEST_F(Launcher, DevicesThatDoNotServe) {
  aotbuild_kernel* kernel = nullptr;
  EXPECT_EQ(create(&kernel, 4), AOTBUILD_UNSUPPORTED_HARDWARE);
  EXPECT_STREQ(aotbuild_last_error(),
               "scaled: the program asks for CUDA device 4, but this machine has 1 that it may use "
               "(CUDA_VISIBLE_DEVICES hides devices)");
  cuda_.architecture = 100;
  variant_.isa = "sm_100";
  EXPECT_EQ(create(&kernel), AOTBUILD_UNSUPPORTED_HARDWARE);
  EXPECT_STREQ(aotbuild_last_error(),
               "scaled: device 0 (Fake 0, compute capability 9.0) loads none of the architectures that it was built "
               "for: sm_100; add 90 to CUDA_ARCHITECTURES");
  EXPECT_EQ(kernel, nullptr);
  EXPECT_EQ(create(nullptr), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(aotbuild_last_error(), "scaled: nowhere to put the kernel");
}

TEST(Grid, DividesAsPythonDoes) {
  using namespace aotbuild::detail;
  EXPECT_EQ(floor_div(7, 2), 3);
  EXPECT_EQ(floor_div(-7, 2), -4);
  EXPECT_EQ(modulo(-7, 2), 1);
  EXPECT_EQ(modulo(7, -2), -1);
  EXPECT_EQ(cdiv(7, 2), 4);
  EXPECT_EQ(cdiv(-7, 2), -3);
  EXPECT_THROW(modulo(1, 0), std::domain_error);
}

TEST(DevicePointer, IsMadeOfPointersAndTensorsOfTheDevice) {
  float value = 0;
  const aotbuild::DevicePointer<const float> raw = &value;
  EXPECT_EQ(raw.data(), &value);
  EXPECT_EQ(raw.device(), -1);
  const aotbuild::DeviceView<float, 1> view(&value, {1}, 2);
  const aotbuild::DevicePointer<const float> of_view = view;
  EXPECT_EQ(of_view.data(), &value);
  EXPECT_EQ(of_view.device(), 2);
  aotbuild::DeviceTensor<float, 1> tensor(view, nullptr);
  EXPECT_EQ(aotbuild::DevicePointer<float>(tensor).device(), 2);
  const aotbuild::DeviceTensor<float, 1>& constant = tensor;
  EXPECT_EQ(aotbuild::DevicePointer<const float>(constant).data(), &value);
  static_assert(!std::is_convertible_v<const aotbuild::DeviceTensor<float, 1>&, aotbuild::DevicePointer<float>>);
  static_assert(!std::is_convertible_v<double*, aotbuild::DevicePointer<float>>);
}

}  // namespace
