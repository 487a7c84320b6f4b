// What generated run functions ask of the runtime, apart from the C shim: weights, buffers and packed layers.
// Private: generated sources and the runtime are always of the same aotbuild version.
// These functions throw subclasses of std::exception; `aotbuild_model_run` turns them into a status and a message.
#ifndef AOTBUILD_DETAIL_RUNTIME_HPP_
#define AOTBUILD_DETAIL_RUNTIME_HPP_

#include <cstdint>

#include "aotbuild/detail/export.h"
#include "aotbuild/detail/spec.h"

namespace aotbuild::detail {

// What shim functions return where there is no memory; 1 for other errors.
inline constexpr std::int32_t kShimOutOfMemory = -12;

// The handle of weight `index`, borrowed: it is valid until the run function returns and must not be deleted.
AOTBUILD_RUNTIME_API AtenTensorHandle context_weight(CallContext& context, int index);

// A new owned handle over uninitialised memory. `dtype` is a c10::ScalarType. `output_index` >= 0 says that the buffer
// is that output of the graph: it is placed in the caller's memory where the caller's sizes and strides allow it.
AOTBUILD_RUNTIME_API AtenTensorHandle context_allocate(CallContext& context, std::int64_t ndim,
                                                       const std::int64_t* sizes, const std::int64_t* strides,
                                                       std::int32_t dtype, int output_index);

// output[..., N] = activation(input[..., K] @ weights.T + bias) for linear layer `slot` of the model.
// Both have a unit last stride and as many rows as each other; rows may lie apart.
AOTBUILD_RUNTIME_API void context_linear(CallContext& context, int slot, AtenTensorHandle input,
                                         AtenTensorHandle output);

// output = second(first(input)) for pair `slot` of linear layers of the model; operands as for context_linear.
AOTBUILD_RUNTIME_API void context_mlp(CallContext& context, int slot, AtenTensorHandle input, AtenTensorHandle output);

// output[..., N] = input[..., K] @ weights.T for quantized linear layer `slot` of the model: int8 to int32, or float32.
AOTBUILD_RUNTIME_API void context_quantized_linear(CallContext& context, int slot, AtenTensorHandle input,
                                                   AtenTensorHandle output);

// Recurrent layers `slot` of the model: the output, h_n and c_n as new owned handles. `state`: h_0 and, of an LSTM,
// c_0; without it c_n has no elements.
AOTBUILD_RUNTIME_API void context_recurrent(CallContext& context, AtenTensorHandle input, const AtenTensorHandle* state,
                                            std::int64_t state_count, int slot, AtenTensorHandle* output,
                                            AtenTensorHandle* hidden, AtenTensorHandle* cell);

// Convolution `slot` of the model. `input` is [N, C, spatial...] and `output` [N, O, spatial...], of any strides.
AOTBUILD_RUNTIME_API void context_convolution(CallContext& context, int slot, AtenTensorHandle input,
                                              AtenTensorHandle output);

// Whether this machine runs code compiled for `isa`: "x86-64", "x86-64-v2", "x86-64-v3", "avx2", "x86-64-v4",
// "avx512", "aarch64", "riscv64", "armv7" or "wasm32". False for any other name.
AOTBUILD_RUNTIME_API bool cpu_supports(const char* isa);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_DETAIL_RUNTIME_HPP_
