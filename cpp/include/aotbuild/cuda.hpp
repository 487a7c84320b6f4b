// What the classes of CUDA models take and give beside tensor.hpp: memory of a device, and streams. It needs no header
// of CUDA.
#ifndef AOTBUILD_CUDA_HPP_
#define AOTBUILD_CUDA_HPP_

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "aotbuild/tensor.hpp"

namespace aotbuild {
inline namespace AOTBUILD_NAMESPACE {

// A tensor in somebody else's memory on a CUDA device, which the host cannot read. Strides count elements.
template <typename T, std::size_t Rank>
class DeviceView : public detail::ViewBase<T, Rank> {
  using Base = detail::ViewBase<T, Rank>;

 public:
  DeviceView() : DeviceView(nullptr, Extents<Rank>()) {}  // of no memory

  // Contiguous (row-major) memory of device 0.
  DeviceView(T* data, const Extents<Rank>& sizes) : DeviceView(data, sizes, 0) {}

  // Contiguous memory of device `index`, as CUDA counts devices in this process.
  DeviceView(T* data, const Extents<Rank>& sizes, int index)
      : DeviceView(data, sizes, detail::contiguous_strides<Rank>(sizes), index) {}

  // Memory of device `index` with steps of so many elements.
  DeviceView(T* data, const Extents<Rank>& sizes, const Extents<Rank>& strides, int index = 0)
      : Base(data, sizes, strides, {AOTBUILD_CUDA, index}) {}

  // A read-only view of the same elements.
  template <typename U, typename = std::enable_if_t<std::is_same_v<const U, T>>>
  DeviceView(const DeviceView<U, Rank>& other)
      : DeviceView(other.data(), other.sizes(), other.strides(), other.device().index) {}
};

// A tensor that owns its memory on a CUDA device, or a share of it: what a model returns there. It outlives the model
// that made it. Destroy it when nothing that reads it is queued on another stream than the one it was made on.
template <typename T, std::size_t Rank>
class DeviceTensor : public detail::OwnedView<DeviceView, T, Rank> {
 public:
  using detail::OwnedView<DeviceView, T, Rank>::OwnedView;
};

// A tensor in somebody else's memory, of the host or of a device: what a CUDA model reads, and what it writes to.
// Made from whatever a TensorView or a DeviceView can be made from.
template <typename T, std::size_t Rank>
class HostOrDeviceView : public detail::ViewBase<T, Rank> {
  using Base = detail::ViewBase<T, Rank>;

  template <typename From, typename To>
  static constexpr bool converts =
      !std::is_base_of_v<HostOrDeviceView, std::decay_t<From>> && std::is_convertible_v<From&&, To>;

 public:
  HostOrDeviceView() = default;  // of no memory

  // Contiguous (row-major) host memory.
  HostOrDeviceView(T* data, const Extents<Rank>& sizes)
      : HostOrDeviceView(data, sizes, detail::contiguous_strides<Rank>(sizes)) {}

  // Host memory with steps of so many elements.
  HostOrDeviceView(T* data, const Extents<Rank>& sizes, const Extents<Rank>& strides)
      : Base(data, sizes, strides, kCpuDevice) {}

  // Tensors, containers and values of the host.
  template <typename From, std::enable_if_t<converts<From, TensorView<T, Rank>>, int> = 0>
  HostOrDeviceView(From&& from) : Base(TensorView<T, Rank>(std::forward<From>(from))) {}

  // Tensors of a device.
  template <typename From, std::enable_if_t<converts<From, DeviceView<T, Rank>>, int> = 0>
  HostOrDeviceView(From&& from) : Base(DeviceView<T, Rank>(std::forward<From>(from))) {}

  // A read-only view of the same elements.
  template <typename U, typename = std::enable_if_t<std::is_same_v<const U, T>>>
  HostOrDeviceView(const HostOrDeviceView<U, Rank>& other)
      : Base(other.data(), other.sizes(), other.strides(), other.device()) {}
};

// Where a call's work is queued: a cudaStream_t or CUstream of the model's device. A default-constructed one stands for
// none: the call runs on a stream of the model's own, and its results are there when it returns.
class CudaStream {
 public:
  CudaStream() = default;  // none

  // The null handle is the legacy default stream, as CUDA has it.
  template <typename Stream>
  CudaStream(Stream* handle) : handle_(handle != nullptr ? static_cast<void*>(handle) : legacy_default()) {}

  void* handle() const { return handle_; }  // for the C ABI; null for none

 private:
  static void* legacy_default() { return reinterpret_cast<void*>(std::uintptr_t{1}); }  // CU_STREAM_LEGACY

  void* handle_ = nullptr;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild

#endif  // AOTBUILD_CUDA_HPP_
