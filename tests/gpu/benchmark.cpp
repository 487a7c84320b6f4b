// Times a model with its inputs and outputs on the GPU: microseconds a call, with CUDA graphs and without.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "aotbuild/testing.hpp"
#include MODEL_HEADER

namespace {

using Clock = std::chrono::steady_clock;
using aotbuild::AnyTensorView;
using aotbuild::testing::GoldenFile;

constexpr int kWarmUp = 20;
constexpr int kCalls = 1000;

// The few functions of the driver that a program with its own tensors on the GPU needs.
class Driver {
 public:
  Driver() : library_(dlopen("libcuda.so.1", RTLD_NOW)) {
    if (library_ == nullptr) throw std::runtime_error("no libcuda.so.1");
    void* context = nullptr;
    call<unsigned>("cuInit", 0);
    call<void**, int>("cuDevicePrimaryCtxRetain", &context, 0);
    call<void*>("cuCtxPushCurrent_v2", context);
    call<void**, unsigned>("cuStreamCreate", &stream_, 1);
  }

  void* stream() const { return stream_; }
  void synchronize() const { call<void*>("cuStreamSynchronize", stream_); }

  void* allocate(std::size_t nbytes) const {
    std::uint64_t memory = 0;
    call<std::uint64_t*, std::size_t>("cuMemAlloc_v2", &memory, std::max<std::size_t>(nbytes, 1));
    return reinterpret_cast<void*>(memory);
  }
  void* upload(const void* data, std::size_t nbytes) const {
    void* const memory = allocate(nbytes);
    call<std::uint64_t, const void*, std::size_t>("cuMemcpyHtoD_v2", reinterpret_cast<std::uint64_t>(memory), data,
                                                  nbytes);
    return memory;
  }

 private:
  template <typename... Parameters>
  void call(const char* name, Parameters... arguments) const {
    const auto function = reinterpret_cast<int (*)(Parameters...)>(dlsym(library_, name));
    if (function == nullptr) throw std::runtime_error(std::string("the driver has no ") + name);
    const int result = function(arguments...);
    if (result != 0) throw std::runtime_error(std::string(name) + ": error " + std::to_string(result));
  }

  void* library_;
  void* stream_ = nullptr;
};

std::size_t size_of(const aotbuild_tensor& tensor) {
  std::size_t nbytes = tensor.dtype.bits / 8;
  for (int i = 0; i < tensor.ndim; ++i) nbytes *= static_cast<std::size_t>(tensor.shape[i]);
  return nbytes;
}

double microseconds(Clock::duration duration) { return std::chrono::duration<double, std::micro>(duration).count(); }

class Bench {
 public:
  Bench(const GoldenFile& golden, const std::string& test_case) : info_(*api_.describe()) {
    for (std::size_t i = 0; i < info_.input_count; ++i) add(golden, test_case + "/input/", info_.inputs[i], &inputs_);
    for (std::size_t i = 0; i < info_.output_count; ++i) {
      add(golden, test_case + "/output/", info_.outputs[i], &outputs_);
    }
  }

  void run(int cuda_graphs, Clock::time_point start) {
    aotbuild_options options{};
    options.struct_size = sizeof(options);
    options.cuda_graphs = cuda_graphs;
    aotbuild_model* model = nullptr;
    check(api_.create(&options, &model));
    call(model);
    driver_.synchronize();
    const double first = microseconds(Clock::now() - start) / 1000;
    for (int i = 0; i < kWarmUp; ++i) call(model);
    driver_.synchronize();
    aotbuild_statistics before{};
    aotbuild_statistics after{};
    check(api_.statistics(model, &before));
    std::vector<double> times;
    for (int i = 0; i < kCalls; ++i) {
      const auto begin = Clock::now();
      call(model);
      driver_.synchronize();
      times.push_back(microseconds(Clock::now() - begin));
    }
    const auto begin = Clock::now();
    for (int i = 0; i < kCalls; ++i) call(model);
    driver_.synchronize();
    const double queued = microseconds(Clock::now() - begin) / kCalls;
    check(api_.statistics(model, &after));
    std::nth_element(times.begin(), times.begin() + kCalls / 2, times.end());
    std::printf("%-12s %-8s first %7.1f ms  median %8.1f us  back to back %8.1f us  driver allocations %llu%s%s\n",
                MODEL_NAME, cuda_graphs < 0 ? "launches" : "graph", first, times[kCalls / 2], queued,
                static_cast<unsigned long long>(after.driver_allocations - before.driver_allocations),
                cuda_graphs >= 0 && after.graph_obstacle != nullptr ? "  no graph: " : "",
                cuda_graphs >= 0 && after.graph_obstacle != nullptr ? after.graph_obstacle : "");
    api_.destroy(model);
  }

 private:
  void add(const GoldenFile& golden, const std::string& prefix, const aotbuild_tensor_info& info,
           std::vector<aotbuild_tensor>* tensors) {
    const AnyTensorView view = golden.get(prefix + info.name, info.dtype);
    aotbuild_tensor tensor = view.c_tensor();
    tensor.data = driver_.upload(tensor.data, size_of(tensor));
    tensor.device = {AOTBUILD_CUDA, 0};
    shapes_.emplace_back(tensor.shape, tensor.shape + tensor.ndim);
    tensor.shape = nullptr;
    tensor.strides = nullptr;
    tensors->push_back(tensor);
  }

  // The tensors' shapes lie in `shapes_`, the inputs' first.
  void call(aotbuild_model* model) {
    std::size_t shape = 0;
    for (aotbuild_tensor& tensor : inputs_) tensor.shape = shapes_[shape++].data();
    for (aotbuild_tensor& tensor : outputs_) tensor.shape = shapes_[shape++].data();
    check(api_.run_on_stream(model, driver_.stream(), inputs_.data(), inputs_.size(), outputs_.data(), outputs_.size(),
                             nullptr));
  }

  void check(aotbuild_status status) const {
    if (status != AOTBUILD_OK) throw std::runtime_error(api_.last_error());
  }

  const aotbuild_api& api_ = *MODEL_API();
  const aotbuild_model_info& info_;
  Driver driver_;
  std::vector<aotbuild_tensor> inputs_;
  std::vector<aotbuild_tensor> outputs_;
  std::vector<std::vector<std::int64_t>> shapes_;
};

}  // namespace

int main(int argc, char** argv) try {
  const auto start = Clock::now();
  const GoldenFile golden(aotbuild::testing::find_golden_file(argc, argv, MODEL_NAME ".golden.safetensors"));
  Bench bench(golden, "example");
  bench.run(0, start);
  bench.run(-1, Clock::now());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s: %s\n", MODEL_NAME, error.what());
  return 1;
}
