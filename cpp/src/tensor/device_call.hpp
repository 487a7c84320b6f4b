// What a call asks of the device that it runs on: memory and copies. Implemented for CUDA by cuda_call.cpp.
#ifndef AOTBUILD_SRC_TENSOR_DEVICE_CALL_HPP_
#define AOTBUILD_SRC_TENSOR_DEVICE_CALL_HPP_

#include <cstddef>
#include <cstdint>

#include "tensor/tensor.hpp"

namespace aotbuild::detail {

// The memory and the copies of one call. Used by the thread that makes the call; all work is in one order.
class DeviceCall {
 public:
  virtual ~DeviceCall() = default;

  virtual aotbuild_device device() const noexcept = 0;
  // Uninitialised memory until `deallocate(*block)`.
  virtual void* allocate(std::size_t nbytes, void** block) = 0;
  virtual void deallocate(void* block) noexcept = 0;
  // The tensor of context_allocate.
  virtual TensorPtr allocate_output(ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes,
                                    const std::int64_t* strides, int output_index) = 0;

  // As copy() and fill() of copy.hpp, where a tensor lies on the device. What is copied to the CPU is there on return.
  virtual void copy(Tensor& destination, const Tensor& source, const char* function) = 0;
  virtual void fill(Tensor& destination, const void* value, const char* function) = 0;
  // Both lie on the device.
  virtual void copy_bytes(void* destination, const void* source, std::size_t nbytes, const char* function) = 0;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_TENSOR_DEVICE_CALL_HPP_
