// Tensors: a view (sizes, strides, offset) on a counted storage. The handle of the C shim points to one.
#ifndef AOTBUILD_SRC_TENSOR_TENSOR_HPP_
#define AOTBUILD_SRC_TENSOR_TENSOR_HPP_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "aotbuild/detail/spec.h"
#include "tensor/dtype.hpp"

namespace aotbuild::detail {

class DeviceCall;
class Workspace;

// Memory that tensors share. Storages of one call belong to one thread, so the count is not atomic; those of weights
// are shared by threads and immortal (never counted): whoever holds the weights outlives every view of them.
struct Storage {
  static constexpr std::int32_t kImmortal = -1;

  void* data = nullptr;
  std::size_t nbytes = 0;
  Workspace* workspace = nullptr;  // where the memory and this object return to; null: the heap
  std::int32_t references = 1;
  bool owned = false;           // false: the caller's memory or a weight's
  std::uint8_t size_class = 0;  // of `data` when a workspace gave it
  aotbuild_device device = {AOTBUILD_CPU, 0};
  void* device_block = nullptr;  // of owned `data` on a device
  Storage* next_free = nullptr;

  bool on_device() const noexcept { return device.type != AOTBUILD_CPU; }

  void retain() noexcept {
    if (references != kImmortal) ++references;
  }
  void release() noexcept {
    if (references != kImmortal && --references == 0) destroy();
  }

 private:
  void destroy() noexcept;
};

}  // namespace aotbuild::detail

// The name is upstream's, which leaves the structure undefined.
struct AtenTensorOpaque {
  static constexpr std::int32_t kInlineDims = 8;

  aotbuild::detail::Storage* storage = nullptr;  // null: undefined
  aotbuild::detail::Workspace* workspace = nullptr;
  AtenTensorOpaque* next_free = nullptr;
  std::int64_t offset = 0;  // in elements
  aotbuild::detail::ScalarType dtype = aotbuild::detail::ScalarType::kFloat32;
  std::int32_t ndim = 0;

  AtenTensorOpaque() = default;
  AtenTensorOpaque(const AtenTensorOpaque&) = delete;
  AtenTensorOpaque& operator=(const AtenTensorOpaque&) = delete;
  ~AtenTensorOpaque() { clear(); }

  std::int64_t* sizes() noexcept { return dims_; }
  const std::int64_t* sizes() const noexcept { return dims_; }
  std::int64_t* strides() noexcept { return dims_ + ndim; }
  const std::int64_t* strides() const noexcept { return dims_ + ndim; }
  std::size_t element_size() const noexcept { return aotbuild::detail::element_size(dtype); }

  bool on_device() const noexcept { return storage->on_device(); }
  // Undefined for an undefined tensor.
  void* data() const noexcept {
    return static_cast<char*>(storage->data) + offset * static_cast<std::int64_t>(element_size());
  }
  template <typename T>
  T* data_as() const noexcept {
    return static_cast<T*>(data());
  }

  std::int64_t numel() const noexcept {
    std::int64_t count = 1;
    for (std::int32_t d = 0; d < ndim; ++d) count *= dims_[d];
    return count;
  }

  // `strides` null means contiguous.
  void set_dims(std::int64_t new_ndim, const std::int64_t* new_sizes, const std::int64_t* new_strides);
  // Shares the storage of `other` and takes over all of its properties.
  void assign(const AtenTensorOpaque& other);
  // Drops the storage: the tensor is undefined afterwards.
  void clear() noexcept {
    if (storage != nullptr) storage->release();
    storage = nullptr;
  }

 private:
  std::int64_t inline_dims_[2 * kInlineDims] = {};
  std::unique_ptr<std::int64_t[]> heap_dims_;
  std::int32_t heap_capacity_ = 0;
  std::int64_t* dims_ = inline_dims_;
};

namespace aotbuild::detail {

using Tensor = AtenTensorOpaque;

void delete_tensor(Tensor* tensor) noexcept;

struct TensorDeleter {
  void operator()(Tensor* tensor) const noexcept { delete_tensor(tensor); }
};
using TensorPtr = std::unique_ptr<Tensor, TensorDeleter>;

TensorPtr make_undefined();
// A tensor with new memory, from the thread's current workspace where there is one. `strides` null: contiguous.
TensorPtr make_tensor(ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides);
// The same on the device of a call.
TensorPtr make_device_tensor(DeviceCall& call, ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes,
                             const std::int64_t* strides);
// The same where `other` lies.
TensorPtr make_tensor_beside(const Tensor& other, ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes,
                             const std::int64_t* strides);
// A tensor over memory of somebody else, who keeps it alive.
TensorPtr make_borrowed(void* data, std::size_t nbytes, ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes,
                        const std::int64_t* strides, aotbuild_device device = {AOTBUILD_CPU, 0});
// A tensor that shares the storage of `base`.
TensorPtr make_view(const Tensor& base, ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes,
                    const std::int64_t* strides, std::int64_t offset);

// Bytes from the first to the last element; false: a size or stride is negative, or there are too many for an address.
bool find_extent(ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides,
                 std::size_t* extent) noexcept;
// The same, of a tensor that has an extent.
std::size_t extent_bytes(ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides);

void contiguous_strides(std::int64_t ndim, const std::int64_t* sizes, std::int64_t* strides) noexcept;
// Strides of sizes 0 and 1 do not matter, nor does any stride of a tensor with no elements.
bool same_strides(std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* a, const std::int64_t* b) noexcept;
bool is_contiguous(std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides) noexcept;
inline bool is_contiguous(const Tensor& tensor) noexcept {
  return is_contiguous(tensor.ndim, tensor.sizes(), tensor.strides());
}
// Whether the elements lie in some order without gaps or overlaps.
bool is_dense(const Tensor& tensor);

std::string format_dims(std::int64_t ndim, const std::int64_t* dims);  // "(2, 3)"

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_TENSOR_TENSOR_HPP_
