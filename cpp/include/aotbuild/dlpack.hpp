// DLPack tensors in and out, without including dlpack.h: the functions take whichever DLTensor and DLManagedTensor
// types the program has. The layout is that of https://dmlc.github.io/dlpack/latest/c_api.html.
#ifndef AOTBUILD_DLPACK_HPP_
#define AOTBUILD_DLPACK_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "aotbuild/cuda.hpp"
#include "aotbuild/tensor.hpp"

namespace aotbuild {
namespace detail {
inline namespace AOTBUILD_NAMESPACE {

AOTBUILD_HIDDEN inline constexpr std::int32_t kDlCudaHost = 3;  // DLPack's kDLCUDAHost

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail

inline namespace AOTBUILD_NAMESPACE {

// A view of the memory of a DLTensor, of the host or of a CUDA device, as CUDA models take it:
// `auto ids = try_from_dlpack_anywhere<const std::int64_t, 2>(managed->dl_tensor)`.
// A status when element type or rank differ, or the memory is of another kind of device.
template <typename T, std::size_t Rank, typename DLTensor>
Expected<HostOrDeviceView<T, Rank>> try_from_dlpack_anywhere(const DLTensor& tensor) {
  const aotbuild_dtype dtype{static_cast<std::uint8_t>(tensor.dtype.code), tensor.dtype.bits, tensor.dtype.lanes};
  if (dtype != dtype_v<T> || tensor.ndim != static_cast<std::int32_t>(Rank)) {
    return Status(AOTBUILD_INVALID_ARGUMENT,
                  detail::format("from_dlpack: expected %s of rank %zu, got %s of rank %d", dtype_name(dtype_v<T>),
                                 Rank, dtype_name(dtype), static_cast<int>(tensor.ndim)));
  }
  Extents<Rank> sizes;
  for (std::size_t i = 0; i < Rank; ++i) sizes[i] = tensor.shape[i];
  Extents<Rank> strides = detail::contiguous_strides<Rank>(sizes);
  if (tensor.strides != nullptr) {
    for (std::size_t i = 0; i < Rank; ++i) strides[i] = tensor.strides[i];
  }
  using Byte = std::conditional_t<std::is_const_v<T>, const unsigned char, unsigned char>;
  auto* const bytes = static_cast<Byte*>(tensor.data) + tensor.byte_offset;
  const auto type = static_cast<std::int32_t>(tensor.device.device_type);
  T* const data = reinterpret_cast<T*>(bytes);
  using View = HostOrDeviceView<T, Rank>;
  if (type == AOTBUILD_CPU || type == detail::kDlCudaHost) return View(TensorView<T, Rank>(data, sizes, strides));
  if (type == AOTBUILD_CUDA) return View(DeviceView<T, Rank>(data, sizes, strides, tensor.device.device_id));
  return Status(AOTBUILD_INVALID_ARGUMENT,
                detail::format("from_dlpack: the tensor is on DLPack's device type %d, expected 1 (CPU), 2 (CUDA) or 3 "
                               "(CUDA's pinned host memory)",
                               static_cast<int>(type)));
}

// A view of the host memory of a DLTensor: `auto ids = try_from_dlpack<const std::int64_t, 2>(managed->dl_tensor)`.
// A status when element type or rank differ, or the memory is not the host's.
template <typename T, std::size_t Rank, typename DLTensor>
Expected<TensorView<T, Rank>> try_from_dlpack(const DLTensor& tensor) {
  const Expected<HostOrDeviceView<T, Rank>> view = try_from_dlpack_anywhere<T, Rank>(tensor);
  if (!view) return view.status();
  if (view->device().type != AOTBUILD_CPU) {
    return Status(AOTBUILD_INVALID_ARGUMENT,
                  detail::format("from_dlpack: the tensor is on CUDA device %d, expected host memory; CUDA models take "
                                 "from_dlpack_anywhere()",
                                 static_cast<int>(view->device().index)));
  }
  return TensorView<T, Rank>(view->data(), view->sizes(), view->strides());
}

#if AOTBUILD_EXCEPTIONS
// As try_from_dlpack_anywhere(), but throws Error.
template <typename T, std::size_t Rank, typename DLTensor>
HostOrDeviceView<T, Rank> from_dlpack_anywhere(const DLTensor& tensor) {
  return detail::value_or_throw(try_from_dlpack_anywhere<T, Rank>(tensor));
}
// As try_from_dlpack(), but throws Error.
template <typename T, std::size_t Rank, typename DLTensor>
TensorView<T, Rank> from_dlpack(const DLTensor& tensor) {
  return detail::value_or_throw(try_from_dlpack<T, Rank>(tensor));
}
#endif

}  // namespace AOTBUILD_NAMESPACE

namespace detail {
inline namespace AOTBUILD_NAMESPACE {

// What a DLManagedTensor made by to_dlpack() points to.
template <typename DLManagedTensor, typename Owning>
struct ManagedTensor {
  Owning tensor;
  Extents<Owning::rank> sizes;
  Extents<Owning::rank> strides;
  DLManagedTensor managed;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail

inline namespace AOTBUILD_NAMESPACE {

// Hands a result over as a DLPack tensor: `DLManagedTensor* managed = to_dlpack<DLManagedTensor>(std::move(output))`,
// for a Tensor or a DeviceTensor. The receiver calls its `deleter`, as DLPack has it.
template <typename DLManagedTensor, typename Owning>
DLManagedTensor* to_dlpack(Owning tensor) {
  using T = typename Owning::value_type;
  using Owner = detail::ManagedTensor<DLManagedTensor, Owning>;
  auto* const owner = new Owner;
  owner->sizes = tensor.sizes();
  owner->strides = tensor.strides();
  owner->tensor = std::move(tensor);
  auto& out = owner->managed.dl_tensor;
  out.data = owner->tensor.data();
  out.device.device_type = static_cast<decltype(out.device.device_type)>(owner->tensor.device().type);
  out.device.device_id = owner->tensor.device().index;
  out.ndim = static_cast<std::int32_t>(Owning::rank);
  out.dtype.code = dtype_v<T>.code;
  out.dtype.bits = dtype_v<T>.bits;
  out.dtype.lanes = dtype_v<T>.lanes;
  out.shape = owner->sizes.data();
  out.strides = owner->strides.data();
  out.byte_offset = 0;
  owner->managed.manager_ctx = owner;
  owner->managed.deleter = [](DLManagedTensor* self) { delete static_cast<Owner*>(self->manager_ctx); };
  return &owner->managed;
}

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild

#endif  // AOTBUILD_DLPACK_HPP_
