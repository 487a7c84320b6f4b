#include "cuda/device.hpp"

#include <array>
#include <utility>

namespace aotbuild::detail::cuda {

namespace {

// Allocations are allowed while this thread captures a graph: they are no part of it.
class RelaxedCaptureScope {
 public:
  explicit RelaxedCaptureScope(const Driver& driver) : driver_(driver) { driver_.thread_exchange_capture_mode(&mode_); }
  ~RelaxedCaptureScope() { driver_.thread_exchange_capture_mode(&mode_); }
  RelaxedCaptureScope(const RelaxedCaptureScope&) = delete;
  RelaxedCaptureScope& operator=(const RelaxedCaptureScope&) = delete;

 private:
  const Driver& driver_;
  int mode_ = kCaptureRelaxed;
};

}  // namespace

CudaDevice::CudaDevice(const Driver& driver, int index, std::string model)
    : driver_(driver), index_(index), model_(std::move(model)) {
  int count = 0;
  check(driver_.device_get_count(&count), "cuDeviceGetCount");
  if (index_ < 0 || index_ >= count) {
    fail(AOTBUILD_UNSUPPORTED_HARDWARE, model_, ": the program asks for CUDA device ", index_,
         ", but this machine has ", count, " that it may use (CUDA_VISIBLE_DEVICES hides devices)");
  }
  check(driver_.device_get(&handle_, index_), "cuDeviceGet");
  std::array<char, 128> name{};
  check(driver_.device_get_name(name.data(), static_cast<int>(name.size()) - 1, handle_), "cuDeviceGetName");
  name_ = name.data();
  capability_ = 10 * attribute(kAttributeCapabilityMajor) + attribute(kAttributeCapabilityMinor);
  max_shared_bytes_ = attribute(kAttributeMaxSharedMemoryOptin);
  has_cooperative_launch_ = attribute(kAttributeCooperativeLaunch) != 0;
  check(driver_.primary_context_retain(&context_, handle_), "cuDevicePrimaryCtxRetain", " for ", description());
}

CudaDevice::~CudaDevice() { driver_.primary_context_release(handle_); }

int CudaDevice::attribute(int id) const {
  int value = 0;
  check(driver_.device_get_attribute(&value, id, handle_), "cuDeviceGetAttribute");
  return value;
}

std::string CudaDevice::description() const {
  return concat("device ", index_, " (", name_, ", compute capability ", capability_ / 10, ".", capability_ % 10, ")");
}

DevicePointer CudaDevice::try_allocate(std::size_t nbytes) {
  const RelaxedCaptureScope relaxed(driver_);
  DevicePointer memory = 0;
  const int result = driver_.memory_allocate(&memory, nbytes);
  if (result == kOutOfMemory) return 0;
  check(result, "cuMemAlloc", " for ", nbytes, " bytes");
  allocations_.fetch_add(1, std::memory_order_relaxed);
  allocated_bytes_.fetch_add(nbytes, std::memory_order_relaxed);
  return memory;
}

void* CudaDevice::try_allocate_host(std::size_t nbytes) {
  const RelaxedCaptureScope relaxed(driver_);
  void* memory = nullptr;
  const int result = driver_.host_memory_allocate(&memory, nbytes);
  if (result == kOutOfMemory) return nullptr;
  check(result, "cuMemAllocHost", " for ", nbytes, " bytes");
  allocations_.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

void CudaDevice::fail_out_of_memory(std::size_t nbytes, const char* kind) const {
  std::size_t available = 0;
  std::size_t total = 0;
  driver_.memory_get_info(&available, &total);
  fail(AOTBUILD_OUT_OF_MEMORY, model_, ": ", description(), " has no memory for ", nbytes, " bytes of ", kind,
       ": this model holds ", allocated_bytes(), " bytes, and ", available, " of ", total,
       " bytes are free; use a smaller batch, or free memory on the device");
}

void CudaDevice::free(DevicePointer memory, std::size_t nbytes) noexcept {
  const RelaxedCaptureScope relaxed(driver_);
  driver_.memory_free(memory);
  allocated_bytes_.fetch_sub(nbytes, std::memory_order_relaxed);
}

void CudaDevice::free_host(void* memory) noexcept {
  const RelaxedCaptureScope relaxed(driver_);
  driver_.host_memory_free(memory);
}

DeviceBuffer::DeviceBuffer(std::shared_ptr<CudaDevice> device, std::size_t nbytes, const char* kind)
    : device_(std::move(device)), data_(device_->try_allocate(nbytes)), nbytes_(nbytes) {
  if (data_ == 0) device_->fail_out_of_memory(nbytes_, kind);
}

DeviceBuffer::~DeviceBuffer() {
  const ReleaseScope scope(*device_);
  device_->free(data_, nbytes_);
}

}  // namespace aotbuild::detail::cuda
