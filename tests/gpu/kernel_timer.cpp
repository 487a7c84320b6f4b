// The driver with a stopwatch: a library to name in AOTBUILD_CUDA_DRIVER that passes every call on to libcuda.so.1 and
// times kernels. It is linked to libcuda.so.1, so what it does not define itself is looked up there.
#include "kernel_timer.hpp"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using Handle = void*;

constexpr int kRepetitions = 20;
constexpr unsigned kStreamNonBlocking = 1;
constexpr int kCaptureThreadLocal = 1;

void* find(const char* name) {
  static void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  void* const function = library == nullptr ? nullptr : dlsym(library, name);
  if (function == nullptr) {
    std::fprintf(stderr, "kernel_timer: the driver has no %s\n", name);
    std::exit(1);
  }
  return function;
}

template <typename... Parameters>
void call(const char* name, Parameters... arguments) {
  const int result = reinterpret_cast<int (*)(Parameters...)>(find(name))(arguments...);
  if (result == 0) return;
  std::fprintf(stderr, "kernel_timer: %s: error %d\n", name, result);
  std::exit(1);
}

struct Timer {
  bool is_on = false;
  std::vector<KernelTime> times;
} timer;  // NOLINT: the state of this library; the benchmark has one thread

// Launches it several times in a graph, so that the time is the kernel's and not the launch's.
template <typename Launch>
double microseconds(Handle stream, Launch&& launch) {
  call<Handle>("cuStreamSynchronize", stream);
  Handle own = nullptr;
  Handle graph = nullptr;
  Handle executable = nullptr;
  Handle begin = nullptr;
  Handle end = nullptr;
  call<Handle*, unsigned>("cuStreamCreate", &own, kStreamNonBlocking);
  call<Handle*, unsigned>("cuEventCreate", &begin, 0);
  call<Handle*, unsigned>("cuEventCreate", &end, 0);
  call<Handle, int>("cuStreamBeginCapture_v2", own, kCaptureThreadLocal);
  for (int i = 0; i < kRepetitions; ++i) launch(own);
  call<Handle, Handle*>("cuStreamEndCapture", own, &graph);
  call<Handle*, Handle, unsigned long long>("cuGraphInstantiateWithFlags", &executable, graph, 0);
  call<Handle, Handle>("cuGraphLaunch", executable, own);
  call<Handle, Handle>("cuEventRecord", begin, own);
  call<Handle, Handle>("cuGraphLaunch", executable, own);
  call<Handle, Handle>("cuEventRecord", end, own);
  call<Handle>("cuStreamSynchronize", own);
  float milliseconds = 0;
  call<float*, Handle, Handle>("cuEventElapsedTime", &milliseconds, begin, end);
  call<Handle>("cuGraphExecDestroy", executable);
  call<Handle>("cuGraphDestroy", graph);
  call<Handle>("cuEventDestroy_v2", begin);
  call<Handle>("cuEventDestroy_v2", end);
  call<Handle>("cuStreamDestroy_v2", own);
  return 1000.0 * static_cast<double>(milliseconds) / kRepetitions;
}

}  // namespace

extern "C" {

// Of the driver, with the parameters of its reference.
int cuLaunchKernel(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared_bytes, Handle stream, void** parameters,
                   void** extra) {
  static const auto real = reinterpret_cast<int (*)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                                    unsigned, Handle, void**, void**)>(find("cuLaunchKernel"));
  const auto launch = [&](Handle where) {
    return real(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, where, parameters, extra);
  };
  const int result = launch(stream);
  if (!timer.is_on || result != 0) return result;
  const char* name = "?";
  call<const char**, Handle>("cuFuncGetName", &name, function);
  timer.times.push_back({name, {grid_x, grid_y, grid_z}, block_x, shared_bytes, microseconds(stream, launch)});
  return 0;
}

// CUlaunchConfig: its first members.
struct LaunchConfig {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  Handle stream;
  void* attributes;
  unsigned attribute_count;
};

int cuLaunchKernelEx(const LaunchConfig* config, Handle function, void** parameters, void** extra) {
  static const auto real =
      reinterpret_cast<int (*)(const LaunchConfig*, Handle, void**, void**)>(find("cuLaunchKernelEx"));
  const auto launch = [&](Handle where) {
    LaunchConfig there = *config;
    there.stream = where;
    return real(&there, function, parameters, extra);
  };
  const int result = launch(config->stream);
  if (!timer.is_on || result != 0) return result;
  const char* name = "?";
  call<const char**, Handle>("cuFuncGetName", &name, function);
  timer.times.push_back({name,
                         {config->grid[0], config->grid[1], config->grid[2]},
                         config->block[0],
                         config->shared_bytes,
                         microseconds(config->stream, launch)});
  return 0;
}

void kernel_timer_start(void) {
  timer.times.clear();
  timer.is_on = true;
}

std::size_t kernel_timer_stop(const KernelTime** times) {
  timer.is_on = false;
  *times = timer.times.data();
  return timer.times.size();
}

}  // extern "C"
