// What golden tests do not show, on a GPU: faults that leave process and models alive, streams, threads, graphs.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "driver.hpp"
#include "mlp.hpp"
#include "noise.hpp"
#include "scatter.hpp"

namespace {

using aotbuild::DeviceView;
using aotbuild::Error;
using aotbuild::float16;

constexpr std::int64_t kFeatures = 512;

const Driver& driver() {
  static const Driver instance;
  return instance;
}

template <typename Call>
std::string error_of(aotbuild_status status, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), status) << error.what();
    return error.what();
  }
  return "no error";
}

void expect_in(const std::string& part, const std::string& text) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

struct ScatterInputs {
  std::vector<float> x = std::vector<float>(500 * 16, 1);
  std::vector<std::int64_t> index = std::vector<std::int64_t>(500, 3);
  std::vector<std::int64_t> counts = std::vector<std::int64_t>(100, 0);
  gpu::scatter::Model::Inputs views() { return {{x.data(), {500, 16}}, index, counts}; }
};

std::vector<float16> mlp_input(std::int64_t batch, float value) {
  return std::vector<float16>(static_cast<std::size_t>(batch * kFeatures), float16(value));
}

float mlp_output(const gpu::mlp::Model& model, std::int64_t batch, float value) {
  const auto x = mlp_input(batch, value);
  return static_cast<float>(model.run({{x.data(), {batch, kFeatures}}}).output(batch - 1, 0));
}

TEST(Device, AnIndexOutOfBoundsFailsItsCallAlone) {
  const gpu::mlp::Model other;
  const gpu::scatter::Model model;
  ScatterInputs inputs;
  const float before = mlp_output(other, 2, 1);
  for (const std::int64_t wrong : {std::int64_t{1000}, std::int64_t{-101}, std::int64_t{1} << 40}) {
    for (int i = 0; i < 3; ++i) {  // with kernels, with the capture, with the graph
      inputs.index[7] = wrong;
      expect_in("was given an index out of bounds",
                error_of(AOTBUILD_RUNTIME_ERROR, [&] { model.run(inputs.views()); }));
      inputs.index[7] = 3;
      EXPECT_EQ(model.run(inputs.views()).output_1(3), 500);
    }
  }
  EXPECT_EQ(mlp_output(other, 2, 1), before);
}

TEST(Device, EveryCallDrawsOtherNumbers) {
  const gpu::noise::Model model;
  const std::vector<float> x(1 << 20, 1);
  float last = 0;
  for (int i = 0; i < 4; ++i) {
    const auto outputs = model.run({x});
    EXPECT_NEAR(outputs.output_0(), 0.5, 5e-3);
    EXPECT_NE(outputs.output_0(), last);
    EXPECT_LT(outputs.output_5(), 1e-3) << "draws are repeated";
    last = outputs.output_0();
  }
}

TEST(Device, MemoryAndDevicesThatAreNotWhatTheySay) {
  const gpu::mlp::Model model;
  auto x = mlp_input(1, 1);
  expect_in("CUDA does not know its pointer", error_of(AOTBUILD_INVALID_ARGUMENT, [&] {
              model.run({DeviceView<float16, 2>(x.data(), {1, kFeatures})});
            }));
  expect_in("is on CUDA device 1, but the model is on device 0", error_of(AOTBUILD_INVALID_ARGUMENT, [&] {
              model.run({DeviceView<float16, 2>(x.data(), {1, kFeatures}, 1)});
            }));
  aotbuild::Options options;
  options.device = {AOTBUILD_CUDA, 99};
  expect_in("asks for CUDA device 99, but this machine has",
            error_of(AOTBUILD_UNSUPPORTED_HARDWARE, [&] { gpu::mlp::Model{options}; }));
}

TEST(Device, OutOfMemoryLeavesTheProcessUsable) {
  const gpu::mlp::Model model;
  const float before = mlp_output(model, 2, 1);
  std::vector<void*> taken;
  for (std::size_t nbytes = std::size_t{1} << 36; nbytes >= std::size_t{1} << 16; nbytes /= 2) {
    while (void* memory = driver().try_allocate(nbytes)) taken.push_back(memory);
  }
  error_of(AOTBUILD_OUT_OF_MEMORY, [] { gpu::mlp::Model{}; });
  EXPECT_EQ(mlp_output(model, 2, 1), before);
  for (void* memory : taken) driver().free(memory);
  EXPECT_EQ(mlp_output(gpu::mlp::Model(), 2, 1), before);
}

// The runtime rests on it: memory of weights and results goes while calls may still be queued.
TEST(Device, MemoryIsFreedWhenAllStreamsHaveEnded) {
  constexpr std::size_t kLarge = std::size_t{1} << 32;
  void* const stream = driver().create_stream();
  void* const large = driver().allocate(kLarge);
  void* const small = driver().allocate(1);
  for (unsigned char round = 0; round < 100; ++round) driver().fill(large, round, kLarge, stream);
  EXPECT_FALSE(driver().is_idle(stream));
  driver().free(small);
  EXPECT_TRUE(driver().is_idle(stream));
  driver().free(large);
}

TEST(Device, ThreadsWithStreamsOfTheirOwn) {
  const gpu::mlp::Model model;
  std::vector<float> expected;
  for (int i = 0; i < 4; ++i) expected.push_back(mlp_output(model, 1 + i, static_cast<float>(i)));
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      driver().use();
      void* const stream = driver().create_stream();
      for (int call = 0; call < 100; ++call) {
        const int i = (thread + call) % 4;
        const std::int64_t batch = 1 + i;
        const auto x = mlp_input(batch, static_cast<float>(i));
        void* const memory = driver().upload(x.data(), x.size() * sizeof(float16));
        const DeviceView<float16, 2> view(static_cast<float16*>(memory), {batch, kFeatures});
        auto made = model.run_on_device({view}, stream).output;
        driver().synchronize(stream);
        std::vector<float16> y(static_cast<std::size_t>(made.numel()));
        driver().download(y.data(), made.data(), y.size() * sizeof(float16));
        EXPECT_EQ(static_cast<float>(y[static_cast<std::size_t>((batch - 1) * made.size(1))]),
                  expected[static_cast<std::size_t>(i)]);
        driver().free(memory);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Device, GraphsAreCapturedAhead) {
  const gpu::mlp::Model model;
  model.capture_graph({DeviceView<const float16, 2>(nullptr, {5, kFeatures})});
  EXPECT_TRUE(std::isfinite(mlp_output(model, 5, 1)));
  EXPECT_EQ(model.statistics().graph_replays, 1U);
}

}  // namespace
