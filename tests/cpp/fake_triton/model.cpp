// Models for tests of the Triton backend, written by hand: shared libraries with the C ABI and no runtime behind it.
//
// - FAKE_BATCH: y = factor * x for x [batch, n]; `sum` [batch]; `turned`, y with other strides. A NaN fails the call.
// - FAKE_STATE: methods begin and add: `total` of all values of the session.
// - FAKE_GENERATOR: methods prefill and decode: the likeliest token is the sum of all before it, modulo 16.
// - FAKE_OLD: a library of another ABI. FAKE_EMPTY: none of aotbuild.
//
// The weights file is the factor as text; without one it is FAKE_FACTOR.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "aotbuild/c_api.h"

#if defined(FAKE_OLD)
extern "C" AOTBUILD_EXPORT const aotbuild_api aotbuild_model_api;
const aotbuild_api aotbuild_model_api = {1,       0,       nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                                         nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
#elif !defined(FAKE_EMPTY)

#ifndef FAKE_FACTOR
#define FAKE_FACTOR 2
#endif

struct aotbuild_model {
  float factor = FAKE_FACTOR;
  std::mutex mutex;
  double total = 0;
};

struct aotbuild_result {
  std::vector<std::vector<char> > memory;
  std::vector<std::vector<std::int64_t> > numbers;
};

namespace {

thread_local std::string last_error;

aotbuild_status fail(aotbuild_status status, const std::string& message) {
  last_error = message;
  return status;
}

constexpr aotbuild_dim_info size_info(const char* symbol, std::int64_t min, std::int64_t max) {
  return {sizeof(aotbuild_dim_info), min, max, symbol, symbol == nullptr ? 0 : 1, 0};
}
constexpr aotbuild_dim_info kBatch = size_info("batch", 1, 64);
constexpr aotbuild_dim_info kWidth = size_info("n", 1, 64);
constexpr aotbuild_dim_info kOne = size_info(nullptr, 1, 1);
constexpr aotbuild_dim_info kVocabulary = size_info(nullptr, 16, 16);
constexpr aotbuild_dtype kFloat = {AOTBUILD_FLOAT, 32, 1};
constexpr aotbuild_dtype kLong = {AOTBUILD_INT, 64, 1};
const aotbuild_dim_info* const kRows[] = {&kBatch, &kWidth};
const aotbuild_dim_info* const kSingle[] = {&kOne, &kOne};
const aotbuild_dim_info* const kTokens[] = {&kOne, &kWidth};
const aotbuild_dim_info* const kLogits[] = {&kOne, &kVocabulary};

constexpr aotbuild_tensor_info tensor_info(const char* name, std::int32_t rank, aotbuild_dtype dtype,
                                           const aotbuild_dim_info* const* dims,
                                           const std::int64_t* strides = nullptr) {
  return {sizeof(aotbuild_tensor_info), rank, name, dtype, 0, {AOTBUILD_CPU, 0}, dims, strides};
}

// Puts an output where the caller wants it, or into the result.
void put(aotbuild_tensor* output, std::vector<char> data, std::vector<std::int64_t> shape, aotbuild_dtype dtype,
         aotbuild_result* result, std::vector<std::int64_t> strides = {}) {
  if (output->data != nullptr) {
    std::memcpy(output->data, data.data(), data.size());
    return;
  }
  if (strides.empty()) {
    strides.assign(shape.size(), 1);
    for (std::size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  }
  const auto rank = static_cast<std::int32_t>(shape.size());
  result->memory.push_back(std::move(data));
  result->numbers.push_back(std::move(shape));
  std::int64_t* const sizes = result->numbers.back().data();
  result->numbers.push_back(std::move(strides));
  *output = {result->memory.back().data(), {AOTBUILD_CPU, 0}, rank, dtype, sizes, result->numbers.back().data(), 0};
}

template <typename T>
std::vector<char> bytes(const std::vector<T>& values) {
  std::vector<char> data(values.size() * sizeof(T));
  if (!data.empty()) std::memcpy(data.data(), values.data(), data.size());
  return data;
}

#if defined(FAKE_BATCH)

constexpr std::int64_t kAnyStrides[] = {1, -1};
const aotbuild_tensor_info kX = tensor_info("x", 2, kFloat, kRows);
const aotbuild_tensor_info kY = tensor_info("y", 2, kFloat, kRows);
const aotbuild_tensor_info kSum = tensor_info("sum", 1, kFloat, kRows);
const aotbuild_tensor_info kTurned = tensor_info("turned", 2, kFloat, kRows, kAnyStrides);
const aotbuild_tensor_info* const kInputs[] = {&kX};
const aotbuild_tensor_info* const kOutputs[] = {&kY, &kSum, &kTurned};
const aotbuild_method_info kRun = {sizeof(aotbuild_method_info), "run", 1, kInputs, 3, kOutputs};
const aotbuild_method_info* const kMethods[] = {&kRun};

aotbuild_status compute(aotbuild_model* model, std::size_t /*method*/, const aotbuild_tensor* inputs,
                        aotbuild_tensor* outputs, aotbuild_result* result) {
  const std::int64_t rows = inputs[0].shape[0];
  const std::int64_t width = inputs[0].shape[1];
  if (rows > 64 || width > 64) return fail(AOTBUILD_INVALID_ARGUMENT, "fake: input 'x' is too large");
  const auto* const x = static_cast<const float*>(inputs[0].data);
  std::vector<float> y(static_cast<std::size_t>(rows * width));
  std::vector<float> sums(static_cast<std::size_t>(rows));
  std::vector<float> turned(y.size());
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < width; ++column) {
      const float value = x[row * width + column];
      if (std::isnan(value)) return fail(AOTBUILD_RUNTIME_ERROR, "fake: x has a NaN");
      const float product = model->factor * value;
      y[static_cast<std::size_t>(row * width + column)] = product;
      turned[static_cast<std::size_t>(column * rows + row)] = product;
      sums[static_cast<std::size_t>(row)] += product;
    }
  }
  put(&outputs[0], bytes(y), {rows, width}, kFloat, result);
  put(&outputs[1], bytes(sums), {rows}, kFloat, result);
  put(&outputs[2], bytes(turned), {rows, width}, kFloat, result, {1, rows});
  return AOTBUILD_OK;
}

#elif defined(FAKE_STATE)

const aotbuild_tensor_info kX = tensor_info("x", 2, kFloat, kSingle);
const aotbuild_tensor_info kTotal = tensor_info("total", 0, kFloat, nullptr);
const aotbuild_tensor_info* const kInputs[] = {&kX};
const aotbuild_tensor_info* const kOutputs[] = {&kTotal};
const aotbuild_method_info kBegin = {sizeof(aotbuild_method_info), "begin", 1, kInputs, 1, kOutputs};
const aotbuild_method_info kAdd = {sizeof(aotbuild_method_info), "add", 1, kInputs, 1, kOutputs};
const aotbuild_method_info* const kMethods[] = {&kBegin, &kAdd};

aotbuild_status compute(aotbuild_model* model, std::size_t method, const aotbuild_tensor* inputs,
                        aotbuild_tensor* outputs, aotbuild_result* result) {
  const std::lock_guard<std::mutex> lock(model->mutex);
  model->total = (method == 0 ? 0 : model->total) + *static_cast<const float*>(inputs[0].data);
  put(&outputs[0], bytes(std::vector<float>{static_cast<float>(model->total)}), {}, kFloat, result);
  return AOTBUILD_OK;
}

#else

const aotbuild_tensor_info kPrompt = tensor_info("tokens", 2, kLong, kTokens);
const aotbuild_tensor_info kToken = tensor_info("token", 2, kLong, kSingle);
const aotbuild_tensor_info kScores = tensor_info("output", 2, kFloat, kLogits);
const aotbuild_tensor_info* const kPromptInputs[] = {&kPrompt};
const aotbuild_tensor_info* const kTokenInputs[] = {&kToken};
const aotbuild_tensor_info* const kOutputs[] = {&kScores};
const aotbuild_method_info kPrefill = {sizeof(aotbuild_method_info), "prefill", 1, kPromptInputs, 1, kOutputs};
const aotbuild_method_info kDecode = {sizeof(aotbuild_method_info), "decode", 1, kTokenInputs, 1, kOutputs};
const aotbuild_method_info* const kMethods[] = {&kPrefill, &kDecode};

aotbuild_status compute(aotbuild_model* model, std::size_t method, const aotbuild_tensor* inputs,
                        aotbuild_tensor* outputs, aotbuild_result* result) {
  const std::lock_guard<std::mutex> lock(model->mutex);
  if (method == 0) model->total = 0;
  const auto* const tokens = static_cast<const std::int64_t*>(inputs[0].data);
  for (std::int64_t i = 0; i < inputs[0].shape[1]; ++i) model->total += static_cast<double>(tokens[i]);
  std::vector<float> scores(16);
  scores[static_cast<std::size_t>(model->total) % 16] = 1;
  put(&outputs[0], bytes(scores), {1, 16}, kFloat, result);
  return AOTBUILD_OK;
}

#endif

const aotbuild_model_info kInfo = {
    AOTBUILD_ABI_VERSION, sizeof(aotbuild_model_info), "fake", std::size(kMethods), kMethods, 0, nullptr, "{}"};

const aotbuild_model_info* describe() { return &kInfo; }

aotbuild_status create(const aotbuild_options* options, aotbuild_model** model) {
  auto created = std::make_unique<aotbuild_model>();
  if (options->weights_file != nullptr && !(std::ifstream(options->weights_file) >> created->factor)) {
    return fail(AOTBUILD_INVALID_WEIGHTS, std::string("fake: ") + options->weights_file + " is no number");
  }
  *model = created.release();
  return AOTBUILD_OK;
}

void destroy(aotbuild_model* model) { delete model; }
void destroy_result(aotbuild_result* result) { delete result; }
const char* error() { return last_error.c_str(); }

aotbuild_status run(aotbuild_model* model, std::size_t method, void* /*stream*/, const aotbuild_tensor* inputs,
                    std::size_t /*input_count*/, aotbuild_tensor* outputs, std::size_t output_count,
                    aotbuild_result** result) {
  auto made = std::make_unique<aotbuild_result>();
  made->memory.reserve(output_count);
  const aotbuild_status status = compute(model, method, inputs, outputs, made.get());
  if (status == AOTBUILD_OK) *result = made.release();
  return status;
}

aotbuild_status new_session(aotbuild_model* model, aotbuild_model** session) {
  *session = new aotbuild_model;
  (*session)->factor = model->factor;
  return AOTBUILD_OK;
}

}  // namespace

extern "C" AOTBUILD_EXPORT const aotbuild_api aotbuild_model_api;
const aotbuild_api aotbuild_model_api = {AOTBUILD_ABI_VERSION,
                                         sizeof(aotbuild_api),
                                         describe,
                                         create,
                                         destroy,
                                         error,
                                         run,
                                         destroy_result,
                                         new_session,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr};

#endif
