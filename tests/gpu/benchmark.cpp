// Times a model with its inputs and outputs on the GPU: microseconds a call, with CUDA graphs and without.
//
//   <model>_bench [golden file] [--json] [--started <ns>] [--calls <n>] [--outputs <file>]
//   <model>_bench [golden file] --kernels [--json]
//
// --kernels: instead, the time of each kernel of one call, by libkernel_timer.so beside the program.
// --json: one JSON object a line instead of a table. --started: when the process was started, by CLOCK_MONOTONIC, so
// that loading the program counts as well. --outputs: what the outputs hold after the first call, one after the other.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "aotbuild/testing.hpp"
#include "driver.hpp"
#include "kernel_timer.hpp"
#include MODEL_HEADER

namespace {

using Clock = std::chrono::steady_clock;
using aotbuild::AnyTensorView;
using aotbuild::testing::GoldenFile;

// Until the clocks of the GPU have risen.
constexpr std::chrono::milliseconds kWarmUp{500};
constexpr std::size_t kCalls = 1000;  // unless --calls says another number

std::size_t size_of(const aotbuild_tensor& tensor) {
  std::size_t nbytes = tensor.dtype.bits / 8;
  for (int i = 0; i < tensor.ndim; ++i) nbytes *= static_cast<std::size_t>(tensor.shape[i]);
  return nbytes;
}

double microseconds(Clock::duration duration) { return std::chrono::duration<double, std::micro>(duration).count(); }

class Bench {
 public:
  Bench(const GoldenFile& golden, const std::string& test_case, std::size_t calls)
      : info_(*api_.describe()->methods[0]), calls_(calls) {
    for (std::size_t i = 0; i < info_.input_count; ++i) add(golden, test_case + "/input/", *info_.inputs[i], &inputs_);
    for (std::size_t i = 0; i < info_.output_count; ++i) {
      add(golden, test_case + "/output/", *info_.outputs[i], &outputs_);
    }
  }

  // Needs AOTBUILD_CUDA_DRIVER to be `library`.
  void time_kernels(const char* library, bool json) {
    void* const handle = dlopen(library, RTLD_NOW);
    if (handle == nullptr) throw std::runtime_error(dlerror());
    const auto start = reinterpret_cast<decltype(&kernel_timer_start)>(dlsym(handle, "kernel_timer_start"));
    const auto stop = reinterpret_cast<decltype(&kernel_timer_stop)>(dlsym(handle, "kernel_timer_stop"));
    aotbuild_model* const model = create(-1);
    warm_up(model);
    start();
    call(model);
    const KernelTime* times = nullptr;
    const std::size_t count = stop(&times);
    double total = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const KernelTime& time = times[i];
      total += time.microseconds;
      if (json) {
        const nlohmann::json result = {{"kernel", time.name}, {"microseconds", time.microseconds}};
        std::printf("%s\n", result.dump().c_str());
        continue;
      }
      std::printf("%-12s %8.2f us  %6u x %4u x %u blocks of %4u threads, %6u bytes  %s\n", MODEL_NAME,
                  time.microseconds, time.grid[0], time.grid[1], time.grid[2], time.threads, time.shared_bytes,
                  time.name);
    }
    if (!json) std::printf("%-12s %8.2f us  all %zu kernels\n", MODEL_NAME, total, count);
    api_.destroy(model);
  }

  // Calls once, and writes the outputs.
  void write_outputs(const char* file) {
    aotbuild_model* const model = create(0);
    call(model);
    driver_.synchronize();
    std::ofstream stream(file, std::ios::binary);
    std::size_t shape = inputs_.size();
    for (aotbuild_tensor& tensor : outputs_) {
      tensor.shape = shapes_[shape++].data();
      std::string bytes(size_of(tensor), '\0');
      driver_.download(&bytes[0], tensor.data, bytes.size());
      stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
    api_.destroy(model);
    if (!stream.flush()) throw std::runtime_error(std::string("cannot write ") + file);
  }

  // `cuda_graphs`: as aotbuild_options::cuda_graphs.
  void run(int cuda_graphs, Clock::time_point start, bool json) {
    aotbuild_model* const model = create(cuda_graphs);
    call(model);
    driver_.synchronize();
    const double first = microseconds(Clock::now() - start) / 1000;
    warm_up(model);
    aotbuild_statistics before{};
    before.struct_size = sizeof before;
    aotbuild_statistics after = before;
    check(api_.statistics(model, &before));
    std::vector<double> times;
    for (std::size_t i = 0; i < calls_; ++i) {
      const auto begin = Clock::now();
      call(model);
      driver_.synchronize();
      times.push_back(microseconds(Clock::now() - begin));
    }
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < calls_; ++i) call(model);
    driver_.synchronize();
    const double queued = microseconds(Clock::now() - begin) / calls_;
    check(api_.statistics(model, &after));
    const std::string obstacle =
        cuda_graphs >= 0 && after.graph_obstacle != nullptr ? std::string("  no graph: ") + after.graph_obstacle : "";
    api_.destroy(model);
    std::sort(times.begin(), times.end());
    const double median = times[calls_ / 2];
    const double low = times[calls_ / 10];
    const double high = times[calls_ - calls_ / 10];
    const auto allocations = static_cast<unsigned long long>(after.driver_allocations - before.driver_allocations);
    const char* const kind = cuda_graphs < 0 ? "launches" : "graph";
    if (json) {
      const nlohmann::json result = {
          {"model", MODEL_NAME}, {"kind", kind},   {"first_ms", first},         {"median_us", median},
          {"p10_us", low},       {"p90_us", high}, {"back_to_back_us", queued}, {"driver_allocations", allocations}};
      std::printf("%s\n", result.dump().c_str());
    } else {
      std::printf(
          "%-12s %-8s first %7.1f ms  median %8.1f us (10%% %.1f, 90%% %.1f)  back to back %8.1f us  "
          "driver allocations %llu%s\n",
          MODEL_NAME, kind, first, median, low, high, queued, allocations, obstacle.c_str());
    }
  }

 private:
  aotbuild_model* create(int cuda_graphs) const {
    aotbuild_options options{};
    options.struct_size = sizeof(options);
    options.cuda_graphs = cuda_graphs;
    aotbuild_model* model = nullptr;
    check(api_.create(&options, &model));
    return model;
  }

  void warm_up(aotbuild_model* model) {
    const auto start = Clock::now();
    while (Clock::now() - start < kWarmUp) {
      call(model);
      driver_.synchronize();
    }
  }

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
    check(api_.run(model, 0, driver_.stream(), inputs_.data(), inputs_.size(), outputs_.data(), outputs_.size(),
                   nullptr));
  }

  void check(aotbuild_status status) const {
    if (status != AOTBUILD_OK) throw std::runtime_error(api_.last_error());
  }

  const aotbuild_api& api_ = *MODEL_API();
  const aotbuild_method_info& info_;
  const std::size_t calls_;
  Driver driver_;
  std::vector<aotbuild_tensor> inputs_;
  std::vector<aotbuild_tensor> outputs_;
  std::vector<std::vector<std::int64_t>> shapes_;
};

}  // namespace

int main(int argc, char** argv) try {
  Clock::time_point start = Clock::now();
  bool json = false;
  bool kernels = false;
  std::size_t calls = kCalls;
  const char* outputs = nullptr;
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--json") {
      json = true;
    } else if (argument == "--kernels") {
      kernels = true;
    } else if (argument == "--calls" && i + 1 < argc) {
      calls = std::max<std::size_t>(10, std::strtoull(argv[++i], nullptr, 10));
    } else if (argument == "--outputs" && i + 1 < argc) {
      outputs = argv[++i];
    } else if (argument == "--started" && i + 1 < argc) {
      start = Clock::time_point(std::chrono::nanoseconds(std::atoll(argv[++i])));  // CLOCK_MONOTONIC is this clock
    } else {
      rest.push_back(argv[i]);
    }
  }
  const int rest_count = static_cast<int>(rest.size());
  const GoldenFile golden(
      aotbuild::testing::find_golden_file(rest_count, rest.data(), MODEL_NAME ".golden.safetensors"));
  if (kernels) {
    const std::string program = argv[0];
    const std::string library = program.substr(0, program.rfind('/') + 1) + "libkernel_timer.so";
    setenv("AOTBUILD_CUDA_DRIVER", library.c_str(), 1);
    Bench(golden, "example", calls).time_kernels(library.c_str(), json);
    return 0;
  }
  Bench bench(golden, "example", calls);
  if (outputs != nullptr) bench.write_outputs(outputs);
  bench.run(0, start, json);
  bench.run(-1, Clock::now(), json);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s: %s\n", MODEL_NAME, error.what());
  return 1;
}
