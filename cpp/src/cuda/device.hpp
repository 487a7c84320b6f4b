// One CUDA device as a model uses it: its primary context, its properties, and memory with an owner.
#ifndef AOTBUILD_SRC_CUDA_DEVICE_HPP_
#define AOTBUILD_SRC_CUDA_DEVICE_HPP_

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>

#include "cuda/driver.hpp"

namespace aotbuild::detail::cuda {

// Retains the device's primary context, the one that the CUDA runtime and PyTorch use. Whatever is made in the context
// holds a reference to this object, so the context is released last.
class CudaDevice {
 public:
  // Throws Error(AOTBUILD_UNSUPPORTED_HARDWARE).
  CudaDevice(const Driver& driver, int index, std::string model);
  ~CudaDevice();
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  const Driver& driver() const { return driver_; }
  Device handle() const { return handle_; }
  Context context() const { return context_; }
  const std::string& name() const { return name_; }
  int index() const { return index_; }
  int capability() const { return capability_; }  // 10 * major + minor
  int max_shared_bytes() const { return max_shared_bytes_; }
  bool has_cooperative_launch() const { return has_cooperative_launch_; }
  const char* model() const { return model_.c_str(); }
  std::string description() const;  // "device 0 (NVIDIA H100, compute capability 9.0)"

  // Throws for an error of a driver function that was called for this device's model.
  template <typename... What>
  void check(int result, const char* function, const What&... what) const {
    if (result != kSuccess) cuda::check(driver_, result, model(), function, what...);
  }

  // The context must be current. Null: there is no memory. Throws for other errors.
  DevicePointer try_allocate(std::size_t nbytes);
  void* try_allocate_host(std::size_t nbytes);
  [[noreturn]] void fail_out_of_memory(std::size_t nbytes, const char* kind) const;
  // Waits for what is queued on all streams, as cuMemFree does, so that none of it uses the memory any more. Nothing
  // waits by cuCtxSynchronize, in which driver 580.159.04 was seen to crash.
  void free(DevicePointer memory, std::size_t nbytes) noexcept;
  void free_host(void* memory) noexcept;

  std::uint64_t allocations() const { return allocations_.load(std::memory_order_relaxed); }
  std::uint64_t allocated_bytes() const { return allocated_bytes_.load(std::memory_order_relaxed); }

 private:
  int attribute(int id) const;

  const Driver& driver_;
  const int index_;
  const std::string model_;
  Device handle_ = 0;
  Context context_ = nullptr;
  std::string name_;
  int capability_ = 0;
  int max_shared_bytes_ = 0;
  bool has_cooperative_launch_ = false;
  std::atomic<std::uint64_t> allocations_{0};      // of the driver, on the device or of pinned memory
  std::atomic<std::uint64_t> allocated_bytes_{0};  // on the device, now
};

// Makes the device's context the thread's current one, and what was current before at the end.
class ContextScope {
 public:
  explicit ContextScope(const CudaDevice& device) : device_(device) {
    device_.check(device_.driver().context_push(device_.context()), "cuCtxPushCurrent");
  }
  ~ContextScope() {
    Context popped = nullptr;
    device_.driver().context_pop(&popped);
  }
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

 private:
  const CudaDevice& device_;
};

// As above for destructors: nothing is done in a context that is lost.
class ReleaseScope {
 public:
  explicit ReleaseScope(const CudaDevice& device) noexcept
      : driver_(device.driver()), active_(driver_.context_push(device.context()) == kSuccess) {}
  ~ReleaseScope() {
    Context popped = nullptr;
    if (active_) driver_.context_pop(&popped);
  }
  ReleaseScope(const ReleaseScope&) = delete;
  ReleaseScope& operator=(const ReleaseScope&) = delete;

 private:
  const Driver& driver_;
  bool active_;
};

// One block of device memory that lives as long as this object. Freed when no queued work can use it any more.
class DeviceBuffer {
 public:
  // Throws Error(AOTBUILD_OUT_OF_MEMORY). The context must be current.
  DeviceBuffer(std::shared_ptr<CudaDevice> device, std::size_t nbytes, const char* kind);
  ~DeviceBuffer();
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  void* data() const { return reinterpret_cast<void*>(data_); }  // NOLINT: an address on the device

 private:
  std::shared_ptr<CudaDevice> device_;
  DevicePointer data_ = 0;
  std::size_t nbytes_;
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_DEVICE_HPP_
