// What the generated class of a model is built on: options, metadata, and the C ABI with ownership and errors.
#ifndef AOTBUILD_MODEL_HPP_
#define AOTBUILD_MODEL_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>

#include "aotbuild/any_tensor.hpp"
#include "aotbuild/c_api.h"
#include "aotbuild/detail/results.hpp"
#include "aotbuild/error.hpp"

namespace aotbuild {
namespace detail {
inline namespace AOTBUILD_NAMESPACE {

// Whether these headers fit the library behind `functions`. Nothing else of it may be read when they do not.
inline Status check_abi(const aotbuild_api& functions) {
  if (functions.abi_version == AOTBUILD_ABI_VERSION && functions.struct_size >= sizeof(aotbuild_api)) return {};
  constexpr const char* kRemedy = "Build the library and the program with one release of aotbuild";
  if (functions.abi_version == AOTBUILD_ABI_VERSION) {
    return {AOTBUILD_INVALID_ARGUMENT,
            format("the model's library is of an earlier release of aotbuild, with fewer functions than this program "
                   "was compiled for. %s",
                   kRemedy)};
  }
  return {AOTBUILD_INVALID_ARGUMENT,
          format("the model's library has version %u of aotbuild's binary interface, this program was compiled for "
                 "version %d. %s",
                 functions.abi_version, AOTBUILD_ABI_VERSION, kRemedy)};
}

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail

inline namespace AOTBUILD_NAMESPACE {

// What a model is created with.
struct Options {
  // A safetensors file. Empty: the embedded weights (WEIGHTS EMBED) or the file beside the library (WEIGHTS FILE).
  Text weights_file;
  // Threads of one call; 0: what OpenMP says (OMP_NUM_THREADS, else all cores).
  int num_threads = 0;
  // WEIGHTS EXTERNAL: tensors by their state_dict names. Their memory is borrowed and has to outlive the model.
  NamedTensors weights;
  // Where the model runs. Type 0: what it was built for, index 0.
  aotbuild_device device = {0, 0};
  // For CUDA: how many captured graphs are kept (`aotbuild_options::cuda_graphs`); 0: the default, -1: none.
  int cuda_graphs = 0;
  // For WORLD_SIZE: which of the ranks this object is, and their id, which one rank has made. Each has a device of its
  // own, in threads or processes; creation waits for all of them, and all make the same calls in the same order.
  int rank = 0;
  const aotbuild_communicator_id* communicator_id = nullptr;
  // How long a rank waits for the others, in milliseconds; then the call is an error on all. 0: a minute.
  int collective_timeout = 0;
};

// One dimension: min == max for a static size. A dynamic one has the name of its symbol, as in `batch` or `2*length`.
struct DimMetadata {
  std::int64_t min;    // the smallest size
  std::int64_t max;    // the largest size
  const char* symbol;  // null for a static size
};

// An input or output of a model whose largest rank is `MaxRank`; the first `rank` entries of `dims` hold.
template <std::size_t MaxRank>
struct TensorMetadata {
  const char* name;                       // in the model's signature
  aotbuild_dtype dtype;                   // the type of the elements
  std::size_t rank;                       // the number of dimensions
  std::array<DimMetadata, MaxRank> dims;  // the first `rank` of them hold
};

// A model object behind the functions of its C ABI. Movable; a moved-from object may only be assigned or destroyed.
// Functions that begin with `try_` return a status and throw nothing but std::bad_alloc; the others throw Error.
class Model {
 public:
  // Creates one. `functions` has to outlive the model and its results.
  static Expected<Model> try_create(const aotbuild_api& functions, const Options& options) {
    Status fits = detail::check_abi(functions);
    if (!fits) return fits;
    const auto weights = options.weights.c_tensors();
    aotbuild_options c_options{};
    c_options.struct_size = sizeof(c_options);
    c_options.num_threads = options.num_threads;
    c_options.weights_file = options.weights_file.empty() ? nullptr : options.weights_file.c_str();
    c_options.weights = weights.data();
    c_options.weight_count = weights.size();
    c_options.device = options.device;
    c_options.cuda_graphs = options.cuda_graphs;
    c_options.rank = options.rank;
    c_options.communicator_id = options.communicator_id;
    c_options.collective_timeout = options.collective_timeout;
    aotbuild_model* model = nullptr;
    const aotbuild_status code = functions.create(&c_options, &model);
    if (code != AOTBUILD_OK) return Status(code, functions.last_error());
    return Model(functions, detail::Handle<aotbuild_model>(model, functions.destroy));
  }

  // Runs into memory that the library allocates, on the host or on `device`. `method` is an index of info().methods: 0
  // is the only one of a model without METHODS. For CUDA `stream` is as in `<prefix>_run_on_stream` of the C ABI, null
  // for none.
  template <std::size_t Count>
  Expected<detail::Results<Count>> try_run(std::initializer_list<aotbuild_tensor> inputs, void* stream = nullptr,
                                           aotbuild_device device = kCpuDevice, std::size_t method = 0) const {
    std::array<aotbuild_tensor, Count> outputs{};
    for (aotbuild_tensor& output : outputs) output.device = device;
    auto owner = try_run_allocating(inputs.begin(), inputs.size(), outputs.data(), Count, stream, method);
    if (!owner) return owner.status();
    return detail::Results<Count>(outputs, *std::move(owner));
  }

  // Runs into the caller's memory; allocates nothing.
  template <std::size_t Count>
  Status try_run_into(std::initializer_list<aotbuild_tensor> inputs, std::initializer_list<aotbuild_tensor> outputs,
                      void* stream = nullptr, std::size_t method = 0) const {
    std::array<aotbuild_tensor, Count> into{};
    std::size_t i = 0;
    for (const aotbuild_tensor& output : outputs) into[i++] = output;
    return status_of(call(method, stream, inputs.begin(), inputs.size(), into.data(), Count, nullptr));
  }

  // Runs and allocates each output whose `data` is null. The tensors' memory lives as long as what is returned.
  Expected<detail::Shared> try_run_allocating(const aotbuild_tensor* inputs, std::size_t input_count,
                                              aotbuild_tensor* outputs, std::size_t output_count,
                                              void* stream = nullptr, std::size_t method = 0) const {
    aotbuild_result* result = nullptr;
    Status status = status_of(call(method, stream, inputs, input_count, outputs, output_count, &result));
    if (!status) return status;
    return detail::Shared(detail::Handle<aotbuild_result>(result, functions_->destroy_result));
  }

  // A model object with these weights and state of its own.
  Expected<Model> try_new_session() const {
    aotbuild_model* session = nullptr;
    Status status = status_of(functions_->new_session(handle_.get(), &session));
    if (!status) return status;
    return Model(*functions_, detail::Handle<aotbuild_model>(session, functions_->destroy));
  }

  // For CUDA: captures the graph for inputs of these sizes, whose data is not read, instead of in the second call.
  Status try_capture_graph(std::initializer_list<aotbuild_tensor> inputs, std::size_t method = 0) const {
    return status_of(functions_->capture_graph(handle_.get(), method, inputs.begin(), inputs.size()));
  }

  // For CUDA: waits for the work that is queued on a stream.
  Status try_synchronize(void* stream) const { return status_of(functions_->synchronize(handle_.get(), stream)); }

  // For CUDA: what the model has done so far.
  Expected<aotbuild_statistics> try_statistics() const {
    aotbuild_statistics statistics{};
    statistics.struct_size = sizeof(statistics);
    Status status = status_of(functions_->statistics(handle_.get(), &statistics));
    if (!status) return status;
    return statistics;
  }

  // Begins the random numbers of the calls that follow anew.
  Status try_manual_seed(std::uint64_t seed) { return status_of(functions_->manual_seed(handle_.get(), seed)); }

  // Swaps the weights for those of a safetensors file.
  Status try_load_weights(const Text& path) { return status_of(functions_->load_weights(handle_.get(), path.c_str())); }

  // Swaps the weights for tensors by their state_dict names, whose memory is borrowed.
  Status try_set_weights(const NamedTensors& weights) {
    const auto tensors = weights.c_tensors();
    return status_of(functions_->set_weights(handle_.get(), tensors.data(), tensors.size()));
  }

#if AOTBUILD_EXCEPTIONS
  // As try_create().
  Model(const aotbuild_api& functions, const Options& options)
      : Model(detail::value_or_throw(try_create(functions, options))) {}

  // As try_run_allocating().
  detail::Shared run_allocating(const aotbuild_tensor* inputs, std::size_t input_count, aotbuild_tensor* outputs,
                                std::size_t output_count, void* stream = nullptr, std::size_t method = 0) const {
    return detail::value_or_throw(try_run_allocating(inputs, input_count, outputs, output_count, stream, method));
  }
  // As try_new_session().
  Model new_session() const { return detail::value_or_throw(try_new_session()); }
  // As try_synchronize().
  void synchronize(void* stream) const { detail::throw_unless_ok(try_synchronize(stream)); }
  // As try_statistics().
  aotbuild_statistics statistics() const { return detail::value_or_throw(try_statistics()); }
  // As try_manual_seed().
  void manual_seed(std::uint64_t seed) { detail::throw_unless_ok(try_manual_seed(seed)); }
  // As try_load_weights().
  void load_weights(const Text& path) { detail::throw_unless_ok(try_load_weights(path)); }
  // As try_set_weights().
  void set_weights(const NamedTensors& weights) { detail::throw_unless_ok(try_set_weights(weights)); }
#endif

 private:
  Model(const aotbuild_api& functions, detail::Handle<aotbuild_model> handle)
      : functions_(&functions), handle_(std::move(handle)) {}

  aotbuild_status call(std::size_t method, void* stream, const aotbuild_tensor* inputs, std::size_t input_count,
                       aotbuild_tensor* outputs, std::size_t output_count, aotbuild_result** result) const {
    return functions_->run(handle_.get(), method, stream, inputs, input_count, outputs, output_count, result);
  }

  Status status_of(aotbuild_status code) const {
    return code == AOTBUILD_OK ? Status() : Status(code, functions_->last_error());
  }

  const aotbuild_api* functions_;
  detail::Handle<aotbuild_model> handle_;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild

#endif  // AOTBUILD_MODEL_HPP_
