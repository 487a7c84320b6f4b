#include "model/context.hpp"

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

namespace {

// The model's number of what the running code has a number for; `count` is how many the model has.
std::size_t number_of(const CallContext& context, IndexTable MethodSpec::* table, int index, std::size_t count,
                      const char* function, const char* what) {
  if (context.method != nullptr) {
    const IndexTable& numbers = context.method->*table;
    index = index < 0 || static_cast<std::size_t>(index) >= numbers.count ? -1 : numbers.indices[index];
  }
  if (index < 0 || static_cast<std::size_t>(index) >= count) fail(function, "there is no ", what, " ", index);
  return static_cast<std::size_t>(index);
}

}  // namespace

AtenTensorHandle context_weight(CallContext& context, int index) {
  return context.weight(
      number_of(context, &MethodSpec::weights, index, context.weights.size(), "context_weight", "weight"));
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
  const std::size_t number =
      number_of(context, &MethodSpec::linears, slot, context.weights.linear_count(), "context_linear", "linear layer");
  if (input == nullptr || output == nullptr) fail("context_linear", "a tensor is null");
  context.weights.linear(number).run(context.workspace, *input, *output);
}

void context_mlp(CallContext& context, int slot, AtenTensorHandle input, AtenTensorHandle output) {
  const std::size_t number =
      number_of(context, &MethodSpec::mlps, slot, context.weights.mlp_count(), "context_mlp", "pair of linear layers");
  if (input == nullptr || output == nullptr) fail("context_mlp", "a tensor is null");
  context.weights.mlp(number).run(context.workspace, *input, *output);
}

void context_quantized_linear(CallContext& context, int slot, AtenTensorHandle input, AtenTensorHandle output) {
  const char* const function = "context_quantized_linear";
  const std::size_t number = number_of(context, &MethodSpec::quantized, slot, context.weights.quantized_count(),
                                       function, "quantized linear layer");
  if (input == nullptr || output == nullptr) fail(function, "a tensor is null");
  context.weights.quantized(number).run(context.workspace, *input, *output);
}

void context_recurrent(CallContext& context, AtenTensorHandle input, const AtenTensorHandle* state,
                       std::int64_t state_count, int slot, AtenTensorHandle* output, AtenTensorHandle* hidden,
                       AtenTensorHandle* cell) {
  const char* const function = "context_recurrent";
  const std::size_t number =
      number_of(context, &MethodSpec::recurrent, slot, context.weights.recurrent_count(), function, "recurrent layer");
  if (input == nullptr || state_count < 1 || state[0] == nullptr) fail(function, "a tensor is null");
  RecurrentResult result =
      context.weights.recurrent(number).run(*input, *state[0], state_count > 1 ? state[1] : nullptr, function);
  *output = result[0].release();
  *hidden = result[1].release();
  *cell = result[2].release();
}

void context_convolution(CallContext& context, int slot, AtenTensorHandle input, AtenTensorHandle output) {
  const std::size_t number = number_of(context, &MethodSpec::convolutions, slot, context.weights.convolution_count(),
                                       "context_convolution", "convolution");
  if (input == nullptr || output == nullptr) fail("context_convolution", "a tensor is null");
  context.weights.convolution(number).run(context.workspace, *input, *output);
}

}  // namespace aotbuild::detail
