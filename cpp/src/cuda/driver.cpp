#include "cuda/driver.hpp"

#include <map>
#include <memory>
#include <mutex>

#include "base/system.hpp"

namespace aotbuild::detail::cuda {

namespace {

// Cubins of one CUDA release run on drivers of the same major release ("CUDA Compatibility", minor version
// compatibility), and graphs are instantiated with cuGraphInstantiateWithFlags, which drivers have since 11.4.
constexpr int kOldestVersion = 12000;

std::unique_ptr<Driver> open_library(const char* path, const char* model) {
  // Local: a program's own CUDA libraries must not find their symbols through this handle.
  std::string why;
  void* const library = os::open_library(path, &why);
  if (library == nullptr) {
    fail(AOTBUILD_UNSUPPORTED_HARDWARE, model, ": built for CUDA, but this machine has no NVIDIA driver (", why,
         "); install the driver, or build a model with DEVICE cpu");
  }
  auto driver = std::make_unique<Driver>();
  const auto old = [&](const std::string& what) {
    fail(AOTBUILD_UNSUPPORTED_HARDWARE, model, ": the NVIDIA driver '", path, "' is too old: ", what,
         "; install a driver for CUDA ", version_text(kOldestVersion), " or later");
  };
  const auto find = [&](const char* symbol) { return os::find_symbol(library, symbol); };
  const auto get_version = reinterpret_cast<int (*)(int*)>(find("cuDriverGetVersion"));
  if (get_version != nullptr) get_version(&driver->version);
  if (driver->version != 0 && driver->version < kOldestVersion) {
    old("it is for CUDA " + version_text(driver->version));
  }
#define AOTBUILD_CUDA_LOAD(symbol, name, parameters)                 \
  driver->name = reinterpret_cast<int(*) parameters>(find(#symbol)); \
  if (driver->name == nullptr) old("it has no function " #symbol);
  AOTBUILD_CUDA_FUNCTIONS(AOTBUILD_CUDA_LOAD)
#undef AOTBUILD_CUDA_LOAD
  const int result = driver->init(0);
  if (result == kNoDevice) {
    fail(AOTBUILD_UNSUPPORTED_HARDWARE, model,
         ": built for CUDA, but this machine has no CUDA device that the program "
         "may use; check nvidia-smi and CUDA_VISIBLE_DEVICES");
  }
  check(*driver, result, model, "cuInit");
  return driver;
}

}  // namespace

const Driver& open_driver(const char* model) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<Driver>> drivers;
  const char* const chosen = os::trusted_variable("AOTBUILD_CUDA_DRIVER");
  const std::string path = chosen != nullptr && *chosen != '\0' ? chosen : os::cuda_driver();
  const std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<Driver>& driver = drivers[path];
  if (driver == nullptr) driver = open_library(path.c_str(), model);
  return *driver;
}

std::string version_text(int version) { return concat(version / 1000, ".", version % 1000 / 10); }

std::string error_text(const Driver& driver, int result) {
  const char* name = nullptr;
  const char* text = nullptr;
  if (driver.get_error_name(result, &name) != kSuccess || name == nullptr) return concat("CUDA error ", result);
  if (driver.get_error_string(result, &text) != kSuccess || text == nullptr) return name;
  return concat(name, " (", text, ")");
}

aotbuild_status status_of(int result) noexcept {
  switch (result) {
    case kOutOfMemory:
      return AOTBUILD_OUT_OF_MEMORY;
    case kStubLibrary:
    case kDeviceUnavailable:
    case kNoDevice:
    case kInvalidDevice:
    case kInvalidImage:
    case kNoBinaryForGpu:
    case kInvalidPtx:
    case kJitCompilerNotFound:
    case kUnsupportedPtxVersion:
    case kSystemDriverMismatch:
    case kCompatNotSupportedOnDevice:
      return AOTBUILD_UNSUPPORTED_HARDWARE;
    default:
      return AOTBUILD_RUNTIME_ERROR;
  }
}

bool is_context_lost(int result) noexcept {
  switch (result) {
    case kEccUncorrectable:
    case kIllegalAddress:
    case kLaunchTimeout:
    case kContextIsDestroyed:
    case kAssert:
    case kHardwareStackError:
    case kIllegalInstruction:
    case kMisalignedAddress:
    case kInvalidAddressSpace:
    case kInvalidPc:
    case kLaunchFailed:
    case kUnknown:
      return true;
    default:
      return false;
  }
}

const char* remedy_of(int result) noexcept {
  if (is_context_lost(result)) {
    return "work that was queued on the device has failed, and the driver takes no more work for it from this process "
           "(models for the CPU go on): restart the process";
  }
  switch (result) {
    case kOutOfMemory:
      return "use a smaller batch, or free memory on the device";
    case kDeviceUnavailable:
      return "another process holds the device in exclusive mode";
    case kInvalidImage:
    case kNoBinaryForGpu:
      return "generate the model again with this device in CUDA_ARCHITECTURES";
    case kUnsupportedPtxVersion:
      return "the driver is older than the compiler that made the kernels: update the NVIDIA driver";
    case kJitCompilerNotFound:
      return "install the driver's library libnvidia-ptxjitcompiler, or add this device to CUDA_ARCHITECTURES";
    case kSystemDriverMismatch:
      return "the driver's library and kernel module are of different versions: restart the machine";
    case kCompatNotSupportedOnDevice:
      return "the compatibility driver in the library path does not support this device: remove it";
    case kLaunchOutOfResources:
      return "the kernel needs more registers or shared memory than this device has";
    default:
      return "";
  }
}

}  // namespace aotbuild::detail::cuda
