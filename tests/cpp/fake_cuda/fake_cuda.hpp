// A stand-in for NVIDIA's driver: the cu* functions that the runtime uses, over host memory, as strict as it can be.
// Work that is queued is done as late as the API allows: when somebody waits for it. So whoever reads too early, or
// writes over what is still to be read, gets wrong values. Every argument is checked; what the real driver would not
// notice (or would crash on) becomes a violation.
#ifndef AOTBUILD_TESTS_CPP_FAKE_CUDA_FAKE_CUDA_HPP_
#define AOTBUILD_TESTS_CPP_FAKE_CUDA_FAKE_CUDA_HPP_

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace fake_cuda {

struct Launch {
  unsigned grid[3];
  unsigned threads;
  unsigned shared_bytes;
  unsigned cluster_blocks;
  bool cooperative;
  bool starts_early;  // programmatic dependent launch
};

// Does a kernel's work in host memory: `arguments` as for cuLaunchKernel. Returns a CUresult, which the device reports
// when somebody waits for the kernel.
using Kernel = int (*)(const Launch& launch, void** arguments);

struct Device {
  int capability = 90;
  std::size_t memory = std::size_t{1} << 30;
  int max_shared_bytes = 232448;
};

// Forgets everything: one default device, no kernels, no failures, no violations.
void reset();
void set_devices(const std::vector<Device>& devices);
void set_driver_version(int version);

void add_kernel(const std::string& name, Kernel kernel, const std::vector<std::size_t>& parameter_sizes);
// Moves the device's clock, which events read: what a kernel calls to take time.
void advance(double microseconds);
// Queues what a library does on a stream, or captures it; a CUresult. Work that is not ready holds up its stream, and
// whoever waits for that; it is asked again and again.
int queue(void* stream, std::function<void()> work, std::function<bool()> is_ready = {});
// What cuModuleLoadData takes here: an image with the named kernels for one architecture. 0: PTX.
std::vector<unsigned char> make_image(int architecture, const std::vector<std::string>& kernels);

// The calls of `function` after `skip` more return `error`, `times` times. The same may be asked for before the program
// starts: FAKE_CUDA_FAIL="cuMemAlloc_v2:2:5:1 cuInit:100:0:1".
void fail(const std::string& function, int error, int skip = 0, int times = 1);

// Whatever function it is, the call after `skip` more returns `error`; none with a negative `skip`.
void fail_call(long skip, int error);
// The function of that call; empty while it has not come.
std::string failed_call();
// Begins a function of a library over the driver, whose calls are counted with the driver's: its error, or 0.
int enter_library(const char* function);

long calls(const std::string& function);

// What exists now.
struct Live {
  int contexts;
  int modules;
  int streams;
  int events;
  int graphs;  // graphs and executable graphs
  int device_blocks;
  int host_blocks;
  std::size_t device_bytes;
  bool none() const { return contexts + modules + streams + events + graphs + device_blocks + host_blocks == 0; }
};
Live live();

// Contexts that were pushed on this thread and not popped.
std::size_t context_depth();

std::vector<std::string> violations();

}  // namespace fake_cuda

#endif  // AOTBUILD_TESTS_CPP_FAKE_CUDA_FAKE_CUDA_HPP_
