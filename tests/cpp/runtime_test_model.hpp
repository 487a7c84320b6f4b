// Hand-written models for tests of the runtime: what a generated library would hold, built at run time.
#ifndef AOTBUILD_TESTS_CPP_RUNTIME_TEST_MODEL_HPP_
#define AOTBUILD_TESTS_CPP_RUNTIME_TEST_MODEL_HPP_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/detail/runtime.hpp"
#include "aotbuild/detail/shim.h"
#include "aotbuild/detail/spec.h"

namespace aotbuild::testing {

// The thread sanitizer sees no barrier of OpenMP's library: with it, tests compute on one thread.
#if defined(__SANITIZE_THREAD__)
constexpr bool kIsThreadSanitized = true;
#else
constexpr bool kIsThreadSanitized = false;
#endif
// With the address sanitizer a call takes ten times as long: tests of random cases have a quarter of them.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kIsAddressSanitized = true;
#else
constexpr bool kIsAddressSanitized = false;
#endif

inline constexpr aotbuild_dtype kFloat = {AOTBUILD_FLOAT, 32, 1};
inline constexpr aotbuild_dtype kDouble = {AOTBUILD_FLOAT, 64, 1};
inline constexpr aotbuild_dtype kLong = {AOTBUILD_INT, 64, 1};
inline constexpr aotbuild_dtype kByte = {AOTBUILD_INT, 8, 1};
inline constexpr aotbuild_dtype kInt = {AOTBUILD_INT, 32, 1};
inline constexpr std::int32_t kFloat32 = 6;
inline constexpr std::int32_t kInt32 = 3;

// The same values for the same seed on every machine.
inline std::vector<float> random_values(std::size_t count, std::uint32_t seed) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<float>(seed >> 8) / 8388608.0F - 1.0F;
  }
  return values;
}

inline aotbuild_dim_info fixed(std::int64_t size) { return {sizeof(aotbuild_dim_info), size, size, nullptr, 1, 0}; }
inline aotbuild_dim_info dynamic(const char* symbol, std::int64_t min, std::int64_t max, std::int64_t multiplier = 1,
                                 std::int64_t offset = 0) {
  return {sizeof(aotbuild_dim_info), min, max, symbol, multiplier, offset};
}

// Keeps all that a ModelSpec points to.
class ModelBuilder {
 public:
  using Run = void (*)(detail::CallContext&, AtenTensorHandle*, AtenTensorHandle*);

  explicit ModelBuilder(Run run, std::string name = "encoder") : name_(std::move(name)) {
    variants_.push_back({"x86-64", nullptr, run});
  }

  ModelBuilder& input(const char* name, aotbuild_dtype dtype, std::vector<aotbuild_dim_info> dims,
                      std::vector<std::int64_t> strides = {}) {
    inputs_.push_back(info(name, dtype, std::move(dims), std::move(strides)));
    return *this;
  }
  ModelBuilder& output(const char* name, aotbuild_dtype dtype, std::vector<aotbuild_dim_info> dims,
                       std::vector<std::int64_t> strides = {}) {
    outputs_.push_back(info(name, dtype, std::move(dims), std::move(strides)));
    return *this;
  }
  ModelBuilder& weight(const char* name, std::vector<std::int64_t> shape, const std::vector<float>& values,
                       bool mutated = false, bool required = true) {
    add_weight(name, kFloat, std::move(shape), values.data(), values.size() * sizeof(float));
    weights_.back().mutated = mutated;
    weights_.back().required = required;
    return *this;
  }
  // With `four_bits`, `values` are two to a byte.
  ModelBuilder& byte_weight(const char* name, std::vector<std::int64_t> shape, const std::vector<std::int8_t>& values,
                            bool four_bits = false) {
    add_weight(name, kByte, std::move(shape), values.data(), values.size());
    weights_.back().four_bits = four_bits;
    return *this;
  }
  ModelBuilder& quantized(const detail::QuantizedLinearSpec& layer) {
    quantized_.push_back(layer);
    return *this;
  }
  ModelBuilder& world_size(std::int32_t ranks) {
    world_size_ = ranks;
    return *this;
  }
  ModelBuilder& aliases(const char* const* names) {
    weights_.back().aliases = names;
    return *this;
  }
  ModelBuilder& linear(std::vector<int> weights, std::vector<int> biases,
                       detail::Activation activation = detail::Activation::kNone, bool transposed = false) {
    indices_.push_back(std::move(weights));
    const std::vector<int>& kept = indices_.back();
    indices_.push_back(std::move(biases));
    linears_.push_back(
        {static_cast<int>(kept.size()), kept.data(), indices_.back().data(), activation, 0.0, transposed});
    return *this;
  }
  // The last two linear layers as a pair.
  ModelBuilder& join() {
    const detail::LinearSpec second = linears_.back();
    linears_.pop_back();
    mlps_.push_back({linears_.back(), second});
    linears_.pop_back();
    return *this;
  }
  ModelBuilder& convolution(const detail::ConvolutionSpec& convolution) {
    convolutions_.push_back(convolution);
    return *this;
  }
  ModelBuilder& mode(detail::WeightsMode mode, const char* file = nullptr) {
    mode_ = mode;
    file_ = file;
    return *this;
  }
  std::vector<detail::VariantSpec>& variants() { return variants_; }
  // All inputs and outputs are on a CUDA device; `factory` makes the model's part there.
  ModelBuilder& on_cuda(detail::DeviceFactory factory) {
    factory_ = factory;
    return *this;
  }

  const detail::ModelSpec& spec() {
    // Blobs of generated code are aligned.
    aligned_.resize(blob_.size() + 64);
    auto* begin = aligned_.data();
    begin += (64 - reinterpret_cast<std::uintptr_t>(begin) % 64) % 64;
    std::copy(blob_.begin(), blob_.end(), begin);
    point_at(inputs_, &input_pointers_);
    point_at(outputs_, &output_pointers_);
    point_at(weight_infos_, &weight_pointers_);
    method_ = {sizeof method_, "run", inputs_.size(), input_pointers_.data(), outputs_.size(), output_pointers_.data()};
    info_ = {AOTBUILD_ABI_VERSION,    sizeof info_, name_.c_str(), 1, &method_pointer_, weights_.size(),
             weight_pointers_.data(), "{}",         world_size_};
    for (auto* tensors : {&inputs_, &outputs_}) {
      for (aotbuild_tensor_info& tensor : *tensors) {
        tensor.device.type = factory_ == nullptr ? AOTBUILD_CPU : AOTBUILD_CUDA;
      }
    }
    const bool embeds = mode_ == detail::WeightsMode::kEmbed;
    spec_ = {AOTBUILD_RELEASE,
             &info_,
             weights_.data(),
             mode_,
             embeds ? begin : nullptr,
             embeds ? blob_.size() : 0,
             file_,
             linears_.size(),
             linears_.data(),
             mlps_.size(),
             mlps_.data(),
             convolutions_.size(),
             convolutions_.data(),
             variants_.size(),
             variants_.data(),
             factory_};
    spec_.quantized_count = quantized_.size();
    spec_.quantized = quantized_.data();
    return spec_;
  }

 private:
  template <typename T>
  static void point_at(const std::vector<T>& elements, std::vector<const T*>* pointers) {
    pointers->clear();
    for (const T& element : elements) pointers->push_back(&element);
  }

  void add_weight(const char* name, aotbuild_dtype dtype, std::vector<std::int64_t> shape, const void* values,
                  std::size_t nbytes) {
    shapes_.push_back(std::move(shape));
    weight_infos_.push_back({sizeof(aotbuild_weight_info), static_cast<std::int32_t>(shapes_.back().size()), name,
                             shapes_.back().data(), dtype});
    weights_.push_back({blob_.size(), nbytes, false, true, nullptr});
    const std::size_t at = blob_.size();
    blob_.resize(at + (nbytes + 63) / 64 * 64);
    if (nbytes != 0) std::memcpy(blob_.data() + at, values, nbytes);
  }

  aotbuild_tensor_info info(const char* name, aotbuild_dtype dtype, std::vector<aotbuild_dim_info> dims,
                            std::vector<std::int64_t> strides) {
    dims_.push_back(std::move(dims));
    const std::int64_t* required = nullptr;
    if (!strides.empty()) {
      shapes_.push_back(std::move(strides));
      required = shapes_.back().data();
    }
    dim_pointers_.emplace_back();
    point_at(dims_.back(), &dim_pointers_.back());
    return {sizeof(aotbuild_tensor_info),
            static_cast<std::int32_t>(dims_.back().size()),
            name,
            dtype,
            0,
            {AOTBUILD_CPU, 0},
            dim_pointers_.back().data(),
            required};
  }

  std::string name_;
  std::deque<std::vector<aotbuild_dim_info>> dims_;
  std::deque<std::vector<const aotbuild_dim_info*>> dim_pointers_;
  std::vector<const aotbuild_tensor_info*> input_pointers_;
  std::vector<const aotbuild_tensor_info*> output_pointers_;
  std::vector<const aotbuild_weight_info*> weight_pointers_;
  aotbuild_method_info method_{};
  const aotbuild_method_info* method_pointer_ = &method_;
  std::deque<std::vector<std::int64_t>> shapes_;
  std::deque<std::vector<int>> indices_;
  std::vector<aotbuild_tensor_info> inputs_;
  std::vector<aotbuild_tensor_info> outputs_;
  std::vector<aotbuild_weight_info> weight_infos_;
  std::vector<detail::WeightSpec> weights_;
  std::vector<detail::LinearSpec> linears_;
  std::vector<detail::MlpSpec> mlps_;
  std::vector<detail::ConvolutionSpec> convolutions_;
  std::vector<detail::QuantizedLinearSpec> quantized_;
  std::vector<detail::VariantSpec> variants_;
  std::vector<unsigned char> blob_;
  std::vector<unsigned char> aligned_;
  detail::DeviceFactory factory_ = nullptr;
  detail::WeightsMode mode_ = detail::WeightsMode::kEmbed;
  const char* file_ = nullptr;
  std::int32_t world_size_ = 0;
  aotbuild_model_info info_{};
  detail::ModelSpec spec_{};
};

// A tensor of the C ABI over a vector.
template <typename T>
struct Buffer {
  std::vector<T> values;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // empty: contiguous

  explicit Buffer(std::vector<std::int64_t> sizes, std::vector<T> data = {})
      : values(std::move(data)), shape(std::move(sizes)) {
    std::size_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    if (values.empty()) values.resize(count);
  }
  aotbuild_tensor tensor(aotbuild_dtype dtype = kFloat) {
    return {values.data(),
            {AOTBUILD_CPU, 0},
            static_cast<std::int32_t>(shape.size()),
            dtype,
            shape.data(),
            strides.empty() ? nullptr : strides.data(),
            0};
  }
};

inline aotbuild_tensor to_allocate() { return {nullptr, {AOTBUILD_CPU, 0}, 0, kFloat, nullptr, nullptr, 0}; }

inline aotbuild_options default_options(std::int32_t threads = 1) {
  aotbuild_options options{};
  options.struct_size = sizeof options;
  options.num_threads = threads;
  return options;
}

struct Model {
  aotbuild_model* handle = nullptr;
  aotbuild_status status;
  explicit Model(const detail::ModelSpec& spec, aotbuild_options options = default_options())
      : status(aotbuild_model_create(&spec, &options, &handle)) {}
  // A session of a model.
  explicit Model(aotbuild_model* model) : status(aotbuild_model_new_session(model, &handle)) {}
  ~Model() { aotbuild_model_destroy(handle); }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
};

inline double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }

// y = x @ w.T + b in double precision.
inline std::vector<double> linear_reference(const std::vector<float>& x, const std::vector<float>& w,
                                            const std::vector<float>& b, std::int64_t rows, std::int64_t in,
                                            std::int64_t out) {
  std::vector<double> y(static_cast<std::size_t>(rows * out));
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < out; ++n) {
      double sum = b.empty() ? 0.0 : b[n];
      for (std::int64_t k = 0; k < in; ++k) sum += double{x[m * in + k]} * double{w[n * in + k]};
      y[m * out + n] = sum;
    }
  }
  return y;
}

}  // namespace aotbuild::testing

#endif  // AOTBUILD_TESTS_CPP_RUNTIME_TEST_MODEL_HPP_
