#include "measure.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <utility>

#include "compare.hpp"

namespace aotbuild::tune {

namespace cuda = detail::cuda;
using cuda::DevicePointer;

namespace {

// Copies of what rotates fill the second-level cache this many times, if these many copies suffice.
constexpr std::size_t kCacheMultiple = 2;
constexpr std::size_t kMaxCopies = 512;
// Launches of one graph, at least: the two events around it are 1 us apart by themselves.
constexpr std::size_t kMinLaunches = 20;
constexpr int kMinSamples = 5;
constexpr int kMaxSamples = 15;
constexpr double kSampleMicroseconds = 50e3;  // of all samples together, once there are enough
// A candidate that takes this many times as long as the best in each of its first samples is given up.
constexpr double kClearlySlower = 1.4;
constexpr int kSamplesToGiveUp = 3;

constexpr unsigned kPlainSharedBytes = 48 * 1024;
constexpr unsigned kPortableClusterBlocks = 8;

DevicePointer allocate(const cuda::CudaDevice& device, std::size_t nbytes) {
  DevicePointer memory = 0;
  // Kernels of zero elements get memory all the same.
  const int result = device.driver().memory_allocate(&memory, std::max<std::size_t>(nbytes, 16));
  device.check(result, "cuMemAlloc", " for ", nbytes, " bytes");
  return memory;
}

}  // namespace

// --- the device

Bench::Bench(const Bundle& bundle, int device)
    : device_(std::make_shared<cuda::CudaDevice>(cuda::open_driver("aotbuild-tune"), device, "aotbuild-tune")) {
  scope_ = std::make_unique<cuda::ContextScope>(*device_);
  const std::string architecture = bundle.architecture.substr(bundle.architecture.find('_') + 1);
  const bool is_portable = bundle.architecture.rfind("compute_", 0) == 0;
  const int wanted = std::atoi(architecture.c_str());
  const int found = device_->capability();
  const bool loads = is_portable   ? wanted <= found
                     : wanted < 90 ? wanted / 10 == found / 10 && wanted <= found
                                   : wanted == found;
  if (!loads) {
    detail::fail(AOTBUILD_UNSUPPORTED_HARDWARE, "aotbuild-tune: the bundle is for ", bundle.architecture, ", and ",
                 device_->description(), " runs none of its kernels; make one with CUDA_ARCHITECTURES ", found);
  }
  int cache = 0;
  check(driver().device_get_attribute(&cache, cuda::kAttributeL2CacheSize, device_->handle()), "cuDeviceGetAttribute");
  cache_bytes_ = static_cast<std::size_t>(std::max(cache, 1 << 20));
  check(driver().stream_create(&stream_, cuda::kStreamNonBlocking), "cuStreamCreate");
  check(driver().event_create(&begin_, 0), "cuEventCreate");
  check(driver().event_create(&end_, 0), "cuEventCreate");
  machine_ = {device_->name(), found, driver().version};
}

Bench::~Bench() {
  driver().event_destroy(begin_);
  driver().event_destroy(end_);
  driver().stream_destroy(stream_);
}

void Bench::check(int result, const char* function) const {
  if (result == cuda::kSuccess) return;
  const std::string text = detail::concat(function, ": ", cuda::error_text(driver(), result));
  if (cuda::is_context_lost(result)) throw DeviceLost(AOTBUILD_RUNTIME_ERROR, text);
  throw detail::Error(cuda::status_of(result), text);
}

// --- a kernel's memory

struct KernelBench::Case {
  struct Buffer {
    const Argument* argument;
    DevicePointer pristine;             // what a launch has to find
    std::vector<DevicePointer> copies;  // more than one if it rotates
    std::vector<unsigned char> initial;
    std::vector<unsigned char> expected;  // after a launch of the reference, if it differs
  };
  std::size_t index = 0;
  std::vector<Buffer> buffers;  // in the order of the parameters
  std::size_t copies = 1;
};

// A candidate's function, for the time that it is measured.
class KernelBench::Loaded {
 public:
  Loaded(const Bench& bench, const Bundle& bundle, const Kernel& kernel, const Candidate& candidate)
      : bench_(bench), kernel_(kernel), candidate_(candidate) {
    const cuda::Driver& driver = bench.driver();
    bench.check(driver.module_load_data(&module_, bundle.images.data() + candidate.image.offset), "cuModuleLoadData");
    try {
      bench.check(driver.module_get_function(&function_, module_, candidate.symbol.c_str()), "cuModuleGetFunction");
      if (candidate.shared_bytes > kPlainSharedBytes) {
        const int bytes = static_cast<int>(candidate.shared_bytes);
        bench.check(driver.function_set_attribute(function_, cuda::kFunctionMaxDynamicShared, bytes),
                    "cuFuncSetAttribute");
      }
      if (candidate.cluster_blocks > kPortableClusterBlocks) {
        bench.check(driver.function_set_attribute(function_, cuda::kFunctionNonPortableClusterSize, 1),
                    "cuFuncSetAttribute");
      }
      std::size_t blocks = 0;
      for (const Candidate::Grid& grid : candidate.grids) {
        blocks = std::max(blocks, std::size_t{grid.x} * grid.y * grid.z * std::max(1U, candidate.cluster_blocks));
      }
      // Launches follow one another: they can have the same scratch memory.
      if (candidate.scratch_bytes != 0) scratch_ = allocate(*bench.device_, candidate.scratch_bytes * blocks);
    } catch (...) {
      driver.module_unload(module_);
      throw;
    }
  }
  ~Loaded() {
    if (scratch_ != 0) bench_.driver().memory_free(scratch_);
    bench_.driver().module_unload(module_);
  }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;

  // The `number`-th launch takes that copy of what rotates.
  void launch(const Case& one, std::size_t number) const {
    std::vector<std::uint64_t> values(kernel_.parameters.size());
    std::vector<void*> pointers;
    std::size_t argument = 0;
    std::size_t buffer = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::string& type = kernel_.parameters[i];
      pointers.push_back(&values[i]);
      if (type == "null") continue;
      const Argument& value = kernel_.cases[one.index][argument++];
      if (type == "pointer") {
        const std::vector<DevicePointer>& copies = one.buffers[buffer++].copies;
        values[i] = copies[number % copies.size()];
      } else {
        write_number(type, value, &values[i]);
      }
    }
    if (scratch_ != 0) values[values.size() - 2] = scratch_;
    const Candidate::Grid& grid = candidate_.grids[one.index];
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    cuda::LaunchAttribute attributes[2] = {};
    cuda::LaunchConfig config{
        {grid.x, grid.y, grid.z}, {candidate_.threads, 1, 1}, candidate_.shared_bytes, bench_.stream_, attributes, 0};
    if (candidate_.cluster_blocks > 1) {
      config.grid[0] *= candidate_.cluster_blocks;
      cuda::LaunchAttribute& attribute = attributes[config.attribute_count++];
      attribute.id = cuda::kLaunchAttributeClusterDimension;
      attribute.value[0] = candidate_.cluster_blocks;
      attribute.value[1] = 1;
      attribute.value[2] = 1;
    }
    if (candidate_.cooperative) {
      cuda::LaunchAttribute& attribute = attributes[config.attribute_count++];
      attribute.id = cuda::kLaunchAttributeCooperative;
      attribute.value[0] = 1;
    }
    bench_.check(bench_.driver().launch_kernel_ex(&config, function_, pointers.data(), nullptr), "cuLaunchKernelEx");
  }

 private:
  static void write_number(const std::string& type, const Argument& value, std::uint64_t* target) {
    if (type == "fp32") {
      const auto number = static_cast<float>(value.number);
      std::memcpy(target, &number, sizeof number);
    } else if (type == "fp64") {
      std::memcpy(target, &value.number, sizeof value.number);
    } else {
      std::memcpy(target, &value.integer, sizeof value.integer);  // little-endian: the low bytes come first
    }
  }

  const Bench& bench_;
  const Kernel& kernel_;
  const Candidate& candidate_;
  cuda::Module module_ = nullptr;
  cuda::Function function_ = nullptr;
  DevicePointer scratch_ = 0;
};

KernelBench::KernelBench(Bench& bench, const Bundle& bundle, const Kernel& kernel)
    : bench_(bench), bundle_(bundle), kernel_(kernel) {
  try {
    for (std::size_t index = 0; index < kernel.cases.size(); ++index) make_case(index);
  } catch (...) {
    release();
    throw;
  }
}

KernelBench::~KernelBench() { release(); }

void KernelBench::make_case(std::size_t index) {
  const cuda::Driver& driver = bench_.driver();
  std::mt19937_64 random(index + 1);
  cases_.push_back(std::make_unique<Case>());
  Case& one = *cases_.back();
  one.index = index;
  std::size_t rotating = 0;
  for (const Argument& argument : kernel_.cases[index]) {
    if (!argument.is_buffer) continue;
    one.buffers.push_back({&argument, 0, {}, initial_value(argument, bundle_, random), {}});
    if (argument.rotates) rotating += argument.nbytes;
  }
  if (rotating != 0) {
    one.copies = std::clamp<std::size_t>(kCacheMultiple * bench_.cache_bytes_ / rotating, 1, kMaxCopies);
  }
  for (Case::Buffer& buffer : one.buffers) {
    const std::size_t size = buffer.initial.size();
    buffer.pristine = allocate(*bench_.device_, size);
    if (size != 0) {
      bench_.check(driver.copy_to_device(buffer.pristine, buffer.initial.data(), size, bench_.stream_),
                   "cuMemcpyHtoDAsync");
    }
    const std::size_t copies = buffer.argument->rotates ? one.copies : 1;
    for (std::size_t i = 0; i < copies; ++i) {
      buffer.copies.push_back(allocate(*bench_.device_, size));
      if (size == 0) continue;
      bench_.check(driver.copy_on_device(buffer.copies.back(), buffer.pristine, size, bench_.stream_),
                   "cuMemcpyDtoDAsync");
    }
  }
  bench_.check(driver.stream_synchronize(bench_.stream_), "cuStreamSynchronize");
}

void KernelBench::release() noexcept {
  for (const std::unique_ptr<Case>& one : cases_) {
    for (const Case::Buffer& buffer : one->buffers) {
      if (buffer.pristine != 0) bench_.driver().memory_free(buffer.pristine);
      for (const DevicePointer copy : buffer.copies) bench_.driver().memory_free(copy);
    }
  }
}

// --- correctness

void KernelBench::run_once(const Loaded& loaded, Case& one) {
  const cuda::Driver& driver = bench_.driver();
  for (const Case::Buffer& buffer : one.buffers) {
    if (buffer.initial.empty()) continue;
    bench_.check(driver.copy_on_device(buffer.copies[0], buffer.pristine, buffer.initial.size(), bench_.stream_),
                 "cuMemcpyDtoDAsync");
  }
  loaded.launch(one, 0);
  bench_.check(driver.stream_synchronize(bench_.stream_), "cuStreamSynchronize");
}

void KernelBench::set_reference(const Candidate& candidate) {
  const Loaded loaded(bench_, bundle_, kernel_, candidate);
  for (const std::unique_ptr<Case>& one : cases_) {
    run_once(loaded, *one);
    for (Case::Buffer& buffer : one->buffers) {
      if (buffer.initial.empty()) continue;
      std::vector<unsigned char> values(buffer.initial.size());
      bench_.check(bench_.driver().copy_to_host(values.data(), buffer.copies[0], values.size(), bench_.stream_),
                   "cuMemcpyDtoHAsync");
      bench_.check(bench_.driver().stream_synchronize(bench_.stream_), "cuStreamSynchronize");
      buffer.expected = values != buffer.initial ? std::move(values) : std::vector<unsigned char>();
    }
  }
  has_reference_ = true;
}

// --- time

Outcome KernelBench::measure(const Candidate& candidate, const std::vector<double>& best) {
  Outcome outcome;
  try {
    const Loaded loaded(bench_, bundle_, kernel_, candidate);
    for (const std::unique_ptr<Case>& one : cases_) {
      run_once(loaded, *one);
      for (std::size_t i = 0; has_reference_ && i < one->buffers.size(); ++i) {
        const Case::Buffer& buffer = one->buffers[i];
        if (buffer.expected.empty()) continue;
        std::vector<unsigned char> values(buffer.expected.size());
        bench_.check(bench_.driver().copy_to_host(values.data(), buffer.copies[0], values.size(), bench_.stream_),
                     "cuMemcpyDtoHAsync");
        bench_.check(bench_.driver().stream_synchronize(bench_.stream_), "cuStreamSynchronize");
        outcome.message = difference(buffer.argument->dtype, values, buffer.expected);
        if (outcome.message.empty()) continue;
        outcome.message = detail::concat("buffer ", i, ": ", outcome.message);
        outcome.status = Status::kWrong;
        return outcome;
      }
    }
    outcome.status = Status::kMeasured;
    for (std::size_t i = 0; i < cases_.size(); ++i) {
      bool is_slow = false;
      outcome.times.push_back(time(loaded, *cases_[i], best.empty() ? 0 : best[i], &is_slow));
      if (!is_slow) continue;
      outcome.status = Status::kSlow;
      break;
    }
  } catch (const DeviceLost&) {
    throw;
  } catch (const detail::Error& error) {
    outcome = {};
    outcome.status = Status::kFailed;
    outcome.message = error.what();
  }
  return outcome;
}

namespace {

// A graph that can be launched, and its end.
class Executable {
 public:
  Executable(const cuda::Driver& driver, cuda::Graph graph) : driver_(driver) {
    result_ = driver.graph_instantiate(&executable_, graph, 0);
    driver.graph_destroy(graph);
  }
  ~Executable() {
    if (executable_ != nullptr) driver_.graph_exec_destroy(executable_);
  }
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;
  int result() const { return result_; }
  cuda::GraphExec get() const { return executable_; }

 private:
  const cuda::Driver& driver_;
  cuda::GraphExec executable_ = nullptr;
  int result_;
};

}  // namespace

double KernelBench::time(const Loaded& loaded, Case& one, double best, bool* is_slow) {
  const cuda::Driver& driver = bench_.driver();
  const std::size_t launches = std::max(kMinLaunches, one.copies);
  bench_.check(driver.stream_begin_capture(bench_.stream_, cuda::kCaptureThreadLocal), "cuStreamBeginCapture");
  cuda::Graph graph = nullptr;
  try {
    for (std::size_t i = 0; i < launches; ++i) loaded.launch(one, i);
  } catch (...) {
    if (driver.stream_end_capture(bench_.stream_, &graph) == cuda::kSuccess) driver.graph_destroy(graph);
    throw;
  }
  bench_.check(driver.stream_end_capture(bench_.stream_, &graph), "cuStreamEndCapture");
  const Executable executable(driver, graph);
  bench_.check(executable.result(), "cuGraphInstantiate");

  bench_.check(driver.graph_launch(executable.get(), bench_.stream_), "cuGraphLaunch");  // warm-up
  std::vector<double> samples;
  double total = 0;
  while (static_cast<int>(samples.size()) < kMaxSamples &&
         (static_cast<int>(samples.size()) < kMinSamples || total < kSampleMicroseconds)) {
    bench_.check(driver.event_record(bench_.begin_, bench_.stream_), "cuEventRecord");
    bench_.check(driver.graph_launch(executable.get(), bench_.stream_), "cuGraphLaunch");
    bench_.check(driver.event_record(bench_.end_, bench_.stream_), "cuEventRecord");
    bench_.check(driver.event_synchronize(bench_.end_), "cuEventSynchronize");
    float milliseconds = 0;
    bench_.check(driver.event_elapsed_time(&milliseconds, bench_.begin_, bench_.end_), "cuEventElapsedTime");
    total += 1e3 * static_cast<double>(milliseconds);
    samples.push_back(1e3 * static_cast<double>(milliseconds) / static_cast<double>(launches));
    const double fastest = *std::min_element(samples.begin(), samples.end());
    if (samples.size() == kSamplesToGiveUp && best > 0 && fastest > kClearlySlower * best) {
      *is_slow = true;
      return fastest;
    }
  }
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  std::nth_element(samples.begin(), middle, samples.end());
  return *middle;
}

}  // namespace aotbuild::tune
