// A model that is linked in, found by its name, and one call of it.
#ifndef AOTBUILD_TESTS_RELIABILITY_SUBJECT_HPP_
#define AOTBUILD_TESTS_RELIABILITY_SUBJECT_HPP_

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "aotbuild/c_api.h"

// AOTBUILD_MODELS is X(first) X(second) ...
#define X(NAME) extern "C" const aotbuild_api* NAME##_api(void);
AOTBUILD_MODELS
#undef X

namespace aotbuild::reliability {

inline const aotbuild_api* find_model([[maybe_unused]] const std::string& name) {
#define X(NAME) \
  if (name == #NAME) return NAME##_api();
  AOTBUILD_MODELS
#undef X
  return nullptr;
}

[[noreturn]] inline void broken(const std::string& promise) {
  std::fprintf(stderr, "broken promise: %s\n", promise.c_str());
  std::abort();
}

inline void require(bool holds, const char* promise) {
  if (!holds) broken(promise);
}

// Calls a model with inputs of given sizes and values that are the same each time.
class Subject {
 public:
  // `larger`: by how much each dynamic size is more than its least.
  explicit Subject(const aotbuild_api& api, const char* weights = nullptr, std::int64_t larger = 0)
      : api_(api), weights_(weights) {
    const aotbuild_method_info& method = *api_.describe()->methods[0];
    for (std::size_t i = 0; i < method.input_count; ++i) inputs_.push_back(make(*method.inputs[i], larger));
    outputs_.resize(method.output_count);
  }

  const aotbuild_api& api() const { return api_; }
  const char* weights() const { return weights_; }

  aotbuild_status create(aotbuild_model** model, int threads = 1) const {
    aotbuild_options options{};
    options.struct_size = sizeof options;
    options.num_threads = threads;
    options.weights_file = weights_;
    return api_.create(&options, model);
  }

  // The outputs' bytes; none of a call that fails.
  aotbuild_status run(aotbuild_model* model, std::string* bytes) {
    for (aotbuild_tensor& output : outputs_) output = aotbuild_tensor{};
    for (aotbuild_tensor& output : outputs_) output.device = {AOTBUILD_CPU, 0};
    aotbuild_result* result = nullptr;
    const aotbuild_status status =
        api_.run(model, 0, nullptr, inputs_.data(), inputs_.size(), outputs_.data(), outputs_.size(), &result);
    require((status == AOTBUILD_OK) == (result != nullptr), "a call that fails gives no result");
    bytes->clear();
    if (result == nullptr) return status;
    for (const aotbuild_tensor& output : outputs_) {
      bytes->append(static_cast<const char*>(output.data) + output.byte_offset, size_of(output));
    }
    api_.destroy_result(result);
    return status;
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  static std::size_t size_of(const aotbuild_tensor& tensor) {
    std::size_t bytes = tensor.dtype.bits / 8;
    for (std::int32_t d = 0; d < tensor.ndim; ++d) bytes *= static_cast<std::size_t>(tensor.shape[d]);
    return bytes;
  }

  aotbuild_tensor make(const aotbuild_tensor_info& info, std::int64_t larger) {
    aotbuild_tensor tensor{};
    tensor.device = {AOTBUILD_CPU, 0};
    tensor.dtype = info.dtype;
    tensor.ndim = info.ndim;
    shapes_.push_back(std::make_unique<std::vector<std::int64_t>>());
    for (std::int32_t d = 0; d < info.ndim; ++d) {
      const aotbuild_dim_info& dim = *info.dims[d];
      const bool varies = dim.symbol != nullptr && dim.multiplier > 0;
      const std::int64_t size = varies ? dim.min + dim.multiplier * larger : dim.min;
      shapes_.back()->push_back(std::min(size, dim.max));
    }
    tensor.shape = shapes_.back()->data();
    const std::size_t bytes = size_of(tensor);
    memory_.emplace_back(std::calloc(bytes + 1, 1));
    if (info.dtype.code == AOTBUILD_FLOAT && info.dtype.bits == 32) {
      for (std::size_t i = 0; i < bytes / sizeof(float); ++i) {
        const float number = static_cast<float>(i * 7 % 13) / 8;
        std::memcpy(static_cast<char*>(memory_.back().get()) + i * sizeof number, &number, sizeof number);
      }
    }
    if (info.dtype.code == AOTBUILD_FLOAT && info.dtype.bits == 16) {
      for (std::size_t i = 0; i < bytes / sizeof(std::uint16_t); ++i) {
        const auto number = static_cast<std::uint16_t>(0x3000 + i * 7 % 13 * 16);  // 0.125 and a little more
        std::memcpy(static_cast<char*>(memory_.back().get()) + i * sizeof number, &number, sizeof number);
      }
    }
    tensor.data = memory_.back().get();
    return tensor;
  }

  const aotbuild_api& api_;
  const char* weights_;
  std::vector<std::unique_ptr<std::vector<std::int64_t>>> shapes_;
  std::vector<std::unique_ptr<void, Free>> memory_;
  std::vector<aotbuild_tensor> inputs_, outputs_;
};

// What a test prints: counts by name, as one line of JSON.
inline void print_counts(const std::map<std::string, long long>& counts) {
  const char* before = "{";
  for (const auto& [name, count] : counts) {
    std::printf("%s\"%s\": %lld", before, name.c_str(), count);
    before = ", ";
  }
  std::printf("}\n");
}

}  // namespace aotbuild::reliability

#endif  // AOTBUILD_TESTS_RELIABILITY_SUBJECT_HPP_
