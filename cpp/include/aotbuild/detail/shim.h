// AOTInductor's C shim as far as the standalone runtime implements it: the signatures of
// torch/csrc/inductor/aoti_torch/c/shim.h and aoti_torch/generated/c_shim_cpu.h under the prefix `aotbuild_torch_`, so
// that a process may hold libtorch too. The generator knows which there are from python/aotbuild/spec/shim.py.
#ifndef AOTBUILD_DETAIL_SHIM_H_
#define AOTBUILD_DETAIL_SHIM_H_

#include <cstddef>
#include <cstdint>

#include "aotbuild/detail/export.h"

struct AtenTensorOpaque;
using AtenTensorHandle = AtenTensorOpaque*;
using AOTITorchError = std::int32_t;

// A function that fails returns 1 and leaves a message, which starts with the function's name, in
// `aotbuild_last_error`.
#define AOTI_TORCH_SUCCESS 0
#define AOTI_TORCH_FAILURE 1

extern "C" {
// Constants: the numbers of c10::DeviceType, c10::ScalarType, c10::Layout and c10::MemoryFormat.
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_device_type_cpu();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_device_type_cuda();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_device_type_meta();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_uint8();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_uint16();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_uint32();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_uint64();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_int8();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_int16();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_int32();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_int64();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_float16();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_bfloat16();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_float32();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_float64();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_complex32();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_complex64();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_complex128();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_bool();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_float8_e5m2();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_float8_e4m3fn();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_float8_e5m2fnuz();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_dtype_float8_e4m3fnuz();
AOTBUILD_RUNTIME_API std::size_t aotbuild_torch_dtype_element_size(std::int32_t dtype);
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_layout_strided();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_memory_format_contiguous_format();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_memory_format_preserve_format();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_memory_format_channels_last();
AOTBUILD_RUNTIME_API std::int32_t aotbuild_torch_memory_format_channels_last_3d();

// Modes and checks. A failed check throws std::runtime_error: it is the one function here that throws.
AOTBUILD_RUNTIME_API bool aotbuild_torch_grad_mode_is_enabled();
AOTBUILD_RUNTIME_API void aotbuild_torch_grad_mode_set_enabled(bool enabled);
AOTBUILD_RUNTIME_API void aotbuild_torch_check(bool condition, const char* function, const char* file,
                                               std::uint32_t line, const char* message);
AOTBUILD_RUNTIME_API void aotbuild_torch_warn(const char* function, const char* file, std::uint32_t line,
                                              const char* message);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_check_inf_and_nan(const char* tensor_name, AtenTensorHandle tensor);

// Properties of a tensor. Returned pointers are borrowed.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_data_ptr(AtenTensorHandle tensor, void** ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_storage_size(AtenTensorHandle tensor, std::int64_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_storage_numel(AtenTensorHandle tensor, std::int64_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_storage_offset(AtenTensorHandle tensor, std::int64_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_dim(AtenTensorHandle tensor, std::int64_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_numel(AtenTensorHandle tensor, std::int64_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_sizes(AtenTensorHandle tensor, std::int64_t** ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_size(AtenTensorHandle tensor, std::int64_t dim,
                                                            std::int64_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_strides(AtenTensorHandle tensor, std::int64_t** ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_stride(AtenTensorHandle tensor, std::int64_t dim,
                                                              std::int64_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_dtype(AtenTensorHandle tensor, std::int32_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_device_type(AtenTensorHandle tensor, std::int32_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_device_index(AtenTensorHandle tensor, std::int32_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_get_layout(AtenTensorHandle tensor, std::int32_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_is_contiguous(AtenTensorHandle tensor, bool* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_is_defined(AtenTensorHandle tensor, bool* ret);

// Creation, views and assignment. Every handle returned through `ret` is owned by the caller.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_new_uninitialized_tensor(AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_new_tensor_handle(AtenTensorHandle tensor, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_delete_tensor_object(AtenTensorHandle tensor);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_empty_strided(std::int64_t ndim, const std::int64_t* sizes,
                                                                 const std::int64_t* strides, std::int32_t dtype,
                                                                 std::int32_t device_type, std::int32_t device_index,
                                                                 AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_empty_strided_pinned(std::int64_t ndim, const std::int64_t* sizes,
                                                                        const std::int64_t* strides, std::int32_t dtype,
                                                                        std::int32_t device_type,
                                                                        std::int32_t device_index,
                                                                        AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_create_tensor_from_blob(
    void* data, std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides, std::int64_t storage_offset,
    std::int32_t dtype, std::int32_t device_type, std::int32_t device_index, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_create_tensor_from_blob_v2(
    void* data, std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides, std::int64_t storage_offset,
    std::int32_t dtype, std::int32_t device_type, std::int32_t device_index, AtenTensorHandle* ret, std::int32_t layout,
    const std::uint8_t* opaque_metadata, std::int64_t opaque_metadata_size);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch__alloc_from_pool(AtenTensorHandle self, std::int64_t offset_bytes,
                                                                    std::int32_t dtype, std::int64_t ndim,
                                                                    const std::int64_t* sizes,
                                                                    const std::int64_t* strides, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch__reinterpret_tensor(AtenTensorHandle self, std::int64_t ndim,
                                                                       const std::int64_t* sizes,
                                                                       const std::int64_t* strides,
                                                                       std::int64_t offset_increment,
                                                                       AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_as_strided(AtenTensorHandle self, const std::int64_t* sizes,
                                                              const std::int64_t* strides, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_view_dtype(AtenTensorHandle self, std::int32_t dtype,
                                                                  AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_view_as_real(AtenTensorHandle self, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_view_as_complex(AtenTensorHandle self, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_assign_tensors(AtenTensorHandle source,
                                                                  AtenTensorHandle destination);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_assign_tensors_out(AtenTensorHandle source, AtenTensorHandle* ret);

// Copies and fills.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_clone(AtenTensorHandle self, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_clone_preserve_strides(AtenTensorHandle self, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_copy_(AtenTensorHandle self, AtenTensorHandle source,
                                                         std::int32_t non_blocking);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_tensor_copy_(AtenTensorHandle source, AtenTensorHandle destination);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_zero_(AtenTensorHandle self);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_fill__Scalar(AtenTensorHandle self, double value);

// Scalars. The types of c10 (Half, BFloat16, complex<float>) are passed as memory of the same layout.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_float32(AtenTensorHandle tensor, float* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_float64(AtenTensorHandle tensor, double* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_uint8(AtenTensorHandle tensor, std::uint8_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_uint16(AtenTensorHandle tensor, std::uint16_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_uint32(AtenTensorHandle tensor, std::uint32_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_uint64(AtenTensorHandle tensor, std::uint64_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_int8(AtenTensorHandle tensor, std::int8_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_int16(AtenTensorHandle tensor, std::int16_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_int32(AtenTensorHandle tensor, std::int32_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_int64(AtenTensorHandle tensor, std::int64_t* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_bool(AtenTensorHandle tensor, bool* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_float16(AtenTensorHandle tensor, void* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_bfloat16(AtenTensorHandle tensor, void* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_item_complex64(AtenTensorHandle tensor, void* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scalar_to_tensor_float32(float value, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scalar_to_tensor_float64(double value, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scalar_to_tensor_uint8(std::uint8_t value, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scalar_to_tensor_uint16(std::uint16_t value, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scalar_to_tensor_uint32(std::uint32_t value, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scalar_to_tensor_uint64(std::uint64_t value, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scalar_to_tensor_int8(std::int8_t value, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scalar_to_tensor_int16(std::int16_t value, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scalar_to_tensor_int32(std::int32_t value, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scalar_to_tensor_int64(std::int64_t value, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scalar_to_tensor_bool(bool value, AtenTensorHandle* ret);

// Matrix products.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_mm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                              AtenTensorHandle mat2);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_addmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                                 AtenTensorHandle mat1, AtenTensorHandle mat2,
                                                                 double beta, double alpha);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_bmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                               AtenTensorHandle mat2);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_baddbmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                                   AtenTensorHandle batch1, AtenTensorHandle batch2,
                                                                   double beta, double alpha);

// Convolution.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_convolution(
    AtenTensorHandle input, AtenTensorHandle weight, AtenTensorHandle* bias, const std::int64_t* stride,
    std::int64_t stride_size, const std::int64_t* padding, std::int64_t padding_size, const std::int64_t* dilation,
    std::int64_t dilation_size, std::int32_t transposed, const std::int64_t* output_padding,
    std::int64_t output_padding_size, std::int64_t groups, AtenTensorHandle* ret);

// Indexed writes.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_index_put_out(AtenTensorHandle out, AtenTensorHandle self,
                                                                 const AtenTensorHandle* indices,
                                                                 std::uint32_t index_count, AtenTensorHandle values,
                                                                 bool accumulate);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scatter_out(AtenTensorHandle out, AtenTensorHandle self,
                                                               std::int64_t dim, AtenTensorHandle index,
                                                               AtenTensorHandle source);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_scatter_reduce_out(AtenTensorHandle out, AtenTensorHandle self,
                                                                      std::int64_t dim, AtenTensorHandle index,
                                                                      AtenTensorHandle source, const char* reduce,
                                                                      std::int32_t include_self);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_scatter_src_out(AtenTensorHandle out, AtenTensorHandle self,
                                                                       std::int64_t dim, AtenTensorHandle index,
                                                                       AtenTensorHandle source);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_scatter_value_out(AtenTensorHandle out, AtenTensorHandle self,
                                                                         std::int64_t dim, AtenTensorHandle index,
                                                                         double value);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_scatter_reduce_two_out(
    AtenTensorHandle out, AtenTensorHandle self, std::int64_t dim, AtenTensorHandle index, AtenTensorHandle source,
    const char* reduce, std::int32_t include_self);

// Running sums and the like.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_cumsum(AtenTensorHandle self, std::int64_t dim,
                                                              std::int32_t* dtype, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_cumprod(AtenTensorHandle self, std::int64_t dim,
                                                               std::int32_t* dtype, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_logcumsumexp(AtenTensorHandle self, std::int64_t dim,
                                                                    AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_cummax(AtenTensorHandle self, std::int64_t dim,
                                                              AtenTensorHandle* values, AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_cummin(AtenTensorHandle self, std::int64_t dim,
                                                              AtenTensorHandle* values, AtenTensorHandle* indices);

// Sorting and searching.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_sort(AtenTensorHandle self, std::int64_t dim,
                                                            std::int32_t descending, AtenTensorHandle* values,
                                                            AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_sort_stable(AtenTensorHandle self, std::int32_t*,
                                                                   std::int64_t dim, std::int32_t descending,
                                                                   AtenTensorHandle* values, AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_topk(AtenTensorHandle self, std::int64_t k, std::int64_t dim,
                                                            std::int32_t largest, std::int32_t sorted,
                                                            AtenTensorHandle* values, AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_kthvalue(AtenTensorHandle self, std::int64_t k, std::int64_t dim,
                                                                std::int32_t keepdim, AtenTensorHandle* values,
                                                                AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_mode(AtenTensorHandle self, std::int64_t dim,
                                                            std::int32_t keepdim, AtenTensorHandle* values,
                                                            AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_median(AtenTensorHandle self, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_nanmedian(AtenTensorHandle self, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_searchsorted_Tensor(AtenTensorHandle sorted_sequence,
                                                                           AtenTensorHandle self,
                                                                           std::int32_t out_int32, std::int32_t right,
                                                                           const char** side, AtenTensorHandle* sorter,
                                                                           AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_searchsorted_Scalar(AtenTensorHandle sorted_sequence,
                                                                           double self, std::int32_t out_int32,
                                                                           std::int32_t right, const char** side,
                                                                           AtenTensorHandle* sorter,
                                                                           AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_bucketize_Tensor(AtenTensorHandle self,
                                                                        AtenTensorHandle boundaries,
                                                                        std::int32_t out_int32, std::int32_t right,
                                                                        AtenTensorHandle* ret);

// Results of sizes that depend on values; reductions into indexed places.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_nonzero(AtenTensorHandle self, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_nonzero_static(AtenTensorHandle self, std::int64_t size,
                                                                      std::int64_t fill_value, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_masked_select(AtenTensorHandle self, AtenTensorHandle mask,
                                                                     AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_masked_scatter(AtenTensorHandle self, AtenTensorHandle mask,
                                                                      AtenTensorHandle source, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_index_reduce(AtenTensorHandle self, std::int64_t dim,
                                                                    AtenTensorHandle index, AtenTensorHandle source,
                                                                    const char* reduce, std::int32_t include_self,
                                                                    AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_repeat_interleave_Tensor(AtenTensorHandle repeats,
                                                                                std::int64_t* output_size,
                                                                                AtenTensorHandle* ret);

// Pooling and sampling in space.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu__adaptive_avg_pool2d(AtenTensorHandle self,
                                                                            const std::int64_t* output_size,
                                                                            std::int64_t output_size_len,
                                                                            AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu__adaptive_avg_pool3d(AtenTensorHandle self,
                                                                            const std::int64_t* output_size,
                                                                            std::int64_t output_size_len,
                                                                            AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_adaptive_max_pool2d(AtenTensorHandle self,
                                                                           const std::int64_t* output_size,
                                                                           std::int64_t output_size_len,
                                                                           AtenTensorHandle* values,
                                                                           AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_adaptive_max_pool3d(AtenTensorHandle self,
                                                                           const std::int64_t* output_size,
                                                                           std::int64_t output_size_len,
                                                                           AtenTensorHandle* values,
                                                                           AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_avg_pool2d(
    AtenTensorHandle self, const std::int64_t* kernel_size, std::int64_t kernel_size_len, const std::int64_t* stride,
    std::int64_t stride_len, const std::int64_t* padding, std::int64_t padding_len, std::int32_t ceil_mode,
    std::int32_t count_include_pad, std::int64_t* divisor_override, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_avg_pool3d(
    AtenTensorHandle self, const std::int64_t* kernel_size, std::int64_t kernel_size_len, const std::int64_t* stride,
    std::int64_t stride_len, const std::int64_t* padding, std::int64_t padding_len, std::int32_t ceil_mode,
    std::int32_t count_include_pad, std::int64_t* divisor_override, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_max_pool2d_with_indices(
    AtenTensorHandle self, const std::int64_t* kernel_size, std::int64_t kernel_size_len, const std::int64_t* stride,
    std::int64_t stride_len, const std::int64_t* padding, std::int64_t padding_len, const std::int64_t* dilation,
    std::int64_t dilation_len, std::int32_t ceil_mode, AtenTensorHandle* values, AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_max_pool3d_with_indices(
    AtenTensorHandle self, const std::int64_t* kernel_size, std::int64_t kernel_size_len, const std::int64_t* stride,
    std::int64_t stride_len, const std::int64_t* padding, std::int64_t padding_len, const std::int64_t* dilation,
    std::int64_t dilation_len, std::int32_t ceil_mode, AtenTensorHandle* values, AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_fractional_max_pool2d(
    AtenTensorHandle self, const std::int64_t* kernel_size, std::int64_t kernel_size_len,
    const std::int64_t* output_size, std::int64_t output_size_len, AtenTensorHandle random_samples,
    AtenTensorHandle* values, AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_fractional_max_pool3d(
    AtenTensorHandle self, const std::int64_t* kernel_size, std::int64_t kernel_size_len,
    const std::int64_t* output_size, std::int64_t output_size_len, AtenTensorHandle random_samples,
    AtenTensorHandle* values, AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_grid_sampler_3d(AtenTensorHandle input, AtenTensorHandle grid,
                                                                       std::int64_t interpolation_mode,
                                                                       std::int64_t padding_mode,
                                                                       std::int32_t align_corners,
                                                                       AtenTensorHandle* ret);

// Distances, histograms, bags of embeddings, segments.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu__cdist_forward(AtenTensorHandle x1, AtenTensorHandle x2,
                                                                      double p, std::int64_t*, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu__pdist_forward(AtenTensorHandle self, double p,
                                                                      AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_histc(AtenTensorHandle self, std::int64_t bins, double min,
                                                             double max, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_histogram_bin_ct(AtenTensorHandle self, std::int64_t bins,
                                                                        const double** range, std::int64_t,
                                                                        AtenTensorHandle* weight, std::int32_t density,
                                                                        AtenTensorHandle* hist,
                                                                        AtenTensorHandle* edges);
AOTBUILD_RUNTIME_API AOTITorchError
aotbuild_torch_cpu_histogram_bins_tensor(AtenTensorHandle self, AtenTensorHandle bins, AtenTensorHandle* weight,
                                         std::int32_t density, AtenTensorHandle* hist, AtenTensorHandle* edges);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu__embedding_bag(
    AtenTensorHandle weight, AtenTensorHandle indices, AtenTensorHandle offsets, std::int32_t, std::int64_t mode,
    std::int32_t, AtenTensorHandle* per_sample_weights, std::int32_t include_last_offset, std::int64_t padding_idx,
    AtenTensorHandle* output, AtenTensorHandle* offset2bag, AtenTensorHandle* bag_size, AtenTensorHandle* max_indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu__embedding_bag_forward_only(
    AtenTensorHandle weight, AtenTensorHandle indices, AtenTensorHandle offsets, std::int32_t, std::int64_t mode,
    std::int32_t, AtenTensorHandle* per_sample_weights, std::int32_t include_last_offset, std::int64_t padding_idx,
    AtenTensorHandle* output, AtenTensorHandle* offset2bag, AtenTensorHandle* bag_size, AtenTensorHandle* max_indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_segment_reduce(AtenTensorHandle data, const char* reduce,
                                                                      AtenTensorHandle* lengths, AtenTensorHandle*,
                                                                      AtenTensorHandle* offsets, std::int64_t axis,
                                                                      std::int32_t, double* initial,
                                                                      AtenTensorHandle* ret);

// Random numbers. The generator is the model's own, so the handle is not read.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_rand(const std::int64_t* size, std::int64_t size_len,
                                                            std::int32_t* dtype, std::int32_t*, std::int32_t*,
                                                            std::int32_t, std::int32_t*, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_randn(const std::int64_t* size, std::int64_t size_len,
                                                             std::int32_t* dtype, std::int32_t*, std::int32_t*,
                                                             std::int32_t, std::int32_t*, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_randint_low(std::int64_t low, std::int64_t high,
                                                                   const std::int64_t* size, std::int64_t size_len,
                                                                   std::int32_t* dtype, std::int32_t*, std::int32_t*,
                                                                   std::int32_t, std::int32_t*, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_randint_low_out(AtenTensorHandle out, std::int64_t low,
                                                                       std::int64_t high, const std::int64_t*,
                                                                       std::int64_t);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_uniform(AtenTensorHandle self, double from, double to, void**,
                                                               AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_normal_functional(AtenTensorHandle self, double mean, double std,
                                                                         void**, AtenTensorHandle* ret);

// Beyond AOTInductor's shim, in its style: the schema's arguments, then the results.
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_grouped_mm_fallback(AtenTensorHandle input,
                                                                           AtenTensorHandle weight,
                                                                           AtenTensorHandle offs,
                                                                           AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_recurrent(
    AtenTensorHandle input, const AtenTensorHandle* state, std::int64_t state_len, const AtenTensorHandle* weights,
    std::int64_t weights_len, const char* cell, std::int32_t has_biases, std::int64_t num_layers,
    std::int32_t bidirectional, std::int32_t batch_first, AtenTensorHandle* output, AtenTensorHandle* hidden,
    AtenTensorHandle* cells);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_median_dim(AtenTensorHandle self, std::int64_t dim,
                                                                  std::int32_t keepdim, AtenTensorHandle* values,
                                                                  AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_nanmedian_dim(AtenTensorHandle self, std::int64_t dim,
                                                                     std::int32_t keepdim, AtenTensorHandle* values,
                                                                     AtenTensorHandle* indices);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu__unique2(AtenTensorHandle self, std::int32_t,
                                                                std::int32_t return_inverse, std::int32_t return_counts,
                                                                AtenTensorHandle* values, AtenTensorHandle* inverse,
                                                                AtenTensorHandle* counts);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_unique_consecutive(
    AtenTensorHandle self, std::int32_t return_inverse, std::int32_t return_counts, std::int64_t* dim,
    AtenTensorHandle* values, AtenTensorHandle* inverse, AtenTensorHandle* counts);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_unique_dim(AtenTensorHandle self, std::int64_t dim, std::int32_t,
                                                                  std::int32_t return_inverse,
                                                                  std::int32_t return_counts, AtenTensorHandle* values,
                                                                  AtenTensorHandle* inverse, AtenTensorHandle* counts);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_multinomial(AtenTensorHandle self, std::int64_t num_samples,
                                                                   std::int32_t replacement, void**,
                                                                   AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_slice_Tensor(AtenTensorHandle self, std::int64_t dim,
                                                                    std::int64_t* start, std::int64_t* end,
                                                                    std::int64_t step, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_permute(AtenTensorHandle self, const std::int64_t* dims,
                                                               std::int64_t dims_len, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_squeeze_dim(AtenTensorHandle self, std::int64_t dim,
                                                                   AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_clone(AtenTensorHandle self, std::int32_t*,
                                                             AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_constant_pad_nd(AtenTensorHandle self, const std::int64_t* pad,
                                                                       std::int64_t pad_len, double value,
                                                                       AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_pow_Tensor_Tensor(AtenTensorHandle self,
                                                                         AtenTensorHandle exponent,
                                                                         AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_pow_Scalar(double self, AtenTensorHandle exponent,
                                                                  AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_pow_Tensor_Scalar(AtenTensorHandle self, double exponent,
                                                                         AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_gcd(AtenTensorHandle self, AtenTensorHandle other,
                                                           AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_bincount(AtenTensorHandle self, AtenTensorHandle* weights,
                                                                std::int64_t minlength, AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_complex_function(AtenTensorHandle self, const char* name,
                                                                        AtenTensorHandle* ret);
AOTBUILD_RUNTIME_API AOTITorchError aotbuild_torch_cpu_complex_power(AtenTensorHandle self, AtenTensorHandle exponent,
                                                                     AtenTensorHandle* ret);

}  // extern "C"

#define aoti_torch_device_type_cpu aotbuild_torch_device_type_cpu
#define aoti_torch_device_type_cuda aotbuild_torch_device_type_cuda
#define aoti_torch_device_type_meta aotbuild_torch_device_type_meta
#define aoti_torch_dtype_uint8 aotbuild_torch_dtype_uint8
#define aoti_torch_dtype_uint16 aotbuild_torch_dtype_uint16
#define aoti_torch_dtype_uint32 aotbuild_torch_dtype_uint32
#define aoti_torch_dtype_uint64 aotbuild_torch_dtype_uint64
#define aoti_torch_dtype_int8 aotbuild_torch_dtype_int8
#define aoti_torch_dtype_int16 aotbuild_torch_dtype_int16
#define aoti_torch_dtype_int32 aotbuild_torch_dtype_int32
#define aoti_torch_dtype_int64 aotbuild_torch_dtype_int64
#define aoti_torch_dtype_float16 aotbuild_torch_dtype_float16
#define aoti_torch_dtype_bfloat16 aotbuild_torch_dtype_bfloat16
#define aoti_torch_dtype_float32 aotbuild_torch_dtype_float32
#define aoti_torch_dtype_float64 aotbuild_torch_dtype_float64
#define aoti_torch_dtype_complex32 aotbuild_torch_dtype_complex32
#define aoti_torch_dtype_complex64 aotbuild_torch_dtype_complex64
#define aoti_torch_dtype_complex128 aotbuild_torch_dtype_complex128
#define aoti_torch_dtype_bool aotbuild_torch_dtype_bool
#define aoti_torch_dtype_float8_e5m2 aotbuild_torch_dtype_float8_e5m2
#define aoti_torch_dtype_float8_e4m3fn aotbuild_torch_dtype_float8_e4m3fn
#define aoti_torch_dtype_float8_e5m2fnuz aotbuild_torch_dtype_float8_e5m2fnuz
#define aoti_torch_dtype_float8_e4m3fnuz aotbuild_torch_dtype_float8_e4m3fnuz
#define aoti_torch_dtype_element_size aotbuild_torch_dtype_element_size
#define aoti_torch_layout_strided aotbuild_torch_layout_strided
#define aoti_torch_memory_format_contiguous_format aotbuild_torch_memory_format_contiguous_format
#define aoti_torch_memory_format_preserve_format aotbuild_torch_memory_format_preserve_format
#define aoti_torch_memory_format_channels_last aotbuild_torch_memory_format_channels_last
#define aoti_torch_memory_format_channels_last_3d aotbuild_torch_memory_format_channels_last_3d
#define aoti_torch_grad_mode_is_enabled aotbuild_torch_grad_mode_is_enabled
#define aoti_torch_grad_mode_set_enabled aotbuild_torch_grad_mode_set_enabled
#define aoti_torch_check aotbuild_torch_check
#define aoti_torch_warn aotbuild_torch_warn
#define aoti_torch_check_inf_and_nan aotbuild_torch_check_inf_and_nan
#define aoti_torch_get_data_ptr aotbuild_torch_get_data_ptr
#define aoti_torch_get_storage_size aotbuild_torch_get_storage_size
#define aoti_torch_get_storage_numel aotbuild_torch_get_storage_numel
#define aoti_torch_get_storage_offset aotbuild_torch_get_storage_offset
#define aoti_torch_get_dim aotbuild_torch_get_dim
#define aoti_torch_get_numel aotbuild_torch_get_numel
#define aoti_torch_get_sizes aotbuild_torch_get_sizes
#define aoti_torch_get_size aotbuild_torch_get_size
#define aoti_torch_get_strides aotbuild_torch_get_strides
#define aoti_torch_get_stride aotbuild_torch_get_stride
#define aoti_torch_get_dtype aotbuild_torch_get_dtype
#define aoti_torch_get_device_type aotbuild_torch_get_device_type
#define aoti_torch_get_device_index aotbuild_torch_get_device_index
#define aoti_torch_get_layout aotbuild_torch_get_layout
#define aoti_torch_is_contiguous aotbuild_torch_is_contiguous
#define aoti_torch_is_defined aotbuild_torch_is_defined
#define aoti_torch_new_uninitialized_tensor aotbuild_torch_new_uninitialized_tensor
#define aoti_torch_new_tensor_handle aotbuild_torch_new_tensor_handle
#define aoti_torch_delete_tensor_object aotbuild_torch_delete_tensor_object
#define aoti_torch_empty_strided aotbuild_torch_empty_strided
#define aoti_torch_empty_strided_pinned aotbuild_torch_empty_strided_pinned
#define aoti_torch_create_tensor_from_blob aotbuild_torch_create_tensor_from_blob
#define aoti_torch_create_tensor_from_blob_v2 aotbuild_torch_create_tensor_from_blob_v2
#define aoti_torch__alloc_from_pool aotbuild_torch__alloc_from_pool
#define aoti_torch__reinterpret_tensor aotbuild_torch__reinterpret_tensor
#define aoti_torch_as_strided aotbuild_torch_as_strided
#define aoti_torch_cpu_view_dtype aotbuild_torch_cpu_view_dtype
#define aoti_torch_cpu_view_as_real aotbuild_torch_cpu_view_as_real
#define aoti_torch_cpu_view_as_complex aotbuild_torch_cpu_view_as_complex
#define aoti_torch_assign_tensors aotbuild_torch_assign_tensors
#define aoti_torch_assign_tensors_out aotbuild_torch_assign_tensors_out
#define aoti_torch_clone aotbuild_torch_clone
#define aoti_torch_clone_preserve_strides aotbuild_torch_clone_preserve_strides
#define aoti_torch_copy_ aotbuild_torch_copy_
#define aoti_torch_tensor_copy_ aotbuild_torch_tensor_copy_
#define aoti_torch_zero_ aotbuild_torch_zero_
#define aoti_torch_cpu_fill__Scalar aotbuild_torch_cpu_fill__Scalar
// These take tensors of either device.
#define aoti_torch_cuda_view_dtype aotbuild_torch_cpu_view_dtype
#define aoti_torch_cuda_view_as_real aotbuild_torch_cpu_view_as_real
#define aoti_torch_cuda_view_as_complex aotbuild_torch_cpu_view_as_complex
#define aoti_torch_cuda_fill__Scalar aotbuild_torch_cpu_fill__Scalar
#define aoti_torch_item_float32 aotbuild_torch_item_float32
#define aoti_torch_item_float64 aotbuild_torch_item_float64
#define aoti_torch_item_uint8 aotbuild_torch_item_uint8
#define aoti_torch_item_uint16 aotbuild_torch_item_uint16
#define aoti_torch_item_uint32 aotbuild_torch_item_uint32
#define aoti_torch_item_uint64 aotbuild_torch_item_uint64
#define aoti_torch_item_int8 aotbuild_torch_item_int8
#define aoti_torch_item_int16 aotbuild_torch_item_int16
#define aoti_torch_item_int32 aotbuild_torch_item_int32
#define aoti_torch_item_int64 aotbuild_torch_item_int64
#define aoti_torch_item_bool aotbuild_torch_item_bool
#define aoti_torch_item_float16 aotbuild_torch_item_float16
#define aoti_torch_item_bfloat16 aotbuild_torch_item_bfloat16
#define aoti_torch_item_complex64 aotbuild_torch_item_complex64
#define aoti_torch_scalar_to_tensor_float32 aotbuild_torch_scalar_to_tensor_float32
#define aoti_torch_scalar_to_tensor_float64 aotbuild_torch_scalar_to_tensor_float64
#define aoti_torch_scalar_to_tensor_uint8 aotbuild_torch_scalar_to_tensor_uint8
#define aoti_torch_scalar_to_tensor_uint16 aotbuild_torch_scalar_to_tensor_uint16
#define aoti_torch_scalar_to_tensor_uint32 aotbuild_torch_scalar_to_tensor_uint32
#define aoti_torch_scalar_to_tensor_uint64 aotbuild_torch_scalar_to_tensor_uint64
#define aoti_torch_scalar_to_tensor_int8 aotbuild_torch_scalar_to_tensor_int8
#define aoti_torch_scalar_to_tensor_int16 aotbuild_torch_scalar_to_tensor_int16
#define aoti_torch_scalar_to_tensor_int32 aotbuild_torch_scalar_to_tensor_int32
#define aoti_torch_scalar_to_tensor_int64 aotbuild_torch_scalar_to_tensor_int64
#define aoti_torch_scalar_to_tensor_bool aotbuild_torch_scalar_to_tensor_bool
#define aoti_torch_cpu_mm_out aotbuild_torch_cpu_mm_out
#define aoti_torch_cpu_addmm_out aotbuild_torch_cpu_addmm_out
#define aoti_torch_cpu_bmm_out aotbuild_torch_cpu_bmm_out
#define aoti_torch_cpu_baddbmm_out aotbuild_torch_cpu_baddbmm_out
#define aoti_torch_cpu_convolution aotbuild_torch_cpu_convolution
#define aoti_torch_index_put_out aotbuild_torch_index_put_out
#define aoti_torch_scatter_out aotbuild_torch_scatter_out
#define aoti_torch_scatter_reduce_out aotbuild_torch_scatter_reduce_out
#define aoti_torch_cpu_scatter_src_out aotbuild_torch_cpu_scatter_src_out
#define aoti_torch_cpu_scatter_value_out aotbuild_torch_cpu_scatter_value_out
#define aoti_torch_cpu_scatter_reduce_two_out aotbuild_torch_cpu_scatter_reduce_two_out
#define aoti_torch_cpu_cumsum aotbuild_torch_cpu_cumsum
#define aoti_torch_cpu_cumprod aotbuild_torch_cpu_cumprod
#define aoti_torch_cpu_logcumsumexp aotbuild_torch_cpu_logcumsumexp
#define aoti_torch_cpu_cummax aotbuild_torch_cpu_cummax
#define aoti_torch_cpu_cummin aotbuild_torch_cpu_cummin
#define aoti_torch_cpu_sort aotbuild_torch_cpu_sort
#define aoti_torch_cpu_sort_stable aotbuild_torch_cpu_sort_stable
#define aoti_torch_cpu_topk aotbuild_torch_cpu_topk
#define aoti_torch_cpu_kthvalue aotbuild_torch_cpu_kthvalue
#define aoti_torch_cpu_mode aotbuild_torch_cpu_mode
#define aoti_torch_cpu_median aotbuild_torch_cpu_median
#define aoti_torch_cpu_nanmedian aotbuild_torch_cpu_nanmedian
#define aoti_torch_cpu_searchsorted_Tensor aotbuild_torch_cpu_searchsorted_Tensor
#define aoti_torch_cpu_searchsorted_Scalar aotbuild_torch_cpu_searchsorted_Scalar
#define aoti_torch_cpu_bucketize_Tensor aotbuild_torch_cpu_bucketize_Tensor
#define aoti_torch_cpu_nonzero aotbuild_torch_cpu_nonzero
#define aoti_torch_cpu_nonzero_static aotbuild_torch_cpu_nonzero_static
#define aoti_torch_cpu_masked_select aotbuild_torch_cpu_masked_select
#define aoti_torch_cpu_masked_scatter aotbuild_torch_cpu_masked_scatter
#define aoti_torch_cpu_index_reduce aotbuild_torch_cpu_index_reduce
#define aoti_torch_cpu_repeat_interleave_Tensor aotbuild_torch_cpu_repeat_interleave_Tensor
#define aoti_torch_cpu__adaptive_avg_pool2d aotbuild_torch_cpu__adaptive_avg_pool2d
#define aoti_torch_cpu__adaptive_avg_pool3d aotbuild_torch_cpu__adaptive_avg_pool3d
#define aoti_torch_cpu_adaptive_max_pool2d aotbuild_torch_cpu_adaptive_max_pool2d
#define aoti_torch_cpu_adaptive_max_pool3d aotbuild_torch_cpu_adaptive_max_pool3d
#define aoti_torch_cpu_avg_pool2d aotbuild_torch_cpu_avg_pool2d
#define aoti_torch_cpu_avg_pool3d aotbuild_torch_cpu_avg_pool3d
#define aoti_torch_cpu_max_pool2d_with_indices aotbuild_torch_cpu_max_pool2d_with_indices
#define aoti_torch_cpu_max_pool3d_with_indices aotbuild_torch_cpu_max_pool3d_with_indices
#define aoti_torch_cpu_fractional_max_pool2d aotbuild_torch_cpu_fractional_max_pool2d
#define aoti_torch_cpu_fractional_max_pool3d aotbuild_torch_cpu_fractional_max_pool3d
#define aoti_torch_cpu_grid_sampler_3d aotbuild_torch_cpu_grid_sampler_3d
#define aoti_torch_cpu__cdist_forward aotbuild_torch_cpu__cdist_forward
#define aoti_torch_cpu__pdist_forward aotbuild_torch_cpu__pdist_forward
#define aoti_torch_cpu_histc aotbuild_torch_cpu_histc
#define aoti_torch_cpu_histogram_bin_ct aotbuild_torch_cpu_histogram_bin_ct
#define aoti_torch_cpu_histogram_bins_tensor aotbuild_torch_cpu_histogram_bins_tensor
#define aoti_torch_cpu__embedding_bag aotbuild_torch_cpu__embedding_bag
#define aoti_torch_cpu__embedding_bag_forward_only aotbuild_torch_cpu__embedding_bag_forward_only
#define aoti_torch_cpu_segment_reduce aotbuild_torch_cpu_segment_reduce
#define aoti_torch_cpu_rand aotbuild_torch_cpu_rand
#define aoti_torch_cpu_randn aotbuild_torch_cpu_randn
#define aoti_torch_cpu_randint_low aotbuild_torch_cpu_randint_low
#define aoti_torch_cpu_randint_low_out aotbuild_torch_cpu_randint_low_out
#define aoti_torch_cpu_uniform aotbuild_torch_cpu_uniform
#define aoti_torch_cpu_normal_functional aotbuild_torch_cpu_normal_functional
#define aoti_torch_cpu_grouped_mm_fallback aotbuild_torch_cpu_grouped_mm_fallback
#define aoti_torch_cpu_recurrent aotbuild_torch_cpu_recurrent
#define aoti_torch_cpu_median_dim aotbuild_torch_cpu_median_dim
#define aoti_torch_cpu_nanmedian_dim aotbuild_torch_cpu_nanmedian_dim
#define aoti_torch_cpu__unique2 aotbuild_torch_cpu__unique2
#define aoti_torch_cpu_unique_consecutive aotbuild_torch_cpu_unique_consecutive
#define aoti_torch_cpu_unique_dim aotbuild_torch_cpu_unique_dim
#define aoti_torch_cpu_multinomial aotbuild_torch_cpu_multinomial
#define aoti_torch_cpu_slice_Tensor aotbuild_torch_cpu_slice_Tensor
#define aoti_torch_cpu_permute aotbuild_torch_cpu_permute
#define aoti_torch_cpu_squeeze_dim aotbuild_torch_cpu_squeeze_dim
#define aoti_torch_cpu_clone aotbuild_torch_cpu_clone
#define aoti_torch_cpu_constant_pad_nd aotbuild_torch_cpu_constant_pad_nd
#define aoti_torch_cpu_pow_Tensor_Tensor aotbuild_torch_cpu_pow_Tensor_Tensor
#define aoti_torch_cpu_pow_Scalar aotbuild_torch_cpu_pow_Scalar
#define aoti_torch_cpu_pow_Tensor_Scalar aotbuild_torch_cpu_pow_Tensor_Scalar
#define aoti_torch_cpu_gcd aotbuild_torch_cpu_gcd
#define aoti_torch_cpu_bincount aotbuild_torch_cpu_bincount
#define aoti_torch_cpu_complex_function aotbuild_torch_cpu_complex_function
#define aoti_torch_cpu_complex_power aotbuild_torch_cpu_complex_power

#include "aotbuild/detail/shim_eigen.h"

#endif  // AOTBUILD_DETAIL_SHIM_H_
