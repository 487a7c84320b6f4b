// What the generated class of a model is built on: options, metadata, and the C ABI with ownership and exceptions.
#ifndef AOTBUILD_MODEL_HPP_
#define AOTBUILD_MODEL_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aotbuild/c_api.h"
#include "aotbuild/error.hpp"
#include "aotbuild/tensor.hpp"

namespace aotbuild {

struct Options {
  // A safetensors file. Empty: the embedded weights (WEIGHTS EMBED) or the file beside the library (WEIGHTS FILE).
  std::string weights_file;
  // Threads of one call; 0: what OpenMP says (OMP_NUM_THREADS, else all cores).
  int num_threads = 0;
  // WEIGHTS EXTERNAL: tensors by their state_dict names. Their memory is borrowed and has to outlive the model.
  std::map<std::string, AnyTensorView> weights;
  // Where the model runs. Type 0: what it was built for, index 0.
  aotbuild_device device = {0, 0};
  // For CUDA: how many captured graphs are kept (`aotbuild_options::cuda_graphs`); 0: the default, -1: none.
  int cuda_graphs = 0;
};

// One dimension: min == max for a static size. A dynamic one has the name of its symbol, as in `batch` or `2*length`.
struct DimMetadata {
  std::int64_t min;
  std::int64_t max;
  const char* symbol;  // null for a static size
};

// An input or output of a model whose largest rank is `MaxRank`; the first `rank` entries of `dims` hold.
template <std::size_t MaxRank>
struct TensorMetadata {
  const char* name;
  aotbuild_dtype dtype;
  std::size_t rank;
  std::array<DimMetadata, MaxRank> dims;
};

// The outputs of one call, which share the ownership of the call's memory.
template <std::size_t Count>
class Results {
 public:
  Results(const std::array<aotbuild_tensor, Count>& tensors, std::shared_ptr<void> owner)
      : tensors_(tensors), owner_(std::move(owner)) {}

  // `Owning` is Tensor or DeviceTensor, as the call asked for.
  template <typename T, std::size_t Rank, template <typename, std::size_t> class Owning = Tensor>
  Owning<T, Rank> get(std::size_t index) const {
    const aotbuild_tensor& tensor = tensors_[index];
    if (tensor.dtype != dtype_v<T> || tensor.ndim != static_cast<std::int32_t>(Rank)) {
      throw Error(AOTBUILD_RUNTIME_ERROR, "output " + std::to_string(index) + " is " + dtype_name(tensor.dtype) +
                                              " of rank " + std::to_string(tensor.ndim) +
                                              ": the header and the library are of different builds");
    }
    Extents<Rank> sizes;
    Extents<Rank> strides;
    for (std::size_t i = 0; i < Rank; ++i) {
      sizes[i] = tensor.shape[i];
      strides[i] = tensor.strides[i];
    }
    auto* const bytes = static_cast<unsigned char*>(tensor.data) + tensor.byte_offset;
    using View = typename Owning<T, Rank>::View;
    if constexpr (std::is_same_v<View, TensorView<T, Rank>>) {
      return {View(reinterpret_cast<T*>(bytes), sizes, strides), owner_};
    } else {
      return {View(reinterpret_cast<T*>(bytes), sizes, strides, tensor.device.index), owner_};
    }
  }

 private:
  std::array<aotbuild_tensor, Count> tensors_;
  std::shared_ptr<void> owner_;
};

// A model object behind the functions of its C ABI. Movable; a moved-from object may only be assigned or destroyed.
class Model {
 public:
  // `functions` has to outlive the model and its results.
  Model(const aotbuild_api& functions, const Options& options) : functions_(&functions), handle_(nullptr, nullptr) {
    const std::vector<aotbuild_named_tensor> weights = named_tensors(options.weights);
    aotbuild_options c_options{};
    c_options.struct_size = sizeof(c_options);
    c_options.num_threads = options.num_threads;
    c_options.weights_file = options.weights_file.empty() ? nullptr : options.weights_file.c_str();
    c_options.weights = weights.data();
    c_options.weight_count = weights.size();
    c_options.device = options.device;
    c_options.cuda_graphs = options.cuda_graphs;
    aotbuild_model* model = nullptr;
    check(functions_->create(&c_options, &model));
    handle_ = Handle(model, functions_->destroy);
  }

  // Runs into host memory that the library allocates.
  template <std::size_t Count>
  Results<Count> run(std::initializer_list<aotbuild_tensor> inputs) const {
    return run<Count>(nullptr, inputs);
  }

  // For CUDA: the same on a stream (`<prefix>_run_on_stream` of the C ABI), null for none.
  template <std::size_t Count>
  Results<Count> run(void* stream, std::initializer_list<aotbuild_tensor> inputs) const {
    return run_allocating<Count>(stream, inputs, kCpuDevice);
  }

  // For CUDA: the same into memory of the model's device.
  template <std::size_t Count>
  Results<Count> run_on_device(void* stream, std::initializer_list<aotbuild_tensor> inputs) const {
    return run_allocating<Count>(stream, inputs, {AOTBUILD_CUDA, 0});
  }

  // Runs into the caller's memory.
  void run(std::initializer_list<aotbuild_tensor> inputs, std::vector<aotbuild_tensor> outputs) const {
    run(nullptr, inputs, std::move(outputs));
  }

  void run(void* stream, std::initializer_list<aotbuild_tensor> inputs, std::vector<aotbuild_tensor> outputs) const {
    check(call(kNoMethod, stream, inputs.begin(), inputs.size(), outputs.data(), outputs.size(), nullptr));
  }

  static constexpr std::size_t kNoMethod = static_cast<std::size_t>(-1);

  // Runs and allocates each output whose `data` is null. The tensors' memory lives as long as what is returned.
  // `method`: that of a model with several.
  std::shared_ptr<void> run_allocating(const aotbuild_tensor* inputs, std::size_t input_count, aotbuild_tensor* outputs,
                                       std::size_t output_count, void* stream = nullptr,
                                       std::size_t method = kNoMethod) const {
    aotbuild_result* result = nullptr;
    check(call(method, stream, inputs, input_count, outputs, output_count, &result));
    return {result,
            [destroy = functions_->destroy_result](void* memory) { destroy(static_cast<aotbuild_result*>(memory)); }};
  }

  // As `run`, of the method with this index.
  template <std::size_t Count>
  Results<Count> run_method(std::size_t method, std::initializer_list<aotbuild_tensor> inputs) const {
    return run_method<Count>(method, nullptr, inputs);
  }

  template <std::size_t Count>
  Results<Count> run_method(std::size_t method, void* stream, std::initializer_list<aotbuild_tensor> inputs) const {
    return run_allocating<Count>(stream, inputs, kCpuDevice, method);
  }

  // As `run_on_device`.
  template <std::size_t Count>
  Results<Count> run_method_on_device(std::size_t method, void* stream,
                                      std::initializer_list<aotbuild_tensor> inputs) const {
    return run_allocating<Count>(stream, inputs, {AOTBUILD_CUDA, 0}, method);
  }

  void run_method(std::size_t method, std::initializer_list<aotbuild_tensor> inputs,
                  std::vector<aotbuild_tensor> outputs) const {
    run_method(method, nullptr, inputs, std::move(outputs));
  }

  void run_method(std::size_t method, void* stream, std::initializer_list<aotbuild_tensor> inputs,
                  std::vector<aotbuild_tensor> outputs) const {
    check(call(method, stream, inputs.begin(), inputs.size(), outputs.data(), outputs.size(), nullptr));
  }

  // A model object with these weights and state of its own.
  Model new_session() const {
    aotbuild_model* session = nullptr;
    check(functions_->new_session(handle_.get(), &session));
    return {*functions_, session};
  }

  // For CUDA: captures the graph for inputs of these sizes, whose data is not read, instead of in the second call.
  void capture_graph(std::initializer_list<aotbuild_tensor> inputs) const {
    check(functions_->capture_graph(handle_.get(), inputs.begin(), inputs.size()));
  }

  // The same for the method with this index.
  void capture_method_graph(std::size_t method, std::initializer_list<aotbuild_tensor> inputs) const {
    check(functions_->capture_method_graph(handle_.get(), method, inputs.begin(), inputs.size()));
  }

  // For CUDA: waits for the work that is queued on a stream.
  void synchronize(void* stream) const { check(functions_->synchronize(handle_.get(), stream)); }

  // For CUDA: what the model has done so far.
  aotbuild_statistics statistics() const {
    aotbuild_statistics statistics{};
    check(functions_->statistics(handle_.get(), &statistics));
    return statistics;
  }

  void manual_seed(std::uint64_t seed) const { check(functions_->manual_seed(handle_.get(), seed)); }

  void load_weights(const std::string& path) const { check(functions_->load_weights(handle_.get(), path.c_str())); }

  void set_weights(const std::map<std::string, AnyTensorView>& weights) const {
    const std::vector<aotbuild_named_tensor> tensors = named_tensors(weights);
    check(functions_->set_weights(handle_.get(), tensors.data(), tensors.size()));
  }

 private:
  using Handle = std::unique_ptr<aotbuild_model, void (*)(aotbuild_model*)>;

  Model(const aotbuild_api& functions, aotbuild_model* handle)
      : functions_(&functions), handle_(handle, functions.destroy) {}

  static std::vector<aotbuild_named_tensor> named_tensors(const std::map<std::string, AnyTensorView>& weights) {
    std::vector<aotbuild_named_tensor> tensors;
    tensors.reserve(weights.size());
    for (const auto& [name, tensor] : weights) tensors.push_back({name.c_str(), tensor.c_tensor()});
    return tensors;
  }

  template <std::size_t Count>
  Results<Count> run_allocating(void* stream, std::initializer_list<aotbuild_tensor> inputs, aotbuild_device device,
                                std::size_t method = kNoMethod) const {
    std::array<aotbuild_tensor, Count> outputs{};
    for (aotbuild_tensor& output : outputs) output.device = device;
    std::shared_ptr<void> owner = run_allocating(inputs.begin(), inputs.size(), outputs.data(), Count, stream, method);
    return {outputs, std::move(owner)};
  }

  aotbuild_status call(std::size_t method, void* stream, const aotbuild_tensor* inputs, std::size_t input_count,
                       aotbuild_tensor* outputs, std::size_t output_count, aotbuild_result** result) const {
    if (method != kNoMethod) {
      return functions_->run_method_on_stream(handle_.get(), method, stream, inputs, input_count, outputs, output_count,
                                              result);
    }
    if (stream == nullptr) {
      return functions_->run(handle_.get(), inputs, input_count, outputs, output_count, result);
    }
    return functions_->run_on_stream(handle_.get(), stream, inputs, input_count, outputs, output_count, result);
  }

  void check(aotbuild_status status) const {
    if (status != AOTBUILD_OK) throw Error(status, functions_->last_error());
  }

  const aotbuild_api* functions_;
  Handle handle_;
};

}  // namespace aotbuild

#endif  // AOTBUILD_MODEL_HPP_
