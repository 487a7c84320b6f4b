// The functions of a WebAssembly module, which its ES module calls. Included by one generated source, after the C
// header of the model; AOTBUILD_MODULE_API is the function that gives its table.
#ifndef AOTBUILD_DETAIL_WASM_MODULE_HPP_
#define AOTBUILD_DETAIL_WASM_MODULE_HPP_

#include <emscripten.h>

#include <cstddef>
#include <exception>

#include "aotbuild/c_api.h"

// The ES module writes and reads these structures in the module's memory.
static_assert(sizeof(aotbuild_tensor) == 40 && sizeof(aotbuild_named_tensor) == 48);
static_assert(offsetof(aotbuild_tensor, device) == 4 && offsetof(aotbuild_tensor, ndim) == 12);
static_assert(offsetof(aotbuild_tensor, dtype) == 16 && offsetof(aotbuild_tensor, shape) == 20);
static_assert(offsetof(aotbuild_named_tensor, name) == 4 && offsetof(aotbuild_named_tensor, tensor) == 8);

extern "C" {

// Null, with the text in module_error(). Without weights, those that lie in the module.
EMSCRIPTEN_KEEPALIVE inline aotbuild_model* module_create(const aotbuild_named_tensor* weights, std::size_t count) {
  aotbuild_options options{};
  options.struct_size = sizeof options;
  options.weights = weights;
  options.weight_count = count;
  aotbuild_model* model = nullptr;
  return AOTBUILD_MODULE_API()->create(&options, &model) == AOTBUILD_OK ? model : nullptr;
}

EMSCRIPTEN_KEEPALIVE inline void module_destroy(aotbuild_model* model) { AOTBUILD_MODULE_API()->destroy(model); }

// Null, with the text in module_error(). The outputs are in the result's memory.
EMSCRIPTEN_KEEPALIVE inline aotbuild_result* module_run(aotbuild_model* model, std::size_t method,
                                                        const aotbuild_tensor* inputs, std::size_t input_count,
                                                        aotbuild_tensor* outputs, std::size_t output_count) {
  aotbuild_result* result = nullptr;
  const aotbuild_status status =
      AOTBUILD_MODULE_API()->run(model, method, nullptr, inputs, input_count, outputs, output_count, &result);
  return status == AOTBUILD_OK ? result : nullptr;
}

EMSCRIPTEN_KEEPALIVE inline void module_destroy_result(aotbuild_result* result) {
  AOTBUILD_MODULE_API()->destroy_result(result);
}

EMSCRIPTEN_KEEPALIVE inline const char* module_error() { return AOTBUILD_MODULE_API()->last_error(); }

}  // extern "C"

#endif  // AOTBUILD_DETAIL_WASM_MODULE_HPP_
