// The C shim: scalars out of tensors and tensors out of scalars.
#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

template <typename T>
AOTITorchError item(AtenTensorHandle tensor, T* ret, const char* function) {
  return guarded([&] {
    const Tensor& self = checked(tensor, function, "tensor");
    T& result = checked_result(ret, function);
    if (self.numel() != 1) {
      fail(function, "expected a tensor of one element, got sizes ", format_dims(self.ndim, self.sizes()));
    }
    TensorPtr on_host;
    if (self.on_device()) {
      on_host = make_tensor(self.dtype, 0, nullptr, nullptr);
      const TensorPtr scalar = make_view(self, self.dtype, 0, nullptr, nullptr, self.offset);
      copy(*on_host, *scalar, function);
    }
    const Tensor& readable = on_host != nullptr ? *on_host : self;
    dispatch(self.dtype, function,
             [&](auto tag) { result = convert<T>(*readable.data_as<typename decltype(tag)::type>()); });
  });
}

template <typename T>
AOTITorchError scalar_to_tensor(T value, ScalarType dtype, AtenTensorHandle* ret, const char* function) {
  return guarded([&] {
    AtenTensorHandle& result = checked_result(ret, function);
    TensorPtr made = make_tensor(dtype, 0, nullptr, nullptr);
    *made->data_as<T>() = value;
    result = made.release();
  });
}

}  // namespace

#define AOTBUILD_DEFINE_ITEM(NAME, TYPE)                                          \
  AOTITorchError aotbuild_torch_item_##NAME(AtenTensorHandle tensor, TYPE* ret) { \
    return item(tensor, ret, "aoti_torch_item_" #NAME);                           \
  }
#define AOTBUILD_DEFINE_SCALAR(NAME, TYPE, DTYPE)                                                 \
  AOTBUILD_DEFINE_ITEM(NAME, TYPE)                                                                \
  AOTITorchError aotbuild_torch_scalar_to_tensor_##NAME(TYPE value, AtenTensorHandle* ret) {      \
    return scalar_to_tensor(value, ScalarType::DTYPE, ret, "aoti_torch_scalar_to_tensor_" #NAME); \
  }

AOTBUILD_DEFINE_SCALAR(float32, float, kFloat32)
AOTBUILD_DEFINE_SCALAR(float64, double, kFloat64)
AOTBUILD_DEFINE_SCALAR(uint8, std::uint8_t, kUInt8)
AOTBUILD_DEFINE_SCALAR(uint16, std::uint16_t, kUInt16)
AOTBUILD_DEFINE_SCALAR(uint32, std::uint32_t, kUInt32)
AOTBUILD_DEFINE_SCALAR(uint64, std::uint64_t, kUInt64)
AOTBUILD_DEFINE_SCALAR(int8, std::int8_t, kInt8)
AOTBUILD_DEFINE_SCALAR(int16, std::int16_t, kInt16)
AOTBUILD_DEFINE_SCALAR(int32, std::int32_t, kInt32)
AOTBUILD_DEFINE_SCALAR(int64, std::int64_t, kInt64)
AOTBUILD_DEFINE_SCALAR(bool, bool, kBool)

#undef AOTBUILD_DEFINE_SCALAR
#undef AOTBUILD_DEFINE_ITEM

AOTITorchError aotbuild_torch_item_float16(AtenTensorHandle tensor, void* ret) {
  return item(tensor, static_cast<Half*>(ret), "aoti_torch_item_float16");
}

AOTITorchError aotbuild_torch_item_bfloat16(AtenTensorHandle tensor, void* ret) {
  return item(tensor, static_cast<BFloat16*>(ret), "aoti_torch_item_bfloat16");
}

AOTITorchError aotbuild_torch_item_complex64(AtenTensorHandle tensor, void* ret) {
  return item(tensor, static_cast<std::complex<float>*>(ret), "aoti_torch_item_complex64");
}
