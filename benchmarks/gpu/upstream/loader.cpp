// AOTInductor's own C++ loader, timed as tests/gpu/benchmark.cpp times a model of aotbuild's:
// loader <package.pt2> <inputs.pt> <when the process was started, ns of CLOCK_MONOTONIC>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kWarmUp{500};
constexpr std::size_t kCalls = 1000;

double microseconds(Clock::duration duration) { return std::chrono::duration<double, std::micro>(duration).count(); }

long allocations() { return c10::cuda::CUDACachingAllocator::getDeviceStats(0).num_device_alloc; }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s <package.pt2> <inputs.pt> <start, ns>\n", argv[0]);
    return 2;
  }
  const Clock::time_point start(std::chrono::nanoseconds(std::atoll(argv[3])));
  const c10::InferenceMode inference;
  std::ifstream stream(argv[2], std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
  std::vector<at::Tensor> inputs;
  const c10::IValue saved = torch::jit::pickle_load(bytes);
  for (const c10::IValue& value : saved.toListRef()) inputs.push_back(value.toTensor().cuda());
  torch::inductor::AOTIModelPackageLoader loader(argv[1]);
  std::vector<at::Tensor> outputs = loader.run(inputs);
  c10::cuda::device_synchronize();
  const auto warm_up = Clock::now();
  const double first = microseconds(warm_up - start) / 1000;
  while (Clock::now() - warm_up < kWarmUp) {
    outputs = loader.run(inputs);
    c10::cuda::device_synchronize();
  }
  const long before = allocations();
  std::vector<double> times;
  for (std::size_t i = 0; i < kCalls; ++i) {
    const auto begin = Clock::now();
    outputs = loader.run(inputs);
    c10::cuda::device_synchronize();
    times.push_back(microseconds(Clock::now() - begin));
  }
  const auto begin = Clock::now();
  for (std::size_t i = 0; i < kCalls; ++i) outputs = loader.run(inputs);
  c10::cuda::device_synchronize();
  const double queued = microseconds(Clock::now() - begin) / kCalls;
  std::sort(times.begin(), times.end());
  std::printf(
      "{\"kind\": \"aotinductor\", \"first_ms\": %f, \"median_us\": %f, \"p10_us\": %f, \"p90_us\": %f, "
      "\"back_to_back_us\": %f, \"driver_allocations\": %ld}\n",
      first, times[kCalls / 2], times[kCalls / 10], times[kCalls - kCalls / 10], queued, allocations() - before);
  return 0;
}
