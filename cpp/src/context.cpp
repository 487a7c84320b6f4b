#include "context.hpp"

#include <algorithm>

#include "aotbuild/detail/runtime.hpp"

namespace aotbuild::detail {

bool has_strides(const aotbuild_tensor& tensor, const std::int64_t* strides) noexcept {
  if (tensor.strides == nullptr) return is_contiguous(tensor.ndim, tensor.shape, strides);
  return same_strides(tensor.ndim, tensor.shape, tensor.strides, strides);
}

void* CallContext::take_output_memory(std::int64_t index, std::int64_t ndim, const std::int64_t* sizes,
                                      const std::int64_t* strides) {
  if (index < 0 || static_cast<std::size_t>(index) >= output_count_ || !in_place_[index]) return nullptr;
  const aotbuild_tensor& output = outputs_[index];
  if (output.ndim != ndim || !std::equal(sizes, sizes + ndim, output.shape) || !has_strides(output, strides)) {
    return nullptr;
  }
  in_place_[index] = false;
  return data_of(output);
}

AtenTensorHandle context_weight(CallContext& context, int index) {
  if (index < 0 || static_cast<std::size_t>(index) >= context.weights.size()) {
    fail("context_weight", "there is no weight ", index);
  }
  return context.weights.tensor(static_cast<std::size_t>(index));
}

AtenTensorHandle context_allocate(CallContext& context, std::int64_t ndim, const std::int64_t* sizes,
                                  const std::int64_t* strides, std::int32_t dtype, int output_index) {
  const auto type = static_cast<ScalarType>(dtype);
  if (context.device != nullptr) {
    return context.device->allocate_output(type, ndim, sizes, strides, output_index).release();
  }
  void* memory = context.take_output_memory(output_index, ndim, sizes, strides);
  if (memory == nullptr) return make_tensor(type, ndim, sizes, strides).release();
  return make_borrowed(memory, extent_bytes(type, ndim, sizes, strides), type, ndim, sizes, strides).release();
}

void context_linear(CallContext& context, int slot, AtenTensorHandle input, AtenTensorHandle output) {
  if (slot < 0 || static_cast<std::size_t>(slot) >= context.weights.linear_count()) {
    fail("context_linear", "there is no linear layer ", slot);
  }
  if (input == nullptr || output == nullptr) fail("context_linear", "a tensor is null");
  context.weights.linear(static_cast<std::size_t>(slot)).run(context.workspace, *input, *output);
}

void context_mlp(CallContext& context, int slot, AtenTensorHandle input, AtenTensorHandle output) {
  if (slot < 0 || static_cast<std::size_t>(slot) >= context.weights.mlp_count()) {
    fail("context_mlp", "there is no pair of linear layers ", slot);
  }
  if (input == nullptr || output == nullptr) fail("context_mlp", "a tensor is null");
  context.weights.mlp(static_cast<std::size_t>(slot)).run(context.workspace, *input, *output);
}

void context_convolution(CallContext& context, int slot, AtenTensorHandle input, AtenTensorHandle output) {
  if (slot < 0 || static_cast<std::size_t>(slot) >= context.weights.convolution_count()) {
    fail("context_convolution", "there is no convolution ", slot);
  }
  if (input == nullptr || output == nullptr) fail("context_convolution", "a tensor is null");
  context.weights.convolution(static_cast<std::size_t>(slot)).run(context.workspace, *input, *output);
}

}  // namespace aotbuild::detail
