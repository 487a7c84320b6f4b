// The model that the fuzz targets call.
#ifndef AOTBUILD_TESTS_RELIABILITY_FUZZ_FUZZ_MODEL_HPP_
#define AOTBUILD_TESTS_RELIABILITY_FUZZ_FUZZ_MODEL_HPP_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../../cpp/runtime_test_model.hpp"
#include "promises.hpp"

namespace aotbuild::fuzz {

using namespace aotbuild::testing;

constexpr std::int64_t kFeatures = 6, kUnits = 8, kMostRows = 16;

inline std::int64_t size_of(AtenTensorHandle handle, std::size_t d) {
  std::int64_t* sizes = nullptr;
  aoti_torch_get_sizes(handle, &sizes);
  return sizes[d];
}

inline std::int64_t stride_of(AtenTensorHandle handle, std::size_t d) {
  std::int64_t* strides = nullptr;
  aoti_torch_get_strides(handle, &strides);
  return strides[d];
}

template <typename T>
T* data_of(AtenTensorHandle handle) {
  void* data = nullptr;
  aoti_torch_get_data_ptr(handle, &data);
  return static_cast<T*>(data);
}

// y = x @ weight.T + bias, and the sums of index, of z, which is [2, 3] of any strides, and of the state, which then
// grows by one in each element.
inline void run(detail::CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  const std::int64_t rows = size_of(inputs[0], 0);
  const std::int64_t sizes[] = {rows, kUnits}, strides[] = {kUnits, 1}, count = 3, step = 1;
  outputs[0] = detail::context_allocate(context, 2, sizes, strides, kFloat32, 0);
  detail::context_linear(context, 0, inputs[0], outputs[0]);
  outputs[1] = detail::context_allocate(context, 1, &count, &step, kFloat32, 1);
  float sums[] = {0, 0, 0};
  for (std::int64_t i = 0; i < size_of(inputs[1], 0); ++i) {
    sums[0] += static_cast<float>(data_of<std::int64_t>(inputs[1])[i] % 1000);
  }
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) {
      sums[1] += data_of<float>(inputs[2])[i * stride_of(inputs[2], 0) + j * stride_of(inputs[2], 1)];
    }
  }
  auto* const state = data_of<float>(detail::context_weight(context, 3));
  for (int i = 0; i < 4; ++i) sums[2] += state[i]++;
  sums[2] += *data_of<float>(detail::context_weight(context, 2));
  std::copy_n(sums, 3, data_of<float>(outputs[1]));
}

inline const char* const* aliases() {
  static const char* const names[] = {"tied.weight", nullptr};
  return names;
}

inline ModelBuilder make_builder() {
  ModelBuilder builder(run, "net");
  builder.input("x", kFloat, {dynamic("rows", 0, kMostRows), fixed(kFeatures)})
      .input("index", kLong, {dynamic("rows", 0, kMostRows, 2, 1)})
      .input("z", kFloat, {fixed(2), fixed(3)}, {-1, -1})
      .output("y", kFloat, {dynamic("rows", 0, kMostRows), fixed(kUnits)})
      .output("sums", kFloat, {fixed(3)})
      .weight("weight", {kUnits, kFeatures}, random_values(kUnits * kFeatures, 1))
      .aliases(aliases())
      .weight("bias", {kUnits}, random_values(kUnits, 2))
      .weight("scale", {}, {1}, false, /*required=*/false)
      .weight("state", {4}, {1, 2, 3, 4}, /*mutated=*/true)
      .linear({0}, {1});
  return builder;
}

// y of fixed inputs.
inline std::vector<float> outputs_of(aotbuild_model* model) {
  Buffer<float> x({2, kFeatures}, random_values(2 * kFeatures, 3)), z({2, 3}), y({2, kUnits}), sums({3});
  Buffer<std::int64_t> index({5});
  aotbuild_tensor inputs[] = {x.tensor(), index.tensor(kLong), z.tensor()};
  aotbuild_tensor outputs[] = {y.tensor(), sums.tensor()};
  require(aotbuild_model_run(model, 0, nullptr, inputs, 3, outputs, 2, nullptr) == AOTBUILD_OK, "the model runs");
  return y.values;
}

inline bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace aotbuild::fuzz

#endif  // AOTBUILD_TESTS_RELIABILITY_FUZZ_FUZZ_MODEL_HPP_
