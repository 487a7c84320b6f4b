#include "fake_cuda.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <sstream>
#include <thread>
#include <utility>

// The structures and numbers of cuda.h that the functions below take.
extern "C" {
struct CUDA_MEMCPY2D_v2 {
  std::size_t srcXInBytes, srcY;
  unsigned srcMemoryType;
  const void* srcHost;
  unsigned long long srcDevice;
  void* srcArray;
  std::size_t srcPitch;
  std::size_t dstXInBytes, dstY;
  unsigned dstMemoryType;
  void* dstHost;
  unsigned long long dstDevice;
  void* dstArray;
  std::size_t dstPitch;
  std::size_t WidthInBytes, Height;
};
struct alignas(8) CUlaunchAttribute {
  int id;
  char pad[4];
  unsigned value[16];
};
struct CUlaunchConfig {
  unsigned gridDimX, gridDimY, gridDimZ;
  unsigned blockDimX, blockDimY, blockDimZ;
  unsigned sharedMemBytes;
  void* hStream;
  CUlaunchAttribute* attrs;
  unsigned numAttrs;
};
}

namespace {

using Pointer = unsigned long long;  // CUdeviceptr

enum : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kNotInitialized = 3,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kInvalidContext = 201,
  kNoBinaryForGpu = 209,
  kInvalidHandle = 400,
  kNotFound = 500,
  kNotReady = 600,
  kLaunchFailed = 719,
  kCaptureUnsupported = 900,
  kCaptureInvalidated = 901,
  kCaptureUnmatched = 903,
  kCaptureIsolation = 905,
  kCaptureWrongThread = 908,
};

const std::map<int, std::pair<const char*, const char*>>& errors() {
  static const std::map<int, std::pair<const char*, const char*>> table = {
      {0, {"CUDA_SUCCESS", "no error"}},
      {1, {"CUDA_ERROR_INVALID_VALUE", "invalid argument"}},
      {2, {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}},
      {3, {"CUDA_ERROR_NOT_INITIALIZED", "initialization error"}},
      {46, {"CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"}},
      {100, {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}},
      {101, {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"}},
      {200, {"CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}},
      {201, {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}},
      {209, {"CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"}},
      {222, {"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."}},
      {400, {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}},
      {500, {"CUDA_ERROR_NOT_FOUND", "named symbol not found"}},
      {600, {"CUDA_ERROR_NOT_READY", "device not ready"}},
      {700, {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"}},
      {701, {"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"}},
      {719, {"CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"}},
      {900, {"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"}},
      {901, {"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"}},
  };
  return table;
}

bool loses_context(int error) { return error == 700 || error == 702 || (error >= 709 && error <= 719); }

struct Operation {
  std::function<int()> run;
  std::function<bool()> is_ready;                              // empty: at once, when all before it has been done
  std::vector<std::pair<Pointer, std::size_t>> device_ranges;  // must be allocated when it runs
  std::vector<std::pair<Pointer, std::size_t>> host_ranges;    // of pinned memory
};
using Operations = std::vector<Operation>;

struct Context;
struct Graph {
  Operations operations;
};
struct Stream {
  Context* context;
  std::deque<Operation> queue;
  bool is_after_kernel = false;  // a kernel was the last to be queued or captured
  std::uint64_t issued = 0;
  std::uint64_t executed = 0;
  std::vector<double> times;  // of the device's clock, in milliseconds, when each operation ended
  bool is_capturing = false;
  bool is_invalidated = false;
  int capture_mode = 0;
  std::thread::id capture_thread;
  Operations captured;
};
struct Event {
  Context* context;
  Stream* stream = nullptr;  // null: never recorded, or its stream ended and so did the work
  std::uint64_t position = 0;
};
struct Function {
  Context* context;
  std::string name;
  fake_cuda::Kernel kernel;
  std::vector<std::size_t> parameter_sizes;
  int max_dynamic_shared = 48 * 1024;
  bool non_portable_clusters = false;
};
struct Module {
  Context* context;
  std::map<std::string, std::unique_ptr<Function>> functions;
};
struct Context {
  int device;
  int references = 0;
  int error = kSuccess;  // the context is lost
  std::unique_ptr<Stream> legacy;
};
struct Block {
  Context* context;
  std::size_t nbytes;
};
struct Failure {
  int error;
  int skip;
  int times;
};
struct KernelDefinition {
  fake_cuda::Kernel kernel;
  std::vector<std::size_t> parameter_sizes;
};

struct State {
  std::recursive_mutex mutex;
  bool is_initialized = false;
  int version = 12080;
  std::vector<fake_cuda::Device> devices = {{}};
  std::map<std::string, KernelDefinition> kernels;
  std::map<std::string, Failure> failures;
  long calls_until_failure = -1;
  int next_error = 0;
  std::string failed_call;
  std::map<std::string, long> calls;
  std::vector<std::string> violations;
  std::map<int, std::unique_ptr<Context>> contexts;  // primary, by device
  std::vector<std::unique_ptr<Context>> dead_contexts;
  double milliseconds = 0;  // the device's clock, which moves with the kernels that ask for it
  std::map<int, int> lost;  // devices that this process can use no more, with the error
  std::set<Module*> modules;
  std::set<Stream*> streams;
  std::set<Event*> events;
  std::set<Graph*> graphs;
  std::set<Graph*> executables;
  std::map<Pointer, Block> device_blocks;
  std::map<Pointer, Block> host_blocks;

  State() {
    const char* text = std::getenv("FAKE_CUDA_FAIL");
    std::istringstream words(text != nullptr ? text : "");
    for (std::string word; words >> word;) {
      std::replace(word.begin(), word.end(), ':', ' ');
      std::istringstream parts(word);
      std::string function;
      Failure failure{};
      if (parts >> function >> failure.error >> failure.skip >> failure.times) failures[function] = failure;
    }
  }
};

State& state() {
  static auto* const instance = new State;  // outlives the runtime's own static objects
  return *instance;
}

thread_local std::vector<Context*> context_stack;
thread_local int thread_capture_mode = 0;  // CU_STREAM_CAPTURE_MODE_GLOBAL

void violate(const std::string& text) { state().violations.push_back(text); }

Context* current_context() { return context_stack.empty() ? nullptr : context_stack.back(); }

// The end of the range that holds [at, at + nbytes), or null.
const Block* find_block(const std::map<Pointer, Block>& blocks, Pointer at, std::size_t nbytes) {
  auto found = blocks.upper_bound(at);
  if (found == blocks.begin()) return nullptr;
  --found;
  return at + nbytes <= found->first + found->second.nbytes ? &found->second : nullptr;
}

bool overlaps(const Operation& operation, Pointer begin, std::size_t nbytes) {
  const auto overlaps_one = [&](const auto& range) {
    return range.first < begin + nbytes && begin < range.first + range.second;
  };
  return std::any_of(operation.device_ranges.begin(), operation.device_ranges.end(), overlaps_one) ||
         std::any_of(operation.host_ranges.begin(), operation.host_ranges.end(), overlaps_one);
}

int run_operation(Context* context, const Operation& operation) {
  for (const auto& [begin, nbytes] : operation.device_ranges) {
    if (find_block(state().device_blocks, begin, nbytes) == nullptr) {
      violate("queued work uses device memory that is freed");
      return kSuccess;
    }
  }
  if (context->error != kSuccess) return context->error;
  const int result = operation.run();
  if (loses_context(result)) context->error = result;
  return result;
}

// False: what is next waits for another stream.
bool execute(Stream* stream, std::uint64_t position) {
  while (stream->executed < position && !stream->queue.empty()) {
    const std::function<bool()>& is_ready = stream->queue.front().is_ready;
    if (is_ready && !is_ready()) return false;
    const Operation operation = std::move(stream->queue.front());
    stream->queue.pop_front();
    ++stream->executed;
    run_operation(stream->context, operation);
    stream->times.push_back(state().milliseconds);
  }
  return true;
}

// As long as another stream is waited for, other threads go on.
void finish(Stream* stream, std::uint64_t position) {
  while (!execute(stream, position)) {
    state().mutex.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    state().mutex.lock();
  }
}

void execute_all(Stream* stream) { finish(stream, stream->issued); }

// The stream that this thread captures, when the call that is made now is forbidden meanwhile.
Stream* forbidding_capture() {
  if (thread_capture_mode == 2) return nullptr;
  for (Stream* stream : state().streams) {
    const bool mine = stream->capture_thread == std::this_thread::get_id();
    if (stream->is_capturing && (mine ? stream->capture_mode != 2 : stream->capture_mode == 0)) return stream;
  }
  return nullptr;
}

int forbid_while_capturing() {
  Stream* stream = forbidding_capture();
  if (stream == nullptr) return kSuccess;
  stream->is_invalidated = true;
  return kCaptureUnsupported;
}

// Begins every function: counts it, injects failures.
int enter(const char* function) {
  State& s = state();
  ++s.calls[function];
  if (s.calls_until_failure >= 0 && s.calls_until_failure-- == 0) {
    s.failed_call = function;
    return s.next_error;
  }
  const auto found = s.failures.find(function);
  if (found != s.failures.end()) {
    Failure& failure = found->second;
    if (failure.skip > 0) {
      --failure.skip;
    } else if (failure.times > 0) {
      --failure.times;
      if (loses_context(failure.error) && current_context() != nullptr) current_context()->error = failure.error;
      return failure.error;
    }
  }
  return kSuccess;
}

int enter_context(const char* function) {
  if (const int error = enter(function)) return error;
  if (!state().is_initialized) return kNotInitialized;
  if (current_context() == nullptr) {
    violate(std::string(function) + " without a current context");
    return kInvalidContext;
  }
  return current_context()->error;
}

#define LOCK const std::lock_guard<std::recursive_mutex> lock(state().mutex)
#define ENTER(function) \
  LOCK;                 \
  if (const int entered = enter(#function)) return entered
#define ENTER_CONTEXT(function) \
  LOCK;                         \
  if (const int entered = enter_context(#function)) return entered
#define FORBID_WHILE_CAPTURING \
  if (const int forbidden = forbid_while_capturing()) return forbidden
#define CHECK_HANDLE(set, handle, name)                           \
  if ((set).count(handle) == 0) {                                 \
    violate(std::string(__func__) + ": no such " name " exists"); \
    return kInvalidHandle;                                        \
  }

// A stream's handle; 1 is the legacy default stream.
Stream* resolve(void* handle, const char* function) {
  if (handle == reinterpret_cast<void*>(1)) return current_context()->legacy.get();
  auto* stream = static_cast<Stream*>(handle);
  if (state().streams.count(stream) != 0) return stream;
  violate(std::string(function) + ": no such stream exists");
  return nullptr;
}

int submit(void* handle, const char* function, Operation operation) {
  Stream* stream = resolve(handle, function);
  if (stream == nullptr) return kInvalidHandle;
  for (const auto& [begin, nbytes] : operation.device_ranges) {
    if (find_block(state().device_blocks, begin, nbytes) == nullptr) {
      violate(std::string(function) + ": " + std::to_string(nbytes) + " bytes are not in one device block");
      return kInvalidValue;
    }
  }
  stream->is_after_kernel = false;
  if (stream->is_capturing) {
    if (stream->capture_thread != std::this_thread::get_id() && stream->capture_mode != 2) return kCaptureWrongThread;
    stream->captured.push_back(std::move(operation));
    return kSuccess;
  }
  stream->queue.push_back(std::move(operation));
  ++stream->issued;
  return kSuccess;
}

int launch(Function* function, const fake_cuda::Launch& launch, void* stream, void** parameters) {
  bool found = false;
  for (const Module* module : state().modules) {
    for (const auto& [name, candidate] : module->functions) found = found || candidate.get() == function;
  }
  if (!found) {
    violate("cuLaunchKernel: no such function is loaded");
    return kInvalidHandle;
  }
  if (launch.grid[0] == 0 || launch.grid[1] == 0 || launch.grid[2] == 0 || launch.grid[1] > 65535 ||
      launch.grid[2] > 65535 || launch.threads == 0 || launch.threads > 1024) {
    return kInvalidValue;
  }
  if (launch.shared_bytes > static_cast<unsigned>(function->max_dynamic_shared)) return kInvalidValue;
  if (launch.cluster_blocks > 8 && !function->non_portable_clusters) return kInvalidValue;
  if (launch.cluster_blocks == 0 || launch.grid[0] % launch.cluster_blocks != 0) return kInvalidValue;
  auto values = std::make_shared<std::vector<std::vector<unsigned char>>>();
  Operation operation;
  for (std::size_t i = 0; i < function->parameter_sizes.size(); ++i) {
    const std::size_t size = function->parameter_sizes[i];
    const auto* bytes = static_cast<const unsigned char*>(parameters[i]);
    values->emplace_back(bytes, bytes + size);
    Pointer pointer = 0;
    if (size != sizeof pointer) continue;
    std::memcpy(&pointer, bytes, sizeof pointer);
    if (find_block(state().device_blocks, pointer, 1) != nullptr) operation.device_ranges.emplace_back(pointer, 1);
  }
  operation.run = [kernel = function->kernel, launch, values] {
    std::vector<void*> arguments;
    for (auto& value : *values) arguments.push_back(value.data());
    return kernel(launch, arguments.data());
  };
  Stream* resolved = resolve(stream, "cuLaunchKernel");
  if (launch.starts_early && resolved != nullptr && !resolved->is_after_kernel) {
    violate("cuLaunchKernelEx: a programmatic launch after what is no kernel need not wait for it");
  }
  const int result = submit(stream, "cuLaunchKernel", std::move(operation));
  if (resolved != nullptr) resolved->is_after_kernel = true;
  return result;
}

constexpr std::align_val_t kAlignment{256};  // of what cuMemAlloc gives

int allocate(std::map<Pointer, Block>& blocks, std::size_t nbytes, Pointer* result) {
  if (nbytes == 0) return kInvalidValue;
  void* memory = ::operator new(nbytes, kAlignment);
  std::memset(memory, 0xcd, nbytes);
  *result = reinterpret_cast<std::uintptr_t>(memory);
  blocks[*result] = {current_context(), nbytes};
  return kSuccess;
}

int release(std::map<Pointer, Block>& blocks, Pointer memory, const char* function) {
  const auto found = blocks.find(memory);
  if (found == blocks.end()) {
    violate(std::string(function) + ": no such block exists");
    return kInvalidValue;
  }
  for (Stream* stream : state().streams) {
    for (const Operation& operation : stream->queue) {
      if (overlaps(operation, memory, found->second.nbytes))
        violate(std::string(function) + " while queued work uses it");
    }
  }
  ::operator delete(reinterpret_cast<void*>(memory), kAlignment);
  blocks.erase(found);
  return kSuccess;
}

void destroy_context(int device) {
  State& s = state();
  Context* context = s.contexts[device].get();
  int leaked = 0;
  const auto drop = [&](auto& set, auto&& destroy) {
    for (auto object = set.begin(); object != set.end();) {
      if ((*object)->context != context) {
        ++object;
        continue;
      }
      destroy(*object);
      ++leaked;
      object = set.erase(object);
    }
  };
  drop(s.modules, [](Module* module) { delete module; });
  drop(s.events, [](Event* event) { delete event; });
  drop(s.streams, [](Stream* stream) { delete stream; });
  for (auto* blocks : {&s.device_blocks, &s.host_blocks}) {
    for (auto block = blocks->begin(); block != blocks->end();) {
      if (block->second.context != context) {
        ++block;
        continue;
      }
      ::operator delete(reinterpret_cast<void*>(block->first), kAlignment);
      ++leaked;
      block = blocks->erase(block);
    }
  }
  if (context->error != kSuccess) s.lost[device] = context->error;
  // A lost context takes everything with it, and nothing in it can be freed before.
  if (leaked != 0 && context->error == kSuccess) {
    violate("the context is released with " + std::to_string(leaked) + " objects in it");
  }
  s.dead_contexts.push_back(std::move(s.contexts[device]));  // its address is never used again
  s.contexts.erase(device);
}

bool is_live(const Context* context) {
  return std::any_of(state().contexts.begin(), state().contexts.end(),
                     [&](const auto& entry) { return entry.second.get() == context; });
}

constexpr char kMagic[] = "fake cubin ";

}  // namespace

namespace fake_cuda {

void reset() {
  LOCK;
  State& s = state();
  while (!s.contexts.empty()) {
    s.contexts.begin()->second->error = kLaunchFailed;  // nothing counts as leaked
    destroy_context(s.contexts.begin()->first);
  }
  for (const Graph* graph : s.graphs) delete graph;
  for (const auto* executable : s.executables) delete executable;
  s.graphs.clear();
  s.executables.clear();
  s.lost.clear();
  s.version = 12080;
  s.devices = {{}};
  s.kernels.clear();
  s.failures.clear();
  s.calls_until_failure = -1;
  s.calls.clear();
  s.violations.clear();
}

void set_devices(const std::vector<Device>& devices) {
  LOCK;
  state().devices = devices;
}

void set_driver_version(int version) {
  LOCK;
  state().version = version;
}

void add_kernel(const std::string& name, Kernel kernel, const std::vector<std::size_t>& parameter_sizes) {
  LOCK;
  state().kernels[name] = {kernel, parameter_sizes};
}

void advance(double microseconds) {
  LOCK;
  state().milliseconds += microseconds / 1e3;
}

int queue(void* stream, std::function<void()> work, std::function<bool()> is_ready) {
  LOCK;
  Operation operation;
  operation.is_ready = std::move(is_ready);
  operation.run = [work = std::move(work)] {
    work();
    return kSuccess;
  };
  return submit(stream, "a library", std::move(operation));
}

std::vector<unsigned char> make_image(int architecture, const std::vector<std::string>& kernels) {
  std::string text = kMagic + std::to_string(architecture);
  for (const std::string& kernel : kernels) text += " " + kernel;
  return {text.c_str(), text.c_str() + text.size() + 1};
}

void fail(const std::string& function, int error, int skip, int times) {
  LOCK;
  state().failures[function] = {error, skip, times};
}

void fail_call(long skip, int error) {
  LOCK;
  state().calls_until_failure = skip;
  state().failed_call.clear();
  state().next_error = error;
}

std::string failed_call() {
  LOCK;
  return state().failed_call;
}

int enter_library(const char* function) {
  LOCK;
  return enter(function);
}

long calls(const std::string& function) {
  LOCK;
  return state().calls[function];
}

Live live() {
  LOCK;
  const State& s = state();
  const auto size = [](const auto& objects) { return static_cast<int>(objects.size()); };
  Live result{size(s.contexts),
              size(s.modules),
              size(s.streams),
              size(s.events),
              size(s.graphs) + size(s.executables),
              size(s.device_blocks),
              size(s.host_blocks),
              0};
  for (const auto& [begin, block] : s.device_blocks) result.device_bytes += block.nbytes;
  return result;
}

std::size_t context_depth() { return context_stack.size(); }

std::vector<std::string> violations() {
  LOCK;
  return state().violations;
}

}  // namespace fake_cuda

extern "C" {

int cuGetErrorName(int error, const char** text) {
  const auto found = errors().find(error);
  *text = found == errors().end() ? nullptr : found->second.first;
  return found == errors().end() ? kInvalidValue : kSuccess;
}

int cuGetErrorString(int error, const char** text) {
  const auto found = errors().find(error);
  *text = found == errors().end() ? nullptr : found->second.second;
  return found == errors().end() ? kInvalidValue : kSuccess;
}

int cuInit(unsigned flags) {
  ENTER(cuInit);
  if (flags != 0) return kInvalidValue;
  if (state().devices.empty()) return kNoDevice;
  state().is_initialized = true;
  return kSuccess;
}

int cuDriverGetVersion(int* version) {
  ENTER(cuDriverGetVersion);
  *version = state().version;
  return kSuccess;
}

int cuDeviceGetCount(int* count) {
  ENTER(cuDeviceGetCount);
  *count = static_cast<int>(state().devices.size());
  return kSuccess;
}

int cuDeviceGet(int* device, int ordinal) {
  ENTER(cuDeviceGet);
  if (ordinal < 0 || static_cast<std::size_t>(ordinal) >= state().devices.size()) return kInvalidDevice;
  *device = ordinal;
  return kSuccess;
}

int cuDeviceGetName(char* name, int length, int device) {
  ENTER(cuDeviceGetName);
  const std::string text = "Fake " + std::to_string(device);
  if (length <= static_cast<int>(text.size())) return kInvalidValue;
  std::memcpy(name, text.c_str(), text.size() + 1);
  return kSuccess;
}

int cuDeviceGetAttribute(int* value, int attribute, int device) {
  ENTER(cuDeviceGetAttribute);
  const fake_cuda::Device& properties = state().devices.at(static_cast<std::size_t>(device));
  switch (attribute) {
    case 38:
      *value = 1 << 20;
      return kSuccess;
    case 75:
      *value = properties.capability / 10;
      return kSuccess;
    case 76:
      *value = properties.capability % 10;
      return kSuccess;
    case 95:
      *value = 1;
      return kSuccess;
    case 97:
      *value = properties.max_shared_bytes;
      return kSuccess;
    default:
      return kInvalidValue;
  }
}

int cuDevicePrimaryCtxRetain(Context** context, int device) {
  ENTER(cuDevicePrimaryCtxRetain);
  if (state().lost.count(device) != 0) return state().lost[device];
  std::unique_ptr<Context>& primary = state().contexts[device];
  if (primary == nullptr) {
    primary = std::make_unique<Context>();
    primary->device = device;
    primary->legacy = std::make_unique<Stream>();
    primary->legacy->context = primary.get();
  }
  ++primary->references;
  *context = primary.get();
  return kSuccess;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
  ENTER(cuDevicePrimaryCtxRelease_v2);
  if (state().contexts.count(device) == 0) {
    violate("cuDevicePrimaryCtxRelease of a context that is not retained");
    return kInvalidContext;
  }
  if (--state().contexts[device]->references == 0) destroy_context(device);
  return kSuccess;
}

int cuCtxPushCurrent_v2(Context* context) {
  ENTER(cuCtxPushCurrent_v2);
  if (!is_live(context)) {
    violate("cuCtxPushCurrent of a context that does not exist");
    return kInvalidContext;
  }
  context_stack.push_back(context);
  return kSuccess;
}

int cuCtxPopCurrent_v2(Context** context) {
  ENTER(cuCtxPopCurrent_v2);
  if (context_stack.empty()) {
    violate("cuCtxPopCurrent without a current context");
    return kInvalidContext;
  }
  *context = context_stack.back();
  context_stack.pop_back();
  return kSuccess;
}

int cuModuleLoadData(Module** result, const void* image) {
  ENTER_CONTEXT(cuModuleLoadData);
  FORBID_WHILE_CAPTURING;
  const auto* text = static_cast<const char*>(image);
  if (std::strncmp(text, kMagic, sizeof kMagic - 1) != 0) return kInvalidImage;
  std::istringstream words(text + sizeof kMagic - 1);
  int architecture = 0;
  words >> architecture;
  const int capability = state().devices.at(static_cast<std::size_t>(current_context()->device)).capability;
  if (architecture != 0 && (architecture / 10 != capability / 10 || architecture > capability)) return kNoBinaryForGpu;
  auto module = std::make_unique<Module>();
  module->context = current_context();
  for (std::string name; words >> name;) {
    const auto found = state().kernels.find(name);
    if (found == state().kernels.end()) continue;
    module->functions[name] = std::make_unique<Function>();
    *module->functions[name] = {module->context, name, found->second.kernel, found->second.parameter_sizes};
  }
  *result = module.release();
  state().modules.insert(*result);
  return kSuccess;
}

int cuModuleUnload(Module* module) {
  ENTER_CONTEXT(cuModuleUnload);
  CHECK_HANDLE(state().modules, module, "module");
  state().modules.erase(module);
  delete module;
  return kSuccess;
}

int cuModuleGetFunction(Function** result, Module* module, const char* name) {
  ENTER_CONTEXT(cuModuleGetFunction);
  CHECK_HANDLE(state().modules, module, "module");
  const auto found = module->functions.find(name);
  if (found == module->functions.end()) return kNotFound;
  *result = found->second.get();
  return kSuccess;
}

int cuFuncGetAttribute(int* value, int attribute, Function*) {
  ENTER_CONTEXT(cuFuncGetAttribute);
  if (attribute != 0) return kInvalidValue;
  *value = 1024;
  return kSuccess;
}

int cuFuncSetAttribute(Function* function, int attribute, int value) {
  ENTER_CONTEXT(cuFuncSetAttribute);
  const int limit = state().devices.at(static_cast<std::size_t>(current_context()->device)).max_shared_bytes;
  if (attribute == 8 && value >= 0 && value <= limit) {
    function->max_dynamic_shared = value;
    return kSuccess;
  }
  if (attribute == 14) {
    function->non_portable_clusters = value != 0;
    return kSuccess;
  }
  return kInvalidValue;
}

int cuLaunchKernel(Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared_bytes, void* stream, void** parameters,
                   void** extra) {
  ENTER_CONTEXT(cuLaunchKernel);
  if (block_y != 1 || block_z != 1 || extra != nullptr) return kInvalidValue;
  return launch(function, {{grid_x, grid_y, grid_z}, block_x, shared_bytes, 1, false, false}, stream, parameters);
}

int cuLaunchKernelEx(const CUlaunchConfig* config, Function* function, void** parameters, void** extra) {
  ENTER_CONTEXT(cuLaunchKernelEx);
  if (config->blockDimY != 1 || config->blockDimZ != 1 || extra != nullptr) return kInvalidValue;
  fake_cuda::Launch described{{config->gridDimX, config->gridDimY, config->gridDimZ},
                              config->blockDimX,
                              config->sharedMemBytes,
                              1,
                              false,
                              false};
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const CUlaunchAttribute& attribute = config->attrs[i];
    if (attribute.id == 4 && attribute.value[1] == 1 && attribute.value[2] == 1) {
      described.cluster_blocks = attribute.value[0];
    } else if (attribute.id == 2) {
      described.cooperative = attribute.value[0] != 0;
    } else if (attribute.id == 6 && state().version >= 12030) {
      described.starts_early = attribute.value[0] != 0;
    } else {
      return kInvalidValue;
    }
  }
  return launch(function, described, config->hStream, parameters);
}

int cuMemAlloc_v2(Pointer* result, std::size_t nbytes) {
  ENTER_CONTEXT(cuMemAlloc_v2);
  FORBID_WHILE_CAPTURING;
  const std::size_t limit = state().devices.at(static_cast<std::size_t>(current_context()->device)).memory;
  if (fake_cuda::live().device_bytes + nbytes > limit) return kOutOfMemory;
  return allocate(state().device_blocks, nbytes, result);
}

int cuMemFree_v2(Pointer memory) {
  ENTER_CONTEXT(cuMemFree_v2);
  FORBID_WHILE_CAPTURING;
  // It waits for all streams, says the programming guide where it introduces allocations in the order of a stream.
  for (Stream* stream : state().streams) {
    if (stream->context == current_context()) execute_all(stream);
  }
  execute_all(current_context()->legacy.get());
  return release(state().device_blocks, memory, "cuMemFree");
}

int cuMemAllocHost_v2(void** result, std::size_t nbytes) {
  ENTER_CONTEXT(cuMemAllocHost_v2);
  FORBID_WHILE_CAPTURING;
  Pointer memory = 0;
  const int error = allocate(state().host_blocks, nbytes, &memory);
  *result = reinterpret_cast<void*>(memory);
  return error;
}

int cuMemFreeHost(void* memory) {
  ENTER_CONTEXT(cuMemFreeHost);
  FORBID_WHILE_CAPTURING;
  return release(state().host_blocks, reinterpret_cast<std::uintptr_t>(memory), "cuMemFreeHost");
}

int cuMemGetInfo_v2(std::size_t* available, std::size_t* total) {
  ENTER_CONTEXT(cuMemGetInfo_v2);
  *total = state().devices.at(static_cast<std::size_t>(current_context()->device)).memory;
  *available = *total - fake_cuda::live().device_bytes;
  return kSuccess;
}

int cuMemcpyHtoDAsync_v2(Pointer destination, const void* source, std::size_t nbytes, void* stream) {
  ENTER_CONTEXT(cuMemcpyHtoDAsync_v2);
  Operation operation;
  operation.device_ranges = {{destination, nbytes}};
  if (find_block(state().host_blocks, reinterpret_cast<std::uintptr_t>(source), nbytes) != nullptr) {
    operation.host_ranges = {{reinterpret_cast<std::uintptr_t>(source), nbytes}};
    operation.run = [=] {
      std::memcpy(reinterpret_cast<void*>(destination), source, nbytes);
      return int{kSuccess};
    };
  } else {  // pageable memory is read before the function returns
    const auto* bytes = static_cast<const unsigned char*>(source);
    auto copy = std::make_shared<std::vector<unsigned char>>(bytes, bytes + nbytes);
    operation.run = [=] {
      std::memcpy(reinterpret_cast<void*>(destination), copy->data(), nbytes);
      return int{kSuccess};
    };
  }
  return submit(stream, "cuMemcpyHtoDAsync", std::move(operation));
}

int cuMemcpyDtoHAsync_v2(void* destination, Pointer source, std::size_t nbytes, void* stream) {
  ENTER_CONTEXT(cuMemcpyDtoHAsync_v2);
  Operation operation;
  operation.device_ranges = {{source, nbytes}};
  operation.host_ranges = {{reinterpret_cast<std::uintptr_t>(destination), nbytes}};
  operation.run = [=] {
    std::memcpy(destination, reinterpret_cast<const void*>(source), nbytes);
    return int{kSuccess};
  };
  const int result = submit(stream, "cuMemcpyDtoHAsync", std::move(operation));
  const bool is_pinned =
      find_block(state().host_blocks, reinterpret_cast<std::uintptr_t>(destination), nbytes) != nullptr;
  // To pageable memory the copy is complete on return.
  if (result == kSuccess && !is_pinned) execute_all(resolve(stream, "cuMemcpyDtoHAsync"));
  return result;
}

int cuMemcpyDtoDAsync_v2(Pointer destination, Pointer source, std::size_t nbytes, void* stream) {
  ENTER_CONTEXT(cuMemcpyDtoDAsync_v2);
  Operation operation;
  operation.device_ranges = {{destination, nbytes}, {source, nbytes}};
  operation.run = [=] {
    std::memmove(reinterpret_cast<void*>(destination), reinterpret_cast<const void*>(source), nbytes);
    return int{kSuccess};
  };
  return submit(stream, "cuMemcpyDtoDAsync", std::move(operation));
}

int cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D_v2* copy, void* stream) {
  ENTER_CONTEXT(cuMemcpy2DAsync_v2);
  const CUDA_MEMCPY2D_v2 c = *copy;
  if (c.srcMemoryType != 2 || c.dstMemoryType != 2 || c.srcXInBytes != 0 || c.srcY != 0 || c.dstXInBytes != 0 ||
      c.dstY != 0 || c.srcPitch < c.WidthInBytes || c.dstPitch < c.WidthInBytes || c.Height == 0) {
    return kInvalidValue;
  }
  Operation operation;
  operation.device_ranges = {{c.dstDevice, (c.Height - 1) * c.dstPitch + c.WidthInBytes},
                             {c.srcDevice, (c.Height - 1) * c.srcPitch + c.WidthInBytes}};
  operation.run = [=] {
    for (std::size_t row = 0; row < c.Height; ++row) {
      std::memcpy(reinterpret_cast<void*>(c.dstDevice + row * c.dstPitch),
                  reinterpret_cast<const void*>(c.srcDevice + row * c.srcPitch), c.WidthInBytes);
    }
    return int{kSuccess};
  };
  return submit(stream, "cuMemcpy2DAsync", std::move(operation));
}

}  // extern "C"

namespace {

template <typename T>
int set_2d(Pointer destination, std::size_t pitch, T value, std::size_t width, std::size_t height, void* stream) {
  if (width == 0 || height == 0 || pitch % sizeof(T) != 0 || (height > 1 && pitch < width * sizeof(T))) {
    return kInvalidValue;
  }
  Operation operation;
  operation.device_ranges = {{destination, (height - 1) * pitch + width * sizeof(T)}};
  operation.run = [=] {
    for (std::size_t row = 0; row < height; ++row) {
      auto* begin = reinterpret_cast<T*>(destination + row * pitch);
      std::fill(begin, begin + width, value);
    }
    return int{kSuccess};
  };
  return submit(stream, "cuMemsetD2DAsync", std::move(operation));
}

}  // namespace

extern "C" {

int cuMemsetD2D8Async(Pointer destination, std::size_t pitch, unsigned char value, std::size_t width,
                      std::size_t height, void* stream) {
  ENTER_CONTEXT(cuMemsetD2D8Async);
  return set_2d(destination, pitch, value, width, height, stream);
}

int cuMemsetD2D16Async(Pointer destination, std::size_t pitch, unsigned short value, std::size_t width,
                       std::size_t height, void* stream) {
  ENTER_CONTEXT(cuMemsetD2D16Async);
  return set_2d(destination, pitch, value, width, height, stream);
}

int cuMemsetD2D32Async(Pointer destination, std::size_t pitch, unsigned value, std::size_t width, std::size_t height,
                       void* stream) {
  ENTER_CONTEXT(cuMemsetD2D32Async);
  return set_2d(destination, pitch, value, width, height, stream);
}

int cuPointerGetAttributes(unsigned count, int* attributes, void** values, Pointer pointer) {
  ENTER_CONTEXT(cuPointerGetAttributes);
  const Block* on_device = find_block(state().device_blocks, pointer, 1);
  const Block* on_host = find_block(state().host_blocks, pointer, 1);
  for (unsigned i = 0; i < count; ++i) {
    if (attributes[i] == 2) {
      *static_cast<unsigned*>(values[i]) = on_device != nullptr ? 2 : on_host != nullptr ? 1 : 0;
    } else if (attributes[i] == 9) {
      *static_cast<int*>(values[i]) = on_device != nullptr ? on_device->context->device : 0;
    } else {
      return kInvalidValue;
    }
  }
  return kSuccess;
}

int cuStreamCreate(Stream** result, unsigned flags) {
  ENTER_CONTEXT(cuStreamCreate);
  if (flags > 1) return kInvalidValue;
  *result = new Stream;
  (*result)->context = current_context();
  state().streams.insert(*result);
  return kSuccess;
}

int cuStreamDestroy_v2(Stream* stream) {
  ENTER_CONTEXT(cuStreamDestroy_v2);
  CHECK_HANDLE(state().streams, stream, "stream");
  execute_all(stream);
  for (Event* event : state().events) {
    if (event->stream == stream) event->stream = nullptr;
  }
  state().streams.erase(stream);
  delete stream;
  return kSuccess;
}

int cuStreamSynchronize(void* handle) {
  ENTER_CONTEXT(cuStreamSynchronize);
  Stream* stream = resolve(handle, "cuStreamSynchronize");
  if (stream == nullptr) return kInvalidHandle;
  if (stream->is_capturing) {
    stream->is_invalidated = true;
    return kCaptureUnsupported;
  }
  FORBID_WHILE_CAPTURING;
  execute_all(stream);
  return stream->context->error;
}

int cuStreamWaitEvent(void* handle, Event* event, unsigned flags) {
  ENTER_CONTEXT(cuStreamWaitEvent);
  CHECK_HANDLE(state().events, event, "event");
  Stream* stream = resolve(handle, "cuStreamWaitEvent");
  if (stream == nullptr) return kInvalidHandle;
  if (flags != 0) return kInvalidValue;
  if (stream->is_capturing) {
    stream->is_invalidated = true;
    return kCaptureIsolation;
  }
  if (event->stream == nullptr || event->stream == stream) return kSuccess;
  Operation wait;
  wait.run = [] { return int{kSuccess}; };
  wait.is_ready = [other = event->stream, position = event->position] {
    return state().streams.count(other) == 0 || execute(other, position);
  };
  return submit(stream, "cuStreamWaitEvent", std::move(wait));
}

int cuStreamGetCtx(void* handle, Context** context) {
  ENTER_CONTEXT(cuStreamGetCtx);
  Stream* stream = resolve(handle, "cuStreamGetCtx");
  if (stream == nullptr) return kInvalidHandle;
  *context = stream->context;
  return kSuccess;
}

int cuStreamIsCapturing(void* handle, int* status) {
  ENTER_CONTEXT(cuStreamIsCapturing);
  Stream* stream = resolve(handle, "cuStreamIsCapturing");
  if (stream == nullptr) return kInvalidHandle;
  *status = stream->is_invalidated ? 2 : stream->is_capturing ? 1 : 0;
  return kSuccess;
}

int cuStreamBeginCapture_v2(void* handle, int mode) {
  ENTER_CONTEXT(cuStreamBeginCapture_v2);
  Stream* stream = resolve(handle, "cuStreamBeginCapture");
  if (stream == nullptr) return kInvalidHandle;
  if (mode < 0 || mode > 2 || stream->is_capturing) return kInvalidValue;
  if (stream == current_context()->legacy.get()) return kCaptureUnsupported;
  stream->is_capturing = true;
  stream->is_after_kernel = false;
  stream->is_invalidated = false;
  stream->capture_mode = mode;
  stream->capture_thread = std::this_thread::get_id();
  stream->captured.clear();
  return kSuccess;
}

int cuStreamEndCapture(void* handle, Graph** result) {
  ENTER_CONTEXT(cuStreamEndCapture);
  Stream* stream = resolve(handle, "cuStreamEndCapture");
  if (stream == nullptr) return kInvalidHandle;
  *result = nullptr;
  if (!stream->is_capturing) return kCaptureUnmatched;
  if (stream->capture_mode != 2 && stream->capture_thread != std::this_thread::get_id()) return kCaptureWrongThread;
  stream->is_capturing = false;
  stream->is_after_kernel = false;
  if (std::exchange(stream->is_invalidated, false)) return kCaptureInvalidated;
  *result = new Graph{std::move(stream->captured)};
  state().graphs.insert(*result);
  return kSuccess;
}

int cuThreadExchangeStreamCaptureMode(int* mode) {
  ENTER(cuThreadExchangeStreamCaptureMode);
  if (*mode < 0 || *mode > 2) return kInvalidValue;
  std::swap(*mode, thread_capture_mode);
  return kSuccess;
}

int cuGraphInstantiateWithFlags(Graph** result, Graph* graph, unsigned long long flags) {
  ENTER_CONTEXT(cuGraphInstantiateWithFlags);
  CHECK_HANDLE(state().graphs, graph, "graph");
  if (flags != 0) return kInvalidValue;
  *result = new Graph{graph->operations};
  state().executables.insert(*result);
  return kSuccess;
}

int cuGraphDestroy(Graph* graph) {
  ENTER(cuGraphDestroy);
  CHECK_HANDLE(state().graphs, graph, "graph");
  state().graphs.erase(graph);
  delete graph;
  return kSuccess;
}

int cuGraphExecDestroy(Graph* graph) {
  ENTER(cuGraphExecDestroy);
  CHECK_HANDLE(state().executables, graph, "executable graph");
  state().executables.erase(graph);
  delete graph;
  return kSuccess;
}

int cuGraphLaunch(Graph* graph, void* stream) {
  ENTER_CONTEXT(cuGraphLaunch);
  CHECK_HANDLE(state().executables, graph, "executable graph");
  for (const Operation& operation : graph->operations) {
    if (const int error = submit(stream, "cuGraphLaunch", operation)) return error;
  }
  return kSuccess;
}

int cuEventCreate(Event** result, unsigned flags) {
  ENTER_CONTEXT(cuEventCreate);
  if (flags > 3) return kInvalidValue;
  *result = new Event{current_context()};
  state().events.insert(*result);
  return kSuccess;
}

int cuEventDestroy_v2(Event* event) {
  ENTER_CONTEXT(cuEventDestroy_v2);
  CHECK_HANDLE(state().events, event, "event");
  state().events.erase(event);
  delete event;
  return kSuccess;
}

int cuEventRecord(Event* event, void* handle) {
  ENTER_CONTEXT(cuEventRecord);
  CHECK_HANDLE(state().events, event, "event");
  Stream* stream = resolve(handle, "cuEventRecord");
  if (stream == nullptr) return kInvalidHandle;
  if (stream->is_capturing) {
    stream->is_invalidated = true;
    return kCaptureUnsupported;
  }
  event->stream = stream;
  event->position = stream->issued;
  return kSuccess;
}

int cuEventQuery(Event* event) {
  ENTER_CONTEXT(cuEventQuery);
  FORBID_WHILE_CAPTURING;
  CHECK_HANDLE(state().events, event, "event");
  if (event->stream == nullptr || event->stream->executed >= event->position) return kSuccess;
  execute(event->stream, event->stream->executed + 1);  // work goes on while others look
  return kNotReady;
}

int cuEventElapsedTime(float* milliseconds, Event* begin, Event* end) {
  ENTER_CONTEXT(cuEventElapsedTime);
  FORBID_WHILE_CAPTURING;
  double times[2] = {};
  for (Event* event : {begin, end}) {
    CHECK_HANDLE(state().events, event, "event");
    if (event->stream == nullptr) return kInvalidHandle;
    if (event->stream->executed < event->position) return kNotReady;
    times[event == end] = event->position == 0 ? 0 : event->stream->times[event->position - 1];
  }
  *milliseconds = static_cast<float>(times[1] - times[0]);
  return current_context()->error;
}

int cuEventSynchronize(Event* event) {
  ENTER_CONTEXT(cuEventSynchronize);
  FORBID_WHILE_CAPTURING;
  CHECK_HANDLE(state().events, event, "event");
  if (event->stream != nullptr) finish(event->stream, event->position);
  return current_context()->error;
}

}  // extern "C"
