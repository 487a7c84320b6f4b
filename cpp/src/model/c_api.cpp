// The functions behind a model's C ABI (detail/spec.h). Structures come and go by the size that the caller knows.
#include <cstddef>
#include <memory>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "base/error.hpp"
#include "model/model.hpp"
#include "model/versioned_struct.hpp"

namespace aotbuild::detail {

namespace {

// Of the first header with AOTBUILD_ABI_VERSION 4: what every caller has.
constexpr std::size_t kFirstOptionsSize = offsetof(aotbuild_options, cuda_graphs) + sizeof(std::int32_t);
constexpr std::size_t kFirstStatisticsSize = offsetof(aotbuild_statistics, graph_obstacle) + sizeof(const char*);
constexpr std::size_t kFirstNamedTensorSize = offsetof(aotbuild_named_tensor, tensor) + sizeof(aotbuild_tensor);

void check_options(const ModelSpec& spec, const aotbuild_options& chosen) {
  const char* const name = spec.info->name;
  if (chosen.num_threads < 0) {
    fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::num_threads is ", chosen.num_threads,
         ", expected 0 or more");
  }
  const bool for_cpu = spec.make_device_model == nullptr;
  if (chosen.device.type != 0 && chosen.device.type != (for_cpu ? AOTBUILD_CPU : AOTBUILD_CUDA)) {
    fail(AOTBUILD_INVALID_ARGUMENT, name, ": built for ", for_cpu ? "the CPU" : "CUDA",
         ", it cannot run on device type ", chosen.device.type);
  }
  if (chosen.cuda_graphs < -1) {
    fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::cuda_graphs is ", chosen.cuda_graphs,
         ", expected -1 or more");
  }
  const int world_size = spec.info->world_size;
  if (world_size == 0 && (chosen.rank != 0 || chosen.communicator_id != nullptr)) {
    fail(
        AOTBUILD_INVALID_ARGUMENT, name,
        ": aotbuild_options::rank and communicator_id are for models that were built with WORLD_SIZE; leave them zero");
  }
  if (world_size != 0 && (chosen.rank < 0 || chosen.rank >= world_size)) {
    fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::rank is ", chosen.rank, ", expected 0 to ",
         world_size - 1, " (WORLD_SIZE ", world_size, ")");
  }
  if (world_size != 0 && chosen.communicator_id == nullptr) {
    fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::communicator_id is null; one rank makes an id by ", name,
         "_make_communicator_id(), and all ", world_size, " are created with it");
  }
  if (chosen.collective_timeout < 0) {
    fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::collective_timeout is ", chosen.collective_timeout,
         ", expected 0 or more milliseconds");
  }
  if (chosen.weight_count != 0 && chosen.weights == nullptr) {
    fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::weights is null, but weight_count is ",
         chosen.weight_count);
  }
  if (chosen.weights_file != nullptr && chosen.weight_count != 0) {
    fail(AOTBUILD_INVALID_ARGUMENT, name, ": set either weights_file or weights in aotbuild_options, not both");
  }
}

// The tensors of an array whose elements are as long as the caller's header says.
std::vector<aotbuild_named_tensor> read_tensors(const aotbuild_named_tensor* tensors, std::size_t count,
                                                const char* model) {
  std::vector<aotbuild_named_tensor> read;
  read.reserve(count);
  const auto* at = reinterpret_cast<const unsigned char*>(tensors);
  for (std::size_t i = 0; i < count; ++i) {
    const auto& tensor = *reinterpret_cast<const aotbuild_named_tensor*>(at);
    read.push_back(read_struct(tensor, kFirstNamedTensorSize, model, "aotbuild_named_tensor"));
    at += tensor.struct_size;
  }
  return read;
}

// `object`, which must not be null; `what` says what it is.
template <typename T>
T& required(T* object, const char* function, const char* what) {
  if (object == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, function, ": ", what, " is null");
  return *object;
}

}  // namespace

}  // namespace aotbuild::detail

using namespace aotbuild::detail;  // NOLINT: this file is the border between the C ABI and the runtime

aotbuild_status aotbuild_model_create(const ModelSpec* spec, const aotbuild_options* options, aotbuild_model** model) {
  return reported([&] {
    aotbuild_model*& place = required(model, "aotbuild_model_create", "the place for the model");
    place = nullptr;
    const ModelSpec& made_of = required(spec, "aotbuild_model_create", "the model's description");
    const char* name = made_of.info->name;
    if (made_of.release != AOTBUILD_RELEASE) refuse_release(name, made_of.release);
    aotbuild_options chosen{};
    if (options != nullptr) chosen = read_struct(*options, kFirstOptionsSize, name, "aotbuild_options");
    check_options(made_of, chosen);
    const std::vector<aotbuild_named_tensor> weights = read_tensors(chosen.weights, chosen.weight_count, name);
    auto made = std::make_unique<aotbuild_model>(made_of, chosen);
    made->load({chosen.weights_file, weights.data(), weights.size()});
    place = made.release();
  });
}

aotbuild_status aotbuild_model_run(aotbuild_model* model, std::size_t method, void* stream,
                                   const aotbuild_tensor* inputs, std::size_t input_count, aotbuild_tensor* outputs,
                                   std::size_t output_count, aotbuild_result** result) {
  if (result != nullptr) *result = nullptr;
  return reported([&] {
    aotbuild_model& called = required(model, "aotbuild_model_run", "the model");
    called.run(called.method(method), inputs, input_count, outputs, output_count, result, stream);
  });
}

aotbuild_status aotbuild_model_new_session(aotbuild_model* model, aotbuild_model** session) {
  return reported([&] {
    aotbuild_model*& place = required(session, "aotbuild_model_new_session", "the place for the session");
    place = nullptr;
    place = std::make_unique<aotbuild_model>(required(model, "aotbuild_model_new_session", "the model")).release();
  });
}

aotbuild_status aotbuild_model_statistics(const aotbuild_model* model, aotbuild_statistics* statistics) {
  return reported([&] {
    const aotbuild_model& asked = required(model, "aotbuild_model_statistics", "the model");
    aotbuild_statistics& out = required(statistics, "aotbuild_model_statistics", "the place for the statistics");
    check_struct_size<aotbuild_statistics>(out.struct_size, kFirstStatisticsSize, asked.spec.info->name,
                                           "aotbuild_statistics");
    aotbuild_statistics all{};
    if (asked.device != nullptr) asked.device->statistics(&all);
    write_struct(all, &out);
  });
}

aotbuild_status aotbuild_model_capture_graph(aotbuild_model* model, std::size_t method, const aotbuild_tensor* inputs,
                                             std::size_t input_count) {
  return reported([&] {
    aotbuild_model& called = required(model, "aotbuild_model_capture_graph", "the model");
    called.capture_graph(called.method(method), inputs, input_count);
  });
}

aotbuild_status aotbuild_model_synchronize(aotbuild_model* model, void* stream) {
  return reported([&] { required(model, "aotbuild_model_synchronize", "the model").synchronize(stream); });
}

aotbuild_status aotbuild_model_manual_seed(aotbuild_model* model, std::uint64_t seed) {
  return reported([&] { required(model, "aotbuild_model_manual_seed", "the model").manual_seed(seed); });
}

aotbuild_status aotbuild_model_load_weights(aotbuild_model* model, const char* path) {
  return reported([&] {
    aotbuild_model& changed = required(model, "aotbuild_model_load_weights", "the model");
    required(path, changed.spec.info->name, "the path of the weights");
    changed.load({path, nullptr, 0});
  });
}

aotbuild_status aotbuild_model_set_weights(aotbuild_model* model, const aotbuild_named_tensor* weights,
                                           std::size_t count) {
  return reported([&] {
    aotbuild_model& changed = required(model, "aotbuild_model_set_weights", "the model");
    const char* const name = changed.spec.info->name;
    if (weights == nullptr || count == 0) fail(AOTBUILD_INVALID_ARGUMENT, name, ": no weights are given");
    const std::vector<aotbuild_named_tensor> read = read_tensors(weights, count, name);
    changed.load({nullptr, read.data(), read.size()});
  });
}

void aotbuild_model_destroy(aotbuild_model* model) { delete model; }

void aotbuild_result_destroy(aotbuild_result* result) { delete result; }
