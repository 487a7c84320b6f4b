// A model library written by hand for the runner's tests: it has the ABI of a generated one and no runtime. Inputs:
// x float32[n], options.scale float32[]. Outputs: scaled = scale * x, stats.size = n.
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>

#include "aotbuild/c_api.h"

#ifndef ECHO_FACTOR
#define ECHO_FACTOR 1
#endif

struct aotbuild_model {};
struct aotbuild_result {
  std::unique_ptr<float[]> scaled;
  std::int64_t size;
  std::int64_t stride = 1;
};

namespace {

thread_local std::string last_error_text;

constexpr aotbuild_dim_info kDim = {sizeof(aotbuild_dim_info), 1, 1000, "n", 1, 0};
constexpr const aotbuild_dim_info* kDims[] = {&kDim};
constexpr aotbuild_dtype kFloat = {AOTBUILD_FLOAT, 32, 1};
constexpr aotbuild_dtype kInt64 = {AOTBUILD_INT, 64, 1};
constexpr aotbuild_tensor_info tensor(const char* name, aotbuild_dtype dtype, int32_t ndim) {
  return {sizeof(aotbuild_tensor_info), ndim, name, dtype, 0, {AOTBUILD_CPU, 0}, ndim == 0 ? nullptr : kDims, nullptr};
}
constexpr aotbuild_tensor_info kX = tensor("x", kFloat, 1);
constexpr aotbuild_tensor_info kScale = tensor("options.scale", kFloat, 0);
constexpr aotbuild_tensor_info kScaled = tensor("scaled", kFloat, 1);
constexpr aotbuild_tensor_info kSize = tensor("stats.size", kInt64, 0);
constexpr const aotbuild_tensor_info* kInputs[] = {&kX, &kScale};
constexpr const aotbuild_tensor_info* kOutputs[] = {&kScaled, &kSize};
constexpr aotbuild_method_info kRun = {sizeof(aotbuild_method_info), "run", 2, kInputs, 2, kOutputs};
constexpr const aotbuild_method_info* kMethods[] = {&kRun};
constexpr char kCall[] = R"({
  "parameters": [
    {"name": "x", "kind": "positional_or_keyword", "value": 0},
    {"name": "options", "kind": "positional_or_keyword", "value": {"dict": [1], "keys": ["scale"]}}],
  "result": {
    "mapping": [0, {"mapping": [1], "name": "Stats", "keys": ["size"]}],
    "name": "Outputs", "keys": ["scaled", "stats"]}})";

// ECHO_CALL: how the call looks in Python, as aotbuild/calls.py writes it, of the models that are loaded next.
const aotbuild_model_info* describe() {
  const char* const call = std::getenv("ECHO_CALL");
  static std::deque<std::string> manifests;
  static std::deque<aotbuild_model_info> infos;
  manifests.push_back(R"({"target": "echo", "call": )" + std::string(call != nullptr ? call : kCall) + "}");
  const char* const manifest = manifests.back().c_str();
  infos.push_back({AOTBUILD_ABI_VERSION, sizeof(aotbuild_model_info), "echo", 1, kMethods, 0, nullptr, manifest});
  return &infos.back();
}

aotbuild_status create(const aotbuild_options* options, aotbuild_model** model) {
  if (options->weights_file != nullptr) {
    last_error_text = std::string("echo: cannot open ") + options->weights_file;
    return AOTBUILD_INVALID_WEIGHTS;
  }
  *model = new aotbuild_model;
  return AOTBUILD_OK;
}

aotbuild_status run(aotbuild_model*, size_t, void*, const aotbuild_tensor* inputs, size_t, aotbuild_tensor* outputs,
                    size_t, aotbuild_result** result) {
  if (inputs[0].dtype.bits != 32 || inputs[0].ndim != 1) {
    last_error_text = "echo: input 'x' is not float32 of rank 1";
    return AOTBUILD_INVALID_ARGUMENT;
  }
  const auto* const x = static_cast<const float*>(inputs[0].data);
  const float scale = ECHO_FACTOR * *static_cast<const float*>(inputs[1].data);
  const std::int64_t size = inputs[0].shape[0];
  auto* const owned = new aotbuild_result;
  owned->scaled.reset(new float[static_cast<size_t>(size)]);
  owned->size = size;
  for (std::int64_t i = 0; i < size; ++i) owned->scaled[static_cast<size_t>(i)] = scale * x[i * inputs[0].strides[0]];
  outputs[0] = {owned->scaled.get(), {AOTBUILD_CPU, 0}, 1, kFloat, &owned->size, &owned->stride, 0};
  outputs[1] = {&owned->size, {AOTBUILD_CPU, 0}, 0, kInt64, nullptr, nullptr, 0};
  *result = owned;
  return AOTBUILD_OK;
}

aotbuild_status load_weights(aotbuild_model*, const char* path) {
  last_error_text = std::string("echo: cannot open ") + path;
  return AOTBUILD_INVALID_WEIGHTS;
}
aotbuild_status set_weights(aotbuild_model*, const aotbuild_named_tensor*, size_t) { return AOTBUILD_OK; }
void destroy(aotbuild_model* model) { delete model; }
void destroy_result(aotbuild_result* result) { delete result; }
const char* last_error() { return last_error_text.c_str(); }
aotbuild_status new_session(aotbuild_model*, aotbuild_model** session) {
  *session = new aotbuild_model;
  return AOTBUILD_OK;
}
aotbuild_status manual_seed(aotbuild_model*, uint64_t) { return AOTBUILD_OK; }
aotbuild_status statistics(const aotbuild_model*, aotbuild_statistics* values) {
  *values = {};
  return AOTBUILD_OK;
}
aotbuild_status capture_graph(aotbuild_model*, size_t, const aotbuild_tensor*, size_t) { return AOTBUILD_OK; }
aotbuild_status synchronize(aotbuild_model*, void*) { return AOTBUILD_OK; }

}  // namespace

#ifndef ECHO_ABI_VERSION
#define ECHO_ABI_VERSION AOTBUILD_ABI_VERSION
#endif
#ifndef ECHO_API_SIZE
#define ECHO_API_SIZE sizeof(aotbuild_api)
#endif

extern "C" AOTBUILD_EXPORT const aotbuild_api aotbuild_model_api;
const aotbuild_api aotbuild_model_api = {ECHO_ABI_VERSION, ECHO_API_SIZE, describe,       create,        destroy,
                                         last_error,       run,           destroy_result, new_session,   load_weights,
                                         set_weights,      manual_seed,   statistics,     capture_graph, synchronize};
