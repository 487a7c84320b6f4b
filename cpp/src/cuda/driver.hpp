// The CUDA driver API, opened at run time: the declarations that the runtime needs, one table of functions, and its
// errors in the user's words. Numbers and signatures are those of NVIDIA's "CUDA Driver API" reference, release 12.0.
#ifndef AOTBUILD_SRC_CUDA_DRIVER_HPP_
#define AOTBUILD_SRC_CUDA_DRIVER_HPP_

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.hpp"

namespace aotbuild::detail::cuda {

// Errors that this runtime tells apart.
enum Result : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kStubLibrary = 34,
  kDeviceUnavailable = 46,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kNoBinaryForGpu = 209,
  kEccUncorrectable = 214,
  kInvalidPtx = 218,
  kJitCompilerNotFound = 221,
  kUnsupportedPtxVersion = 222,
  kNotFound = 500,
  kNotReady = 600,
  kIllegalAddress = 700,
  kLaunchOutOfResources = 701,
  kLaunchTimeout = 702,
  kContextIsDestroyed = 709,
  kAssert = 710,
  kHardwareStackError = 714,
  kIllegalInstruction = 715,
  kMisalignedAddress = 716,
  kInvalidAddressSpace = 717,
  kInvalidPc = 718,
  kLaunchFailed = 719,
  kSystemDriverMismatch = 803,
  kCompatNotSupportedOnDevice = 804,
  kUnknown = 999,
};

using Device = int;
using Context = struct ContextObject*;
using Module = struct ModuleObject*;
using Function = struct FunctionObject*;
using Stream = struct StreamObject*;
using Event = struct EventObject*;
using Graph = struct GraphObject*;
using GraphExec = struct GraphExecObject*;
using DevicePointer = unsigned long long;  // NOLINT: CUdeviceptr is this type

inline DevicePointer device_pointer(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

inline constexpr int kAttributeL2CacheSize = 38;
inline constexpr int kAttributeCapabilityMajor = 75;
inline constexpr int kAttributeCapabilityMinor = 76;
inline constexpr int kAttributeCooperativeLaunch = 95;
inline constexpr int kAttributeMaxSharedMemoryOptin = 97;

inline constexpr int kFunctionMaxThreads = 0;
inline constexpr int kFunctionMaxDynamicShared = 8;
inline constexpr int kFunctionNonPortableClusterSize = 14;

inline constexpr int kPointerMemoryType = 2;
inline constexpr int kPointerDeviceOrdinal = 9;
inline constexpr unsigned kMemoryTypeDevice = 2;

inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kEventDisableTiming = 2;
inline constexpr int kCaptureThreadLocal = 1;
inline constexpr int kCaptureRelaxed = 2;

struct Copy2D {  // CUDA_MEMCPY2D_v2
  std::size_t source_x;
  std::size_t source_y;
  unsigned source_type;
  const void* source_host;
  DevicePointer source_device;
  void* source_array;
  std::size_t source_pitch;
  std::size_t destination_x;
  std::size_t destination_y;
  unsigned destination_type;
  void* destination_host;
  DevicePointer destination_device;
  void* destination_array;
  std::size_t destination_pitch;
  std::size_t width;
  std::size_t height;
};

inline constexpr int kLaunchAttributeCooperative = 2;
inline constexpr int kLaunchAttributeClusterDimension = 4;
inline constexpr int kLaunchAttributeProgrammaticSerialization = 6;

struct alignas(8) LaunchAttribute {  // CUlaunchAttribute: the value is a union of 64 bytes
  int id;
  char padding[8 - sizeof(int)];
  unsigned value[16];
};

struct LaunchConfig {  // CUlaunchConfig
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  Stream stream;
  LaunchAttribute* attributes;
  unsigned attribute_count;
};

// The name in the library (with the version suffix that cuda.h gives it), the name in the table, the parameters.
#define AOTBUILD_CUDA_FUNCTIONS(F)                                                                                 \
  F(cuGetErrorName, get_error_name, (int, const char**))                                                           \
  F(cuGetErrorString, get_error_string, (int, const char**))                                                       \
  F(cuInit, init, (unsigned))                                                                                      \
  F(cuDriverGetVersion, driver_get_version, (int*))                                                                \
  F(cuDeviceGetCount, device_get_count, (int*))                                                                    \
  F(cuDeviceGet, device_get, (Device*, int))                                                                       \
  F(cuDeviceGetName, device_get_name, (char*, int, Device))                                                        \
  F(cuDeviceGetAttribute, device_get_attribute, (int*, int, Device))                                               \
  F(cuDevicePrimaryCtxRetain, primary_context_retain, (Context*, Device))                                          \
  F(cuDevicePrimaryCtxRelease_v2, primary_context_release, (Device))                                               \
  F(cuCtxPushCurrent_v2, context_push, (Context))                                                                  \
  F(cuCtxPopCurrent_v2, context_pop, (Context*))                                                                   \
  F(cuModuleLoadData, module_load_data, (Module*, const void*))                                                    \
  F(cuModuleUnload, module_unload, (Module))                                                                       \
  F(cuModuleGetFunction, module_get_function, (Function*, Module, const char*))                                    \
  F(cuFuncGetAttribute, function_get_attribute, (int*, int, Function))                                             \
  F(cuFuncSetAttribute, function_set_attribute, (Function, int, int))                                              \
  F(cuLaunchKernel, launch_kernel,                                                                                 \
    (Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void**, void**))      \
  F(cuLaunchKernelEx, launch_kernel_ex, (const LaunchConfig*, Function, void**, void**))                           \
  F(cuMemAlloc_v2, memory_allocate, (DevicePointer*, std::size_t))                                                 \
  F(cuMemFree_v2, memory_free, (DevicePointer))                                                                    \
  F(cuMemAllocHost_v2, host_memory_allocate, (void**, std::size_t))                                                \
  F(cuMemFreeHost, host_memory_free, (void*))                                                                      \
  F(cuMemGetInfo_v2, memory_get_info, (std::size_t*, std::size_t*))                                                \
  F(cuMemcpyHtoDAsync_v2, copy_to_device, (DevicePointer, const void*, std::size_t, Stream))                       \
  F(cuMemcpyDtoHAsync_v2, copy_to_host, (void*, DevicePointer, std::size_t, Stream))                               \
  F(cuMemcpyDtoDAsync_v2, copy_on_device, (DevicePointer, DevicePointer, std::size_t, Stream))                     \
  F(cuMemcpy2DAsync_v2, copy_2d, (const Copy2D*, Stream))                                                          \
  F(cuMemsetD2D8Async, set_2d_8, (DevicePointer, std::size_t, unsigned char, std::size_t, std::size_t, Stream))    \
  F(cuMemsetD2D16Async, set_2d_16, (DevicePointer, std::size_t, unsigned short, std::size_t, std::size_t, Stream)) \
  F(cuMemsetD2D32Async, set_2d_32, (DevicePointer, std::size_t, unsigned, std::size_t, std::size_t, Stream))       \
  F(cuPointerGetAttributes, pointer_get_attributes, (unsigned, int*, void**, DevicePointer))                       \
  F(cuStreamCreate, stream_create, (Stream*, unsigned))                                                            \
  F(cuStreamDestroy_v2, stream_destroy, (Stream))                                                                  \
  F(cuStreamSynchronize, stream_synchronize, (Stream))                                                             \
  F(cuStreamWaitEvent, stream_wait_event, (Stream, Event, unsigned))                                               \
  F(cuStreamGetCtx, stream_get_context, (Stream, Context*))                                                        \
  F(cuStreamIsCapturing, stream_is_capturing, (Stream, int*))                                                      \
  F(cuStreamBeginCapture_v2, stream_begin_capture, (Stream, int))                                                  \
  F(cuStreamEndCapture, stream_end_capture, (Stream, Graph*))                                                      \
  F(cuThreadExchangeStreamCaptureMode, thread_exchange_capture_mode, (int*))                                       \
  F(cuGraphInstantiateWithFlags, graph_instantiate, (GraphExec*, Graph, unsigned long long))                       \
  F(cuGraphDestroy, graph_destroy, (Graph))                                                                        \
  F(cuGraphExecDestroy, graph_exec_destroy, (GraphExec))                                                           \
  F(cuGraphLaunch, graph_launch, (GraphExec, Stream))                                                              \
  F(cuEventCreate, event_create, (Event*, unsigned))                                                               \
  F(cuEventDestroy_v2, event_destroy, (Event))                                                                     \
  F(cuEventRecord, event_record, (Event, Stream))                                                                  \
  F(cuEventQuery, event_query, (Event))                                                                            \
  F(cuEventSynchronize, event_synchronize, (Event))                                                                \
  F(cuEventElapsedTime, event_elapsed_time, (float*, Event, Event))

// The functions of an opened driver library.
struct Driver {
#define AOTBUILD_CUDA_MEMBER(symbol, name, parameters) int(*name) parameters = nullptr;
  AOTBUILD_CUDA_FUNCTIONS(AOTBUILD_CUDA_MEMBER)
#undef AOTBUILD_CUDA_MEMBER

  int version = 0;  // 1000 * major + 10 * minor of the CUDA release that the driver is for
};

// The driver, opened and initialised at the first call: libcuda.so.1, or the file that the environment variable
// AOTBUILD_CUDA_DRIVER names. It stays open for ever. Throws Error(AOTBUILD_UNSUPPORTED_HARDWARE) that begins with
// `model`.
const Driver& open_driver(const char* model);

// "12.4"
std::string version_text(int version);

// "CUDA_ERROR_OUT_OF_MEMORY (out of memory)"
std::string error_text(const Driver& driver, int result);
aotbuild_status status_of(int result) noexcept;
// Whether the process can do no more work on the device. A new primary context fails as well (seen on an H100, driver
// 580, after CUDA_ERROR_ILLEGAL_ADDRESS).
bool is_context_lost(int result) noexcept;
// What to do about an error; "" or a sentence that follows a semicolon.
const char* remedy_of(int result) noexcept;

// Throws for an error of a driver function: "encoder: cuLaunchKernel failed for kernel 'k': CUDA_ERROR_...; remedy".
template <typename... What>
void check(const Driver& driver, int result, const char* model, const char* function, const What&... what) {
  if (result == kSuccess) return;
  const char* remedy = remedy_of(result);
  fail(status_of(result), model, ": ", function, " failed", what..., ": ", error_text(driver, result),
       *remedy == '\0' ? "" : "; ", remedy);
}

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_DRIVER_HPP_
