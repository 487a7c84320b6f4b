"""The functions of AOTInductor's C shim that the standalone runtime has, by the headers of cpp/ that declare them.

The names here are those of shim.h and shim_eigen.h, and tests/unit/test_shim.py holds both against one another.
"""

from __future__ import annotations

PREFIX = "aoti_torch_"

# Of any device: constants, tensors, and operators whose name upstream gives no device.
_PLAIN = """
    device_type_cpu device_type_cuda device_type_meta dtype_uint8 dtype_uint16 dtype_uint32 dtype_uint64
    dtype_int8 dtype_int16 dtype_int32 dtype_int64 dtype_float16 dtype_bfloat16 dtype_float32 dtype_float64
    dtype_complex32 dtype_complex64 dtype_complex128 dtype_bool dtype_float8_e5m2 dtype_float8_e4m3fn
    dtype_float8_e5m2fnuz dtype_float8_e4m3fnuz dtype_element_size layout_strided
    memory_format_contiguous_format memory_format_preserve_format memory_format_channels_last
    memory_format_channels_last_3d grad_mode_is_enabled grad_mode_set_enabled check warn check_inf_and_nan
    get_data_ptr get_storage_size get_storage_numel get_storage_offset get_dim get_numel get_sizes get_size
    get_strides get_stride get_dtype get_device_type get_device_index get_layout is_contiguous is_defined
    new_uninitialized_tensor new_tensor_handle delete_tensor_object empty_strided empty_strided_pinned
    create_tensor_from_blob create_tensor_from_blob_v2 _alloc_from_pool _reinterpret_tensor as_strided
    assign_tensors assign_tensors_out clone clone_preserve_strides copy_ tensor_copy_ zero_ item_float32
    item_float64 item_uint8 item_uint16 item_uint32 item_uint64 item_int8 item_int16 item_int32 item_int64
    item_bool item_float16 item_bfloat16 item_complex64 scalar_to_tensor_float32 scalar_to_tensor_float64
    scalar_to_tensor_uint8 scalar_to_tensor_uint16 scalar_to_tensor_uint32 scalar_to_tensor_uint64
    scalar_to_tensor_int8 scalar_to_tensor_int16 scalar_to_tensor_int32 scalar_to_tensor_int64
    scalar_to_tensor_bool index_put_out scatter_out scatter_reduce_out
"""

# Operators of one device: in shim.h, and of the CPU in shim_eigen.h, those that are made of Eigen.
_CPU = """
    view_dtype view_as_real view_as_complex fill__Scalar mm_out addmm_out bmm_out baddbmm_out convolution
    scatter_src_out scatter_value_out scatter_reduce_two_out cumsum cumprod logcumsumexp cummax cummin sort
    sort_stable topk kthvalue mode median nanmedian searchsorted_Tensor searchsorted_Scalar bucketize_Tensor
    nonzero nonzero_static masked_select masked_scatter index_reduce repeat_interleave_Tensor
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d avg_pool2d avg_pool3d
    max_pool2d_with_indices max_pool3d_with_indices fractional_max_pool2d fractional_max_pool3d grid_sampler_3d
    _cdist_forward _pdist_forward histc histogram_bin_ct histogram_bins_tensor _embedding_bag
    _embedding_bag_forward_only segment_reduce rand randn randint_low randint_low_out uniform normal_functional
    grouped_mm_fallback recurrent median_dim nanmedian_dim _unique2 unique_consecutive unique_dim multinomial
    slice_Tensor permute squeeze_dim clone constant_pad_nd pow_Tensor_Tensor pow_Scalar pow_Tensor_Scalar gcd
    bincount complex_function complex_power
"""
_CUDA = """
    view_dtype view_as_real view_as_complex fill__Scalar
"""
_EIGEN = """
    _linalg_check_errors linalg_lu_factor_ex linalg_lu lu_unpack linalg_lu_solve _linalg_solve_ex linalg_inv_ex
    _linalg_det _linalg_slogdet linalg_cholesky_ex cholesky cholesky_solve cholesky_inverse
    linalg_solve_triangular triangular_solve linalg_matrix_exp linalg_ldl_factor_ex linalg_ldl_solve geqrf
    linalg_qr linalg_householder_product ormqr _linalg_eigh linalg_eig _linalg_svd _fft_c2c _fft_r2c _fft_c2r
"""


def _functions(names: str, device: str = "") -> frozenset[str]:
    return frozenset(f"{PREFIX}{device}{name}" for name in names.split())


SHIM = _functions(_PLAIN) | _functions(_CPU, "cpu_") | _functions(_CUDA, "cuda_")
SHIM_EIGEN = _functions(_EIGEN, "cpu_")
