// What the generated class of a hand-written kernel is built on: pointers into device memory, and the C ABI with
// ownership and errors. It needs no header of CUDA.
#ifndef AOTBUILD_KERNEL_HPP_
#define AOTBUILD_KERNEL_HPP_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "aotbuild/cuda.hpp"
#include "aotbuild/error.hpp"

namespace aotbuild {
inline namespace AOTBUILD_NAMESPACE {

// Memory of a CUDA device, as a kernel takes it: a pointer, or a tensor of the device, whose sizes and strides the
// kernel gets by other arguments if it needs them.
template <typename T>
class DevicePointer {
  template <typename U>
  static constexpr bool converts = std::is_convertible_v<U*, T*>;

 public:
  DevicePointer() = default;               // null
  DevicePointer(T* data) : data_(data) {}  // memory of the kernel's device
  // The elements of a view.
  template <typename U, std::size_t Rank, std::enable_if_t<converts<U>, int> = 0>
  DevicePointer(const DeviceView<U, Rank>& view) : data_(view.data()), device_(view.device().index) {}
  // The elements of a tensor.
  template <typename U, std::size_t Rank, std::enable_if_t<converts<U>, int> = 0>
  DevicePointer(DeviceTensor<U, Rank>& tensor) : DevicePointer(tensor.view()) {}
  // The elements of a tensor, which the kernel reads.
  template <typename U, std::size_t Rank, std::enable_if_t<converts<const U>, int> = 0>
  DevicePointer(const DeviceTensor<U, Rank>& tensor) : DevicePointer(tensor.view()) {}

  T* data() const { return data_; }  // for the launch
  // The index of its device, -1 where only the pointer is known.
  int device() const { return device_; }

 private:
  T* data_ = nullptr;
  int device_ = -1;
};

}  // namespace AOTBUILD_NAMESPACE

namespace detail {
inline namespace AOTBUILD_NAMESPACE {

// The functions of one kernel's C ABI.
struct KernelFunctions {
  aotbuild_status (*create)(std::int32_t device, aotbuild_kernel** kernel);
  void (*destroy)(aotbuild_kernel* kernel);
  const char* (*last_error)();
};

// A kernel object behind the functions of its C ABI. Movable; a moved-from object may only be assigned or destroyed.
class KernelHandle {
 public:
  static Expected<KernelHandle> try_create(const char* name, const KernelFunctions& functions, int device) {
    aotbuild_kernel* kernel = nullptr;
    const aotbuild_status code = functions.create(device, &kernel);
    if (code != AOTBUILD_OK) return Status(code, functions.last_error());
    return KernelHandle(name, functions, device, kernel);
  }

  const aotbuild_kernel* get() const { return handle_.get(); }

  Status status_of(aotbuild_status code) const { return code == AOTBUILD_OK ? Status() : Status(code, last_error_()); }

  // Refuses a pointer to memory of another device.
  template <typename T>
  void check(const char* argument, const DevicePointer<T>& value, Status* status) const {
    if (value.device() < 0 || value.device() == device_ || !status->ok()) return;
    *status = Status(AOTBUILD_INVALID_ARGUMENT,
                     format("%s: argument '%s' is on CUDA device %d, but the kernel is on device %d", name_, argument,
                            value.device(), device_));
  }

 private:
  KernelHandle(const char* name, const KernelFunctions& functions, int device, aotbuild_kernel* kernel)
      : name_(name), last_error_(functions.last_error), device_(device), handle_(kernel, functions.destroy) {}

  const char* name_;
  const char* (*last_error_)();
  int device_;
  Handle<aotbuild_kernel> handle_;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail

}  // namespace aotbuild

#endif  // AOTBUILD_KERNEL_HPP_
