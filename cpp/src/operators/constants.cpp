// The C shim: constants, modes and checks.
#include <cmath>
#include <cstdio>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {
constexpr std::int32_t number(ScalarType dtype) { return static_cast<std::int32_t>(dtype); }
}  // namespace

// c10::DeviceType
std::int32_t aotbuild_torch_device_type_cpu() { return kCpuType; }
std::int32_t aotbuild_torch_device_type_cuda() { return kCudaType; }
std::int32_t aotbuild_torch_device_type_meta() { return 14; }

std::int32_t aotbuild_torch_dtype_uint8() { return number(ScalarType::kUInt8); }
std::int32_t aotbuild_torch_dtype_uint16() { return number(ScalarType::kUInt16); }
std::int32_t aotbuild_torch_dtype_uint32() { return number(ScalarType::kUInt32); }
std::int32_t aotbuild_torch_dtype_uint64() { return number(ScalarType::kUInt64); }
std::int32_t aotbuild_torch_dtype_int8() { return number(ScalarType::kInt8); }
std::int32_t aotbuild_torch_dtype_int16() { return number(ScalarType::kInt16); }
std::int32_t aotbuild_torch_dtype_int32() { return number(ScalarType::kInt32); }
std::int32_t aotbuild_torch_dtype_int64() { return number(ScalarType::kInt64); }
std::int32_t aotbuild_torch_dtype_float16() { return number(ScalarType::kFloat16); }
std::int32_t aotbuild_torch_dtype_bfloat16() { return number(ScalarType::kBFloat16); }
std::int32_t aotbuild_torch_dtype_float32() { return number(ScalarType::kFloat32); }
std::int32_t aotbuild_torch_dtype_float64() { return number(ScalarType::kFloat64); }
std::int32_t aotbuild_torch_dtype_complex32() { return number(ScalarType::kComplex32); }
std::int32_t aotbuild_torch_dtype_complex64() { return number(ScalarType::kComplex64); }
std::int32_t aotbuild_torch_dtype_complex128() { return number(ScalarType::kComplex128); }
std::int32_t aotbuild_torch_dtype_bool() { return number(ScalarType::kBool); }
std::int32_t aotbuild_torch_dtype_float8_e5m2() { return number(ScalarType::kFloat8E5M2); }
std::int32_t aotbuild_torch_dtype_float8_e4m3fn() { return number(ScalarType::kFloat8E4M3FN); }
std::int32_t aotbuild_torch_dtype_float8_e5m2fnuz() { return number(ScalarType::kFloat8E5M2FNUZ); }
std::int32_t aotbuild_torch_dtype_float8_e4m3fnuz() { return number(ScalarType::kFloat8E4M3FNUZ); }
std::size_t aotbuild_torch_dtype_element_size(std::int32_t dtype) {
  return element_size(static_cast<ScalarType>(dtype));
}

// c10::Layout
std::int32_t aotbuild_torch_layout_strided() { return 0; }

// c10::MemoryFormat
std::int32_t aotbuild_torch_memory_format_contiguous_format() { return 0; }
std::int32_t aotbuild_torch_memory_format_preserve_format() { return 1; }
std::int32_t aotbuild_torch_memory_format_channels_last() { return 2; }
std::int32_t aotbuild_torch_memory_format_channels_last_3d() { return 3; }

// There are no gradients at run time.
bool aotbuild_torch_grad_mode_is_enabled() { return false; }
void aotbuild_torch_grad_mode_set_enabled(bool) {}

void aotbuild_torch_check(bool condition, const char* function, const char*, std::uint32_t, const char* message) {
  if (!condition) fail(function != nullptr ? function : "aoti_torch_check", message != nullptr ? message : "failed");
}

void aotbuild_torch_warn(const char* function, const char*, std::uint32_t, const char* message) {
  std::fprintf(stderr, "warning: %s: %s\n", function != nullptr ? function : "aoti_torch_warn",
               message != nullptr ? message : "");
}

AOTITorchError aotbuild_torch_check_inf_and_nan(const char* tensor_name, AtenTensorHandle tensor) {
  return guarded([&] {
    const char* const function = "aoti_torch_check_inf_and_nan";
    if (tensor_name == nullptr || tensor == nullptr || tensor->storage == nullptr) fail(function, "a tensor is null");
    const TensorPtr dense = make_tensor(tensor->dtype, tensor->ndim, tensor->sizes(), nullptr);
    copy(*dense, *tensor, function);
    dispatch(dense->dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* values = dense->data_as<T>();
      const std::int64_t count = dense->numel();
      for (std::int64_t i = 0; i < count; ++i) {
        const auto value = convert<std::complex<double>>(values[i]);
        if (!std::isfinite(value.real()) || !std::isfinite(value.imag())) {
          fail(function, "tensor '", tensor_name, "' holds an infinity or a NaN");
        }
      }
    });
  });
}
