#include "tensor/tensor.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <numeric>
#include <vector>

#include "base/system.hpp"
#include "tensor/device_call.hpp"
#include "tensor/workspace.hpp"

void AtenTensorOpaque::set_dims(std::int64_t new_ndim, const std::int64_t* new_sizes, const std::int64_t* new_strides) {
  if (new_ndim > kInlineDims && new_ndim > heap_capacity_) {
    heap_dims_ = std::make_unique<std::int64_t[]>(2 * static_cast<std::size_t>(new_ndim));
    heap_capacity_ = static_cast<std::int32_t>(new_ndim);
  }
  dims_ = new_ndim > kInlineDims ? heap_dims_.get() : inline_dims_;
  ndim = static_cast<std::int32_t>(new_ndim);
  std::copy_n(new_sizes, new_ndim, sizes());
  if (new_strides != nullptr) {
    std::copy_n(new_strides, new_ndim, strides());
  } else {
    aotbuild::detail::contiguous_strides(new_ndim, new_sizes, strides());
  }
}

void AtenTensorOpaque::assign(const AtenTensorOpaque& other) {
  if (this == &other) return;
  if (other.storage != nullptr) other.storage->retain();
  clear();
  storage = other.storage;
  offset = other.offset;
  dtype = other.dtype;
  set_dims(other.ndim, other.sizes(), other.strides());
}

namespace aotbuild::detail {

void Storage::destroy() noexcept {
  if (workspace != nullptr) {
    workspace->recycle(this);
    return;
  }
  if (owned) os::free_memory(data);
  delete this;
}

void delete_tensor(Tensor* tensor) noexcept {
  if (tensor == nullptr) return;
  if (tensor->workspace != nullptr) {
    tensor->workspace->recycle(tensor);
  } else {
    delete tensor;
  }
}

namespace {

TensorPtr new_tensor() {
  Workspace* workspace = Workspace::current();
  return TensorPtr(workspace != nullptr ? workspace->new_tensor() : new Tensor);
}

Storage* new_storage(void* data, std::size_t nbytes) {
  Workspace* workspace = Workspace::current();
  Storage* storage = workspace != nullptr ? workspace->new_storage() : new Storage;
  storage->data = data;
  storage->nbytes = nbytes;
  return storage;
}

}  // namespace

TensorPtr make_undefined() { return new_tensor(); }

TensorPtr make_tensor(ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides) {
  TensorPtr tensor = new_tensor();
  tensor->set_dims(ndim, sizes, strides);
  tensor->dtype = dtype;
  const std::size_t nbytes = extent_bytes(dtype, ndim, tensor->sizes(), tensor->strides());
  Storage* storage = new_storage(nullptr, nbytes);
  tensor->storage = storage;  // owned by the tensor from here, so that nothing is lost when there is no memory
  storage->data = storage->workspace != nullptr ? storage->workspace->allocate(nbytes, &storage->size_class)
                                                : allocate_aligned(std::max<std::size_t>(nbytes, 1));
  storage->owned = true;
  return tensor;
}

TensorPtr make_device_tensor(DeviceCall& call, ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes,
                             const std::int64_t* strides) {
  TensorPtr tensor = new_tensor();
  tensor->set_dims(ndim, sizes, strides);
  tensor->dtype = dtype;
  const std::size_t nbytes = extent_bytes(dtype, ndim, tensor->sizes(), tensor->strides());
  Storage* storage = new_storage(nullptr, nbytes);
  tensor->storage = storage;
  storage->data = call.allocate(nbytes, &storage->device_block);
  storage->device = call.device();
  storage->owned = true;
  return tensor;
}

TensorPtr make_tensor_beside(const Tensor& other, ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes,
                             const std::int64_t* strides) {
  if (!other.on_device()) return make_tensor(dtype, ndim, sizes, strides);
  return make_device_tensor(current_device_call("make_tensor"), dtype, ndim, sizes, strides);
}

TensorPtr make_borrowed(void* data, std::size_t nbytes, ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes,
                        const std::int64_t* strides, aotbuild_device device) {
  TensorPtr tensor = new_tensor();
  tensor->set_dims(ndim, sizes, strides);
  tensor->dtype = dtype;
  tensor->storage = new_storage(data, nbytes);
  tensor->storage->device = device;
  return tensor;
}

TensorPtr make_view(const Tensor& base, ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes,
                    const std::int64_t* strides, std::int64_t offset) {
  TensorPtr tensor = new_tensor();
  tensor->set_dims(ndim, sizes, strides);
  tensor->dtype = dtype;
  tensor->offset = offset;
  base.storage->retain();
  tensor->storage = base.storage;
  return tensor;
}

bool find_extent(ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides,
                 std::size_t* extent) noexcept {
  std::int64_t last = 0;
  bool empty = false;
  bool valid = true;
  for (std::int64_t d = 0; d < ndim; ++d) {
    std::int64_t step = 0;
    valid = valid && sizes[d] >= 0 && strides[d] >= 0;
    empty = empty || sizes[d] == 0;
    if (sizes[d] > 1) {
      valid = valid && !__builtin_mul_overflow(sizes[d] - 1, strides[d], &step) &&
              !__builtin_add_overflow(last, step, &last);
    }
  }
  const auto width = static_cast<std::int64_t>(element_size(dtype));
  std::int64_t nbytes = 0;
  valid =
      valid && width != 0 && !__builtin_add_overflow(last, 1, &last) && !__builtin_mul_overflow(last, width, &nbytes);
  *extent = empty ? 0 : static_cast<std::size_t>(nbytes);
  return valid;
}

std::size_t extent_bytes(ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides) {
  std::size_t extent = 0;
  if (!find_extent(dtype, ndim, sizes, strides, &extent)) {
    fail(AOTBUILD_RUNTIME_ERROR, "tensor of sizes ", format_dims(ndim, sizes), ", strides ", format_dims(ndim, strides),
         " and element type ", dtype_name(dtype), " has no valid extent");
  }
  return extent;
}

void contiguous_strides(std::int64_t ndim, const std::int64_t* sizes, std::int64_t* strides) noexcept {
  std::int64_t stride = 1;
  for (std::int64_t d = ndim - 1; d >= 0; --d) {
    strides[d] = stride;
    stride *= std::max<std::int64_t>(sizes[d], 1);
  }
}

bool same_strides(std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* a, const std::int64_t* b) noexcept {
  bool same = true;
  for (std::int64_t d = 0; d < ndim; ++d) {
    if (sizes[d] == 0) return true;
    same = same && (sizes[d] == 1 || a[d] == b[d]);
  }
  return same;
}

bool is_contiguous(std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides) noexcept {
  std::int64_t expected = 1;
  bool contiguous = true;
  for (std::int64_t d = ndim - 1; d >= 0; --d) {
    if (sizes[d] == 0) return true;
    contiguous = contiguous && (sizes[d] == 1 || strides[d] == expected);
    expected *= sizes[d];
  }
  return contiguous;
}

bool is_dense(const Tensor& tensor) {
  // Each dimension's stride is the size of those that lie within it.
  const std::int64_t count = tensor.numel();
  for (std::int64_t inner = 1; inner < count;) {
    std::int64_t size = 1;
    for (std::int32_t d = 0; d < tensor.ndim; ++d) {
      if (tensor.sizes()[d] > 1 && tensor.strides()[d] == inner) size = tensor.sizes()[d];
    }
    if (size == 1) return false;
    inner *= size;
  }
  return true;
}

std::string format_dims(std::int64_t ndim, const std::int64_t* dims) {
  std::string text = "(";
  for (std::int64_t d = 0; d < ndim; ++d) text += (d == 0 ? "" : ", ") + std::to_string(dims[d]);
  return text + (ndim == 1 ? ",)" : ")");
}

}  // namespace aotbuild::detail
