// What the kernels of aotbuild.register_kernel are written with, in C or C++: tensors by AOTInductor's C shim.
// Functions that return AOTITorchError return AOTI_TORCH_SUCCESS, or leave a message and return AOTI_TORCH_FAILURE; a
// kernel returns what they return. Kernels in C++ may also throw exceptions derived from std::exception.
#ifndef AOTBUILD_KERNEL_H_
#define AOTBUILD_KERNEL_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aotbuild/detail/export.h"

#ifdef __cplusplus
extern "C" {
#endif

// A tensor that a kernel gets, makes or returns.
typedef struct AtenTensorOpaque* AtenTensorHandle;
// How a function of the C shim ended.
typedef int32_t AOTITorchError;

#ifndef AOTI_TORCH_SUCCESS
// It did what it was asked for.
#define AOTI_TORCH_SUCCESS 0
// It failed and left a message.
#define AOTI_TORCH_FAILURE 1
#endif

// Element types, by the numbers of c10::ScalarType. What an argument of type ScalarType holds.
enum {
  AOTBUILD_KERNEL_UINT8 = 0,
  AOTBUILD_KERNEL_INT8 = 1,
  AOTBUILD_KERNEL_INT16 = 2,
  AOTBUILD_KERNEL_INT32 = 3,
  AOTBUILD_KERNEL_INT64 = 4,
  AOTBUILD_KERNEL_FLOAT16 = 5,
  AOTBUILD_KERNEL_FLOAT32 = 6,
  AOTBUILD_KERNEL_FLOAT64 = 7,
  AOTBUILD_KERNEL_COMPLEX64 = 9,
  AOTBUILD_KERNEL_COMPLEX128 = 10,
  AOTBUILD_KERNEL_BOOL = 11,
  AOTBUILD_KERNEL_BFLOAT16 = 15
};

// The functions of the C shim that the ones below are made of: the runtime's, or libtorch's in a target with RUNTIME
// torch, for whose sources AOTBUILD_KERNELS_OF_TORCH is defined. One source serves both.
#ifdef AOTBUILD_KERNELS_OF_TORCH
#undef AOTBUILD_RUNTIME_API
#define AOTBUILD_RUNTIME_API
#define aotbuild_torch_get_data_ptr aoti_torch_get_data_ptr
#define aotbuild_torch_get_dim aoti_torch_get_dim
#define aotbuild_torch_get_numel aoti_torch_get_numel
#define aotbuild_torch_get_sizes aoti_torch_get_sizes
#define aotbuild_torch_get_strides aoti_torch_get_strides
#define aotbuild_torch_get_dtype aoti_torch_get_dtype
#define aotbuild_torch_is_contiguous aoti_torch_is_contiguous
#define aotbuild_torch_empty_strided aoti_torch_empty_strided
#define aotbuild_torch_new_tensor_handle aoti_torch_new_tensor_handle
#define aotbuild_torch_copy_ aoti_torch_copy_
#define aotbuild_torch_delete_tensor_object aoti_torch_delete_tensor_object
#define aotbuild_set_last_error aotbuild_set_torch_error
#endif
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_data_ptr(AtenTensorHandle tensor, void** ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_dim(AtenTensorHandle tensor, int64_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_numel(AtenTensorHandle tensor, int64_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_sizes(AtenTensorHandle tensor, int64_t** ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_strides(AtenTensorHandle tensor, int64_t** ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_dtype(AtenTensorHandle tensor, int32_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_is_contiguous(AtenTensorHandle tensor, bool* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_empty_strided(int64_t ndim, const int64_t* sizes,
                                                                 const int64_t* strides, int32_t dtype,
                                                                 int32_t device_type, int32_t device_index,
                                                                 AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_new_tensor_handle(AtenTensorHandle tensor, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_copy_(AtenTensorHandle self, AtenTensorHandle source,
                                                         int32_t non_blocking);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_delete_tensor_object(AtenTensorHandle tensor);
AOTBUILD_RUNTIME_API void aotbuild_set_last_error(const char* message);
AOTBUILD_RUNTIME_API const char* aotbuild_last_error(void);

// One tensor. The pointers are valid as long as the handle is. Strides are in elements.
typedef struct aotbuild_kernel_tensor {
  void* data;              // the first element
  int64_t ndim;            // the number of dimensions
  const int64_t* sizes;    // `ndim` of them
  const int64_t* strides;  // `ndim` of them
  int64_t numel;           // how many elements there are
  int32_t dtype;           // AOTBUILD_KERNEL_FLOAT32 and its like
} aotbuild_kernel_tensor;

// The message that the model's call fails with: return aotbuild_kernel_fail("...").
static inline AOTITorchError aotbuild_kernel_fail(const char* message) {
  aotbuild_set_last_error(message);
  return AOTI_TORCH_FAILURE;
}

// Fills in what a handle stands for.
static inline AOTITorchError aotbuild_kernel_describe(AtenTensorHandle handle, aotbuild_kernel_tensor* tensor) {
  int64_t* sizes = NULL;
  int64_t* strides = NULL;
  if (aotbuild_torch_get_data_ptr(handle, &tensor->data) || aotbuild_torch_get_dim(handle, &tensor->ndim) ||
      aotbuild_torch_get_sizes(handle, &sizes) || aotbuild_torch_get_strides(handle, &strides) ||
      aotbuild_torch_get_numel(handle, &tensor->numel) || aotbuild_torch_get_dtype(handle, &tensor->dtype)) {
    return AOTI_TORCH_FAILURE;
  }
  tensor->sizes = sizes;
  tensor->strides = strides;
  return AOTI_TORCH_SUCCESS;
}

// A new tensor in row-major order, with undefined values. A result: write `*handle` to its place and do not release it.
static inline AOTITorchError aotbuild_kernel_allocate(int32_t dtype, int64_t ndim, const int64_t* sizes,
                                                      AtenTensorHandle* handle) {
  enum { kMaxDims = 64 };
  int64_t strides[kMaxDims];
  int64_t stride = 1;
  int64_t dim;
  if (ndim < 0 || ndim > kMaxDims) return aotbuild_kernel_fail("a tensor has 0 to 64 dimensions");
  for (dim = ndim - 1; dim >= 0; --dim) {
    strides[dim] = stride;
    stride *= sizes[dim] > 1 ? sizes[dim] : 1;
  }
  return aotbuild_torch_empty_strided(ndim, sizes, strides, dtype, 0, 0, handle);
}

// Ends a handle that the kernel made and does not return.
static inline void aotbuild_kernel_release(AtenTensorHandle handle) { aotbuild_torch_delete_tensor_object(handle); }

// The tensor in row-major order: itself or a copy. Release the new handle.
static inline AOTITorchError aotbuild_kernel_contiguous(AtenTensorHandle given, AtenTensorHandle* handle) {
  bool is_contiguous = false;
  aotbuild_kernel_tensor tensor;
  if (aotbuild_torch_is_contiguous(given, &is_contiguous)) return AOTI_TORCH_FAILURE;
  if (is_contiguous) return aotbuild_torch_new_tensor_handle(given, handle);
  if (aotbuild_kernel_describe(given, &tensor)) return AOTI_TORCH_FAILURE;
  if (aotbuild_kernel_allocate(tensor.dtype, tensor.ndim, tensor.sizes, handle)) return AOTI_TORCH_FAILURE;
  if (aotbuild_torch_copy_(*handle, given, 0) == AOTI_TORCH_SUCCESS) return AOTI_TORCH_SUCCESS;
  aotbuild_kernel_release(*handle);
  return AOTI_TORCH_FAILURE;
}

#ifdef __cplusplus
}
#endif

#endif  // AOTBUILD_KERNEL_H_
