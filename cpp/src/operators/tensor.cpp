// The C shim: properties, creation, views, assignment and copies of tensors.
#include <cstring>
#include <vector>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"
#include "tensor/device_call.hpp"
#include "tensor/workspace.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

// The size or stride of one dimension.
std::int64_t of_dim(AtenTensorHandle tensor, std::int64_t dim, const char* what,
                    const std::int64_t* (Tensor::*values)() const noexcept, const char* function) {
  const Tensor& self = checked(tensor, function, "tensor");
  if (self.ndim == 0) fail(function, "a tensor without dimensions has no ", what, " ", dim);
  return (self.*values)()[checked_dim(dim, self.ndim, function)];
}

}  // namespace

// Properties.

AOTITorchError aotbuild_torch_get_data_ptr(AtenTensorHandle tensor, void** ret) {
  constexpr const char* function = "aoti_torch_get_data_ptr";
  return guarded([&] { checked_result(ret, function) = checked(tensor, function, "tensor").data(); });
}

AOTITorchError aotbuild_torch_get_storage_size(AtenTensorHandle tensor, std::int64_t* ret) {
  constexpr const char* function = "aoti_torch_get_storage_size";
  return guarded([&] {
    checked_result(ret, function) = static_cast<std::int64_t>(checked(tensor, function, "tensor").storage->nbytes);
  });
}

AOTITorchError aotbuild_torch_get_storage_numel(AtenTensorHandle tensor, std::int64_t* ret) {
  constexpr const char* function = "aoti_torch_get_storage_numel";
  return guarded([&] {
    const Tensor& self = checked(tensor, function, "tensor");
    checked_result(ret, function) = static_cast<std::int64_t>(self.storage->nbytes / self.element_size());
  });
}

AOTITorchError aotbuild_torch_get_storage_offset(AtenTensorHandle tensor, std::int64_t* ret) {
  constexpr const char* function = "aoti_torch_get_storage_offset";
  return guarded([&] { checked_result(ret, function) = checked(tensor, function, "tensor").offset; });
}

AOTITorchError aotbuild_torch_get_dim(AtenTensorHandle tensor, std::int64_t* ret) {
  constexpr const char* function = "aoti_torch_get_dim";
  return guarded([&] { checked_result(ret, function) = checked(tensor, function, "tensor").ndim; });
}

AOTITorchError aotbuild_torch_get_numel(AtenTensorHandle tensor, std::int64_t* ret) {
  constexpr const char* function = "aoti_torch_get_numel";
  return guarded([&] { checked_result(ret, function) = checked(tensor, function, "tensor").numel(); });
}

AOTITorchError aotbuild_torch_get_sizes(AtenTensorHandle tensor, std::int64_t** ret) {
  constexpr const char* function = "aoti_torch_get_sizes";
  return guarded([&] { checked_result(ret, function) = checked(tensor, function, "tensor").sizes(); });
}

AOTITorchError aotbuild_torch_get_size(AtenTensorHandle tensor, std::int64_t dim, std::int64_t* ret) {
  constexpr const char* function = "aoti_torch_get_size";
  return guarded([&] { checked_result(ret, function) = of_dim(tensor, dim, "size", &Tensor::sizes, function); });
}

AOTITorchError aotbuild_torch_get_strides(AtenTensorHandle tensor, std::int64_t** ret) {
  constexpr const char* function = "aoti_torch_get_strides";
  return guarded([&] { checked_result(ret, function) = checked(tensor, function, "tensor").strides(); });
}

AOTITorchError aotbuild_torch_get_stride(AtenTensorHandle tensor, std::int64_t dim, std::int64_t* ret) {
  constexpr const char* function = "aoti_torch_get_stride";
  return guarded([&] { checked_result(ret, function) = of_dim(tensor, dim, "stride", &Tensor::strides, function); });
}

AOTITorchError aotbuild_torch_get_dtype(AtenTensorHandle tensor, std::int32_t* ret) {
  constexpr const char* function = "aoti_torch_get_dtype";
  return guarded(
      [&] { checked_result(ret, function) = static_cast<std::int32_t>(checked(tensor, function, "tensor").dtype); });
}

AOTITorchError aotbuild_torch_get_device_type(AtenTensorHandle tensor, std::int32_t* ret) {
  constexpr const char* function = "aoti_torch_get_device_type";
  return guarded(
      [&] { checked_result(ret, function) = checked(tensor, function, "tensor").on_device() ? kCudaType : kCpuType; });
}

AOTITorchError aotbuild_torch_get_device_index(AtenTensorHandle tensor, std::int32_t* ret) {
  constexpr const char* function = "aoti_torch_get_device_index";
  return guarded([&] { checked_result(ret, function) = checked(tensor, function, "tensor").storage->device.index; });
}

AOTITorchError aotbuild_torch_get_layout(AtenTensorHandle tensor, std::int32_t* ret) {
  constexpr const char* function = "aoti_torch_get_layout";
  return guarded([&] {
    checked(tensor, function, "tensor");
    checked_result(ret, function) = aotbuild_torch_layout_strided();
  });
}

AOTITorchError aotbuild_torch_is_contiguous(AtenTensorHandle tensor, bool* ret) {
  constexpr const char* function = "aoti_torch_is_contiguous";
  return guarded([&] { checked_result(ret, function) = is_contiguous(checked(tensor, function, "tensor")); });
}

AOTITorchError aotbuild_torch_is_defined(AtenTensorHandle tensor, bool* ret) {
  constexpr const char* function = "aoti_torch_is_defined";
  return guarded([&] {
    if (tensor == nullptr) fail(function, "argument 'tensor' is null");
    checked_result(ret, function) = tensor->storage != nullptr;
  });
}

// Creation.

AOTITorchError aotbuild_torch_new_uninitialized_tensor(AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_new_uninitialized_tensor";
  return guarded([&] { checked_result(ret, function) = make_undefined().release(); });
}

AOTITorchError aotbuild_torch_new_tensor_handle(AtenTensorHandle tensor, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_new_tensor_handle";
  return guarded([&] {
    if (tensor == nullptr) fail(function, "argument 'tensor' is null");
    TensorPtr made = make_undefined();
    made->assign(*tensor);
    checked_result(ret, function) = made.release();
  });
}

AOTITorchError aotbuild_torch_delete_tensor_object(AtenTensorHandle tensor) {
  delete_tensor(tensor);
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aotbuild_torch_empty_strided(std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides,
                                            std::int32_t dtype, std::int32_t device_type, std::int32_t,
                                            AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_empty_strided";
  return guarded([&] {
    check_dims(ndim, sizes, strides, function);
    check_device_type(device_type, function);
    const ScalarType type = checked_dtype(dtype, function);
    AtenTensorHandle& result = checked_result(ret, function);
    // The model's own device: a library is built without knowing its index.
    result = (device_type == kCpuType ? make_tensor(type, ndim, sizes, strides)
                                      : make_device_tensor(current_device_call(function), type, ndim, sizes, strides))
                 .release();
  });
}

// Pinned memory makes copies to a GPU faster; they are right without it.
AOTITorchError aotbuild_torch_empty_strided_pinned(std::int64_t ndim, const std::int64_t* sizes,
                                                   const std::int64_t* strides, std::int32_t dtype, std::int32_t,
                                                   std::int32_t, AtenTensorHandle* ret) {
  return aotbuild_torch_empty_strided(ndim, sizes, strides, dtype, kCpuType, 0, ret);
}

AOTITorchError aotbuild_torch_create_tensor_from_blob(void* data, std::int64_t ndim, const std::int64_t* sizes,
                                                      const std::int64_t* strides, std::int64_t storage_offset,
                                                      std::int32_t dtype, std::int32_t device_type, std::int32_t,
                                                      AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_create_tensor_from_blob";
  return guarded([&] {
    check_dims(ndim, sizes, strides, function);
    check_device_type(device_type, function);
    const ScalarType type = checked_dtype(dtype, function);
    if (storage_offset < 0) fail(function, "the storage offset ", storage_offset, " is negative");
    AtenTensorHandle& result = checked_result(ret, function);
    const std::size_t nbytes = extent_bytes(type, ndim, sizes, strides);
    if (data == nullptr && nbytes != 0) fail(function, "argument 'data' is null");
    const aotbuild_device device =
        device_type == kCpuType ? aotbuild_device{AOTBUILD_CPU, 0} : current_device_call(function).device();
    TensorPtr made = make_borrowed(data, nbytes + static_cast<std::size_t>(storage_offset) * element_size(type), type,
                                   ndim, sizes, strides, device);
    made->offset = storage_offset;
    result = made.release();
  });
}

AOTITorchError aotbuild_torch_create_tensor_from_blob_v2(void* data, std::int64_t ndim, const std::int64_t* sizes,
                                                         const std::int64_t* strides, std::int64_t storage_offset,
                                                         std::int32_t dtype, std::int32_t device_type,
                                                         std::int32_t device_index, AtenTensorHandle* ret,
                                                         std::int32_t layout, const std::uint8_t*, std::int64_t) {
  constexpr const char* function = "aoti_torch_create_tensor_from_blob_v2";
  if (layout != aotbuild_torch_layout_strided()) {
    return guarded([&] { fail(function, "layout ", layout, " is not supported, only strided"); });
  }
  return aotbuild_torch_create_tensor_from_blob(data, ndim, sizes, strides, storage_offset, dtype, device_type,
                                                device_index, ret);
}

// Views.

AOTITorchError aotbuild_torch__alloc_from_pool(AtenTensorHandle self, std::int64_t offset_bytes, std::int32_t dtype,
                                               std::int64_t ndim, const std::int64_t* sizes,
                                               const std::int64_t* strides, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch__alloc_from_pool";
  return guarded([&] {
    const Tensor& pool = checked(self, function, "self");
    check_dims(ndim, sizes, strides, function);
    const ScalarType type = checked_dtype(dtype, function);
    const auto width = static_cast<std::int64_t>(element_size(type));
    if (pool.offset != 0 || offset_bytes < 0 || offset_bytes % width != 0 ||
        static_cast<std::uint64_t>(offset_bytes) + extent_bytes(type, ndim, sizes, strides) > pool.storage->nbytes) {
      fail(function, "a tensor of sizes ", format_dims(ndim, sizes), " at byte ", offset_bytes,
           " does not fit in a pool of ", pool.storage->nbytes, " bytes");
    }
    AtenTensorHandle& result = checked_result(ret, function);
    result = make_view(pool, type, ndim, sizes, strides, offset_bytes / width).release();
  });
}

AOTITorchError aotbuild_torch__reinterpret_tensor(AtenTensorHandle self, std::int64_t ndim, const std::int64_t* sizes,
                                                  const std::int64_t* strides, std::int64_t offset_increment,
                                                  AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch__reinterpret_tensor";
  return guarded([&] {
    const Tensor& base = checked(self, function, "self");
    check_dims(ndim, sizes, strides, function);
    AtenTensorHandle& result = checked_result(ret, function);
    result = make_view(base, base.dtype, ndim, sizes, strides, base.offset + offset_increment).release();
  });
}

AOTITorchError aotbuild_torch_as_strided(AtenTensorHandle self, const std::int64_t* sizes, const std::int64_t* strides,
                                         AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_as_strided";
  return guarded([&] {
    const Tensor& base = checked(self, function, "self");
    check_dims(base.ndim, sizes, strides, function);
    AtenTensorHandle& result = checked_result(ret, function);
    result = make_view(base, base.dtype, base.ndim, sizes, strides, base.offset).release();
  });
}

namespace {

// torch.Tensor.view(dtype): the last dimension grows or shrinks with the size of an element.
AtenTensorHandle view_as(const Tensor& self, ScalarType type, const char* function) {
  const auto from = static_cast<std::int64_t>(self.element_size());
  const auto to = static_cast<std::int64_t>(element_size(type));
  TensorPtr view = make_view(self, type, self.ndim, self.sizes(), self.strides(), self.offset);
  if (from == to) return view.release();
  const std::int32_t last = self.ndim - 1;
  const std::int64_t large = from > to ? from / to : to / from;
  if (self.ndim == 0 || (self.strides()[last] != 1 && self.sizes()[last] != 1)) {
    fail(function, "the last dimension must have stride 1 to view ", dtype_name(self.dtype), " as ", dtype_name(type));
  }
  if (from > to) {
    view->sizes()[last] *= large;
    for (std::int32_t d = 0; d < last; ++d) view->strides()[d] *= large;
    view->offset *= large;
  } else {
    bool divisible = self.sizes()[last] % large == 0 && self.offset % large == 0;
    for (std::int32_t d = 0; d < last; ++d) divisible = divisible && self.strides()[d] % large == 0;
    if (!divisible) {
      fail(function, "sizes ", format_dims(self.ndim, self.sizes()), " and strides ",
           format_dims(self.ndim, self.strides()), " of ", dtype_name(self.dtype), " cannot be viewed as ",
           dtype_name(type));
    }
    view->sizes()[last] /= large;
    for (std::int32_t d = 0; d < last; ++d) view->strides()[d] /= large;
    view->offset /= large;
  }
  view->strides()[last] = 1;
  return view.release();
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_view_dtype(AtenTensorHandle self, std::int32_t dtype, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_view_dtype";
  return guarded([&] {
    AtenTensorHandle& result = checked_result(ret, function);
    result = view_as(checked(self, function, "self"), checked_dtype(dtype, function), function);
  });
}

AOTITorchError aotbuild_torch_cpu_view_as_real(AtenTensorHandle self, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_view_as_real";
  return guarded([&] {
    const Tensor& base = checked(self, function, "self");
    if (base.dtype != ScalarType::kComplex64 && base.dtype != ScalarType::kComplex128) {
      fail(function, "expected a complex tensor, got ", dtype_name(base.dtype));
    }
    std::vector<std::int64_t> sizes(base.sizes(), base.sizes() + base.ndim);
    std::vector<std::int64_t> strides(base.strides(), base.strides() + base.ndim);
    for (std::int64_t& stride : strides) stride *= 2;
    sizes.push_back(2);
    strides.push_back(1);
    const ScalarType real = base.dtype == ScalarType::kComplex64 ? ScalarType::kFloat32 : ScalarType::kFloat64;
    AtenTensorHandle& result = checked_result(ret, function);
    result = make_view(base, real, base.ndim + 1, sizes.data(), strides.data(), base.offset * 2).release();
  });
}

AOTITorchError aotbuild_torch_cpu_view_as_complex(AtenTensorHandle self, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_view_as_complex";
  return guarded([&] {
    const Tensor& base = checked(self, function, "self");
    const std::int32_t last = base.ndim - 1;
    bool fits = (base.dtype == ScalarType::kFloat32 || base.dtype == ScalarType::kFloat64) && base.ndim > 0 &&
                base.sizes()[last] == 2 && base.strides()[last] == 1 && base.offset % 2 == 0;
    for (std::int32_t d = 0; d < last; ++d) fits = fits && base.strides()[d] % 2 == 0;
    if (!fits) {
      fail(function, "expected float32 or float64 with pairs in the last dimension, got ", dtype_name(base.dtype),
           " of sizes ", format_dims(base.ndim, base.sizes()), " and strides ", format_dims(base.ndim, base.strides()));
    }
    std::vector<std::int64_t> strides(base.strides(), base.strides() + last);
    for (std::int64_t& stride : strides) stride /= 2;
    const ScalarType type = base.dtype == ScalarType::kFloat32 ? ScalarType::kComplex64 : ScalarType::kComplex128;
    AtenTensorHandle& result = checked_result(ret, function);
    result = make_view(base, type, last, base.sizes(), strides.data(), base.offset / 2).release();
  });
}

// Assignment.

AOTITorchError aotbuild_torch_assign_tensors(AtenTensorHandle source, AtenTensorHandle destination) {
  constexpr const char* function = "aoti_torch_assign_tensors";
  return guarded([&] { checked_result(destination, function).assign(checked(source, function, "source")); });
}

AOTITorchError aotbuild_torch_assign_tensors_out(AtenTensorHandle source, AtenTensorHandle* ret) {
  return aotbuild_torch_new_tensor_handle(source, ret);
}

// Copies and fills.

AOTITorchError aotbuild_torch_clone(AtenTensorHandle self, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_clone";
  return guarded([&] {
    AtenTensorHandle& result = checked_result(ret, function);
    result = clone_preserving(checked(self, function, "self"), function).release();
  });
}

AOTITorchError aotbuild_torch_clone_preserve_strides(AtenTensorHandle self, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_clone_preserve_strides";
  return guarded([&] {
    const Tensor& source = checked(self, function, "self");
    AtenTensorHandle& result = checked_result(ret, function);
    TensorPtr made = make_tensor_beside(source, source.dtype, source.ndim, source.sizes(), source.strides());
    // Elements may share memory (a stride of 0), and gaps between them are copied as well: it is one block of bytes.
    if (source.on_device()) {
      current_device_call(function).copy_bytes(made->data(), source.data(), made->storage->nbytes, function);
    } else if (made->storage->nbytes != 0) {
      std::memcpy(made->data(), source.data(), made->storage->nbytes);
    }
    result = made.release();
  });
}

AOTITorchError aotbuild_torch_copy_(AtenTensorHandle self, AtenTensorHandle source, std::int32_t) {
  constexpr const char* function = "aoti_torch_copy_";
  return guarded([&] { copy(checked(self, function, "self"), checked(source, function, "source"), function); });
}

AOTITorchError aotbuild_torch_tensor_copy_(AtenTensorHandle source, AtenTensorHandle destination) {
  return aotbuild_torch_copy_(destination, source, 0);
}

AOTITorchError aotbuild_torch_zero_(AtenTensorHandle self) {
  constexpr const char* function = "aoti_torch_zero_";
  return guarded([&] {
    const char zeros[16] = {};
    fill(checked(self, function, "self"), zeros, function);
  });
}

AOTITorchError aotbuild_torch_cpu_fill__Scalar(AtenTensorHandle self, double value) {
  constexpr const char* function = "aoti_torch_cpu_fill__Scalar";
  return guarded([&] {
    Tensor& tensor = checked(self, function, "self");
    dispatch(tensor.dtype, function, [&](auto tag) {
      const auto element = convert<typename decltype(tag)::type>(value);
      fill(tensor, &element, function);
    });
  });
}
