// The state of one call, which generated run functions hand back to the runtime.
#ifndef AOTBUILD_SRC_MODEL_CONTEXT_HPP_
#define AOTBUILD_SRC_MODEL_CONTEXT_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "aotbuild/detail/spec.h"
#include "tensor/device_call.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"
#include "weights/state.hpp"
#include "weights/weights.hpp"

namespace aotbuild::detail {

// An array on the stack up to `kInline` elements. Zero-initialised.
template <typename T, std::size_t kInline>
class SmallArray {
 public:
  explicit SmallArray(std::size_t size) : data_(inline_.data()), size_(size) {
    if (size <= kInline) return;
    heap_ = std::make_unique<T[]>(size);
    data_ = heap_.get();
  }
  T& operator[](std::size_t i) { return data_[i]; }
  T* data() { return data_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  std::size_t size() const { return size_; }

 private:
  std::array<T, kInline> inline_{};
  std::unique_ptr<T[]> heap_;
  T* data_;
  std::size_t size_;
};

class CallContext {
 public:
  // `outputs`: the caller's; those with data may be written in place where `in_place` says so.
  // `state`: null for code that writes to no buffer. `call_method`: null for the code of a model without methods.
  // `call_device` is null on the CPU.
  CallContext(const WeightSet& weight_set, Workspace& call_workspace, const aotbuild_tensor* outputs, bool* in_place,
              std::size_t output_count, const State* state = nullptr, const MethodSpec* call_method = nullptr,
              DeviceCall* call_device = nullptr)
      : weights(weight_set),
        method(call_method),
        workspace(call_workspace),
        device(call_device),
        state_(state),
        outputs_(outputs),
        in_place_(in_place),
        output_count_(output_count) {}

  // The caller's memory for an output with these properties, once; else null.
  void* take_output_memory(std::int64_t index, std::int64_t ndim, const std::int64_t* sizes,
                           const std::int64_t* strides);

  // Of the model, whatever method's code counts them.
  Tensor* weight(std::size_t index) const {
    Tensor* written = state_ != nullptr ? state_->tensor(index) : nullptr;
    return written != nullptr ? written : weights.tensor(index);
  }

  const WeightSet& weights;
  const MethodSpec* const method;
  Workspace& workspace;
  DeviceCall* const device;

 private:
  const State* state_;
  const aotbuild_tensor* outputs_;
  bool* in_place_;
  std::size_t output_count_;
};

// The memory and strides of a tensor of the C ABI; null strides are contiguous.
bool has_strides(const aotbuild_tensor& tensor, const std::int64_t* strides) noexcept;
inline void* data_of(const aotbuild_tensor& tensor) noexcept {
  return tensor.data == nullptr ? nullptr : static_cast<char*>(tensor.data) + tensor.byte_offset;
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_MODEL_CONTEXT_HPP_
