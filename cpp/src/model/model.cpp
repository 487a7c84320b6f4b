// The model object behind the C ABI: creation, calls, exchange of weights.
#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/detail/runtime.hpp"
#include "aotbuild/detail/spec.h"
#include "base/arithmetic.hpp"
#include "base/error.hpp"
#include "model/call.hpp"
#include "model/device_model.hpp"
#include "tensor/copy.hpp"
#include "tensor/random_state.hpp"
#include "weights/state.hpp"

namespace aotbuild::detail {

namespace {

// The number of OpenMP threads of this thread's parallel regions, for the length of a scope.
class ThreadCountScope {
 public:
  explicit ThreadCountScope(int count) : previous_(omp_get_max_threads()), changed_(count > 0 && count != previous_) {
    if (changed_) omp_set_num_threads(count);
  }
  ~ThreadCountScope() {
    if (changed_) omp_set_num_threads(previous_);
  }
  ThreadCountScope(const ThreadCountScope&) = delete;
  ThreadCountScope& operator=(const ThreadCountScope&) = delete;

 private:
  int previous_;
  bool changed_;
};

// A workspace of the pool for the length of a scope.
class BorrowedWorkspace {
 public:
  explicit BorrowedWorkspace(WorkspacePool& pool) : pool_(pool), workspace_(pool.take()) {}
  ~BorrowedWorkspace() {
    workspace_->trim();
    pool_.give_back(std::move(workspace_));
  }
  BorrowedWorkspace(const BorrowedWorkspace&) = delete;
  BorrowedWorkspace& operator=(const BorrowedWorkspace&) = delete;
  Workspace& operator*() { return *workspace_; }

 private:
  WorkspacePool& pool_;
  std::unique_ptr<Workspace> workspace_;
};

std::string machine_description() {
  std::string text;
  for (const char* isa : {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"}) {
    if (cpu_supports(isa)) text = isa;
  }
  return text.empty() ? "an unknown instruction set" : text;
}

// The index of the best variant that this machine can run.
std::size_t choose_variant(const ModelSpec& spec) {
  std::string names;
  for (std::size_t i = 0; i < spec.variant_count; ++i) {
    const VariantSpec& variant = spec.variants[i];
    if (variant.supported == nullptr || variant.supported()) return i;
    names += (i == 0 ? "" : ", ") + std::string(variant.isa);
  }
  fail(AOTBUILD_UNSUPPORTED_HARDWARE, spec.info->name, ": built for ", names, ", but this machine has only ",
       machine_description(), "; add an instruction set that it has to CPU_ISA");
}

}  // namespace

// One method, or what a model without methods runs.
struct Method {
  Method(std::string full_name, std::size_t method_index, const aotbuild_method_info& method_info,
         aotbuild_device device, const VariantSpec* variants, const VariantSpec* chosen, const MethodSpec* method_spec)
      : name(std::move(full_name)),
        index(method_index),
        signature(name.c_str(), method_info, device),
        first_variant(variants),
        variant(chosen),
        spec(method_spec) {}
  Method(const Method&) = delete;  // the signature refers to the name
  Method& operator=(const Method&) = delete;

  const std::string name;
  const std::size_t index;
  const Signature signature;
  const VariantSpec* const first_variant;  // what all have in common
  const VariantSpec* const variant;        // null: a device has it
  const MethodSpec* const spec;            // null: the model has no methods
};

}  // namespace aotbuild::detail

using namespace aotbuild::detail;  // NOLINT: this file is the border between the C ABI and the runtime

struct aotbuild_model {
  aotbuild_model(const ModelSpec& model_spec, const aotbuild_options& options)
      : spec(model_spec),
        device(model_spec.make_device_model == nullptr ? nullptr : model_spec.make_device_model(model_spec, options)),
        threads(options.num_threads),
        workspaces(std::make_shared<WorkspacePool>()) {
    add_methods();
    for (const auto& method : methods) prepare(*method);
  }

  // A session: the weights of `model`, and state of its own.
  explicit aotbuild_model(aotbuild_model& model)
      : spec(model.spec),
        device(model.device == nullptr ? nullptr : model.device->new_session()),
        threads(model.threads),
        workspaces(model.workspaces) {
    add_methods();
    begin(model.loaded().weights);
  }

  void load(const WeightsSource& source) {
    const ThreadCountScope thread_scope(threads);
    const DefaultArithmetic arithmetic;
    begin(std::make_shared<const WeightSet>(spec, source, device.get()));
  }

  // What calls read and write.
  struct Loaded {
    std::shared_ptr<const WeightSet> weights;
    std::shared_ptr<const State> state;
  };
  Loaded loaded() {
    const std::lock_guard<std::mutex> lock(weights_mutex);
    return current;
  }

  const Method& only_method() const {
    if (spec.methods == nullptr) return *methods[0];
    std::string names;
    for (std::size_t i = 0; i < spec.info->method_count; ++i) {
      names += (i == 0 ? "" : ", ") + std::string(spec.info->methods[i].name);
    }
    fail(AOTBUILD_INVALID_ARGUMENT, spec.info->name, ": call one of the model's methods: ", names);
  }
  const Method& method(std::size_t index) const {
    if (spec.methods == nullptr || index >= methods.size()) {
      fail(AOTBUILD_INVALID_ARGUMENT, spec.info->name, ": there is no method ", index, "; the model has ",
           spec.info->method_count);
    }
    return *methods[index];
  }

  void run(const Method& method, const aotbuild_tensor* inputs, std::size_t input_count, aotbuild_tensor* outputs,
           std::size_t output_count, aotbuild_result** result, void* stream);
  void run_on_cpu(const Method& method, const CheckedCall& call);
  void capture_graph(const Method& method, const aotbuild_tensor* inputs, std::size_t input_count);

  void add_methods() {
    for (std::size_t i = 0; i < spec.info->weight_count; ++i) mutates = mutates || spec.weights[i].mutated;
    const aotbuild_model_info& info = *spec.info;
    const aotbuild_device place = device == nullptr ? aotbuild_device{AOTBUILD_CPU, 0} : device->device();
    const std::size_t chosen = device == nullptr ? choose_variant(spec) : 0;
    if (spec.methods == nullptr) {
      const aotbuild_method_info run_info = {"run", info.input_count, info.inputs, info.output_count, info.outputs};
      const VariantSpec* const variant = device == nullptr ? &spec.variants[chosen] : nullptr;
      methods.push_back(std::make_unique<const Method>(info.name, 0, run_info, place, spec.variants, variant, nullptr));
      return;
    }
    for (std::size_t i = 0; i < info.method_count; ++i) {
      const MethodSpec& method_spec = spec.methods[i];
      const VariantSpec* const variant = device == nullptr ? &method_spec.variants[chosen] : nullptr;
      methods.push_back(std::make_unique<const Method>(concat(info.name, ".", info.methods[i].name), i, info.methods[i],
                                                       place, method_spec.variants, variant, &method_spec));
    }
  }

  static void prepare(const Method& method) {
    if (method.variant == nullptr || method.variant->prepare == nullptr) return;
    try {
      method.variant->prepare();
    } catch (const std::exception& error) {  // a variant does not know which model it is of
      fail(AOTBUILD_RUNTIME_ERROR, method.name, ": ", error.what());
    }
  }

  void begin(std::shared_ptr<const WeightSet> weights) {
    auto state = std::make_shared<const State>(spec, *weights, device.get());
    const std::lock_guard<std::mutex> lock(weights_mutex);
    current = {std::move(weights), std::move(state)};
  }

  const ModelSpec& spec;
  const std::unique_ptr<DeviceModel> device;  // null: the CPU
  std::vector<std::unique_ptr<const Method>> methods;
  const int threads;
  bool mutates = false;
  std::mutex weights_mutex;
  Loaded current;
  std::mutex mutation_mutex;                        // runs of a model that writes to its state come one after the other
  const std::shared_ptr<WorkspacePool> workspaces;  // of all sessions
  RandomState random_state;
};

namespace {

// Fills one call's outputs. Outputs are changed only at the end, when nothing can fail any more.
class OutputWriter {
 public:
  OutputWriter(const CheckedCall& call, OwnedHandles& handles) : call_(call), handles_(handles) {}

  void write() {
    std::size_t dims = 0;
    bool allocates = false;
    for (std::size_t i = 0; i < handles_.size(); ++i) {
      const Tensor& made = checked_output(call_, handles_, i);
      if (call_.outputs[i].data != nullptr) continue;
      allocates = true;
      dims += 2 * static_cast<std::size_t>(made.ndim);
    }
    if (call_.overlaps_inputs) detach_from_caller();
    for (std::size_t i = 0; i < handles_.size(); ++i) {
      if (call_.outputs[i].data != nullptr) write_to_caller(i);
    }
    if (!allocates) return;
    ResultBuilder builder(call_, dims);
    builder.result().blocks.reserve(handles_.size());
    for (std::size_t i = 0; i < handles_.size(); ++i) {
      if (call_.outputs[i].data == nullptr) allocate(i, &builder);
    }
    builder.finish();
  }

 private:
  // A caller's output overlaps a caller's input: results that are views of inputs are copied before anything is
  // written.
  void detach_from_caller() {
    for (std::size_t i = 0; i < handles_.size(); ++i) {
      Tensor& tensor = *handles_[i];
      if (tensor.storage->owned || tensor.data() == data_of(call_.outputs[i])) continue;
      tensor.assign(*clone_preserving(tensor, "aotbuild_model_run"));
    }
  }

  void write_to_caller(std::size_t i) {
    const aotbuild_tensor& output = call_.outputs[i];
    const Tensor& made = *handles_[i];
    void* data = data_of(output);
    if (made.data() == data && has_strides(output, made.strides())) return;
    const TensorPtr target = make_borrowed(data, 0, made.dtype, output.ndim, output.shape, output.strides);
    copy(*target, made, "aotbuild_model_run");
  }

  void allocate(std::size_t i, ResultBuilder* builder) {
    // The memory of the tensor itself becomes the result's, when nothing else is in it and nobody else sees it.
    Tensor* tensor = handles_[i];
    TensorPtr copied;
    const aotbuild_tensor_info& info = call_.signature.outputs[i].info();
    const std::size_t needed = static_cast<std::size_t>(tensor->numel()) * tensor->element_size();
    const bool is_shared = !handles_.is_first(i) || tensor->storage->references != 1;
    if (is_shared || !tensor->storage->owned || tensor->storage->nbytes > 2 * needed ||
        !has_promised_strides(info, *tensor)) {
      const std::vector<std::int64_t> strides = copy_strides(info, *tensor);
      copied = make_tensor(tensor->dtype, tensor->ndim, tensor->sizes(), strides.data());
      copy(*copied, *tensor, "aotbuild_model_run");
      tensor = copied.get();
    }
    builder->add(i, tensor->data(), {AOTBUILD_CPU, 0}, *tensor);
    builder->result().blocks.emplace_back(static_cast<char*>(Workspace::current()->detach(tensor->storage)));
  }

  const CheckedCall& call_;
  OwnedHandles& handles_;
};

constexpr const char* kNoStream = ": built for the CPU, it cannot run on a CUDA stream; pass a null stream";

void check_count(const char* model, const char* kind, std::size_t given, std::size_t expected, const void* array) {
  if (given != expected) {
    fail(AOTBUILD_INVALID_ARGUMENT, model, ": got ", given, " ", kind, "s, expected ", expected);
  }
  if (expected != 0 && array == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, model, ": the array of ", kind, "s is null");
}

}  // namespace

void aotbuild_model::run(const Method& method, const aotbuild_tensor* inputs, std::size_t input_count,
                         aotbuild_tensor* outputs, std::size_t output_count, aotbuild_result** result, void* stream) {
  const char* name = method.name.c_str();
  const Signature& signature = method.signature;
  if (stream != nullptr && device == nullptr) {
    fail(AOTBUILD_INVALID_ARGUMENT, name, kNoStream);
  }
  check_count(name, "input", input_count, signature.inputs.size(), inputs);
  check_count(name, "output", output_count, signature.outputs.size(), outputs);
  SymbolValues symbols;
  signature.reset(&symbols);
  for (std::size_t i = 0; i < input_count; ++i) signature.inputs[i].check(inputs[i], &symbols);
  signature.check_conditions(*method.first_variant, inputs, symbols);
  for (std::size_t i = 0; i < output_count; ++i) {
    if (outputs[i].data != nullptr) {
      signature.outputs[i].check(outputs[i], &symbols);
    } else if (result == nullptr) {
      fail(AOTBUILD_INVALID_ARGUMENT, name, ": output '", signature.outputs[i].info().name,
           "' has no data, but there is no aotbuild_result** to return its memory through");
    }
  }

  // The caller's memory is written while the model runs only where no input is read from it.
  SmallArray<bool, 16> in_place(output_count);
  SmallArray<Range, 16> written(output_count);
  bool overlaps_inputs = false;
  for (std::size_t i = 0; i < output_count; ++i) {
    if (outputs[i].data == nullptr) continue;
    written[i] = range_of(outputs[i], signature.outputs[i].dtype());
    in_place[i] = true;
    for (std::size_t k = 0; k < input_count; ++k) {
      if (written[i].overlaps(range_of(inputs[k], signature.inputs[k].dtype()))) in_place[i] = false;
    }
    overlaps_inputs = overlaps_inputs || !in_place[i];
    for (std::size_t k = 0; k < i; ++k) {
      if (!written[i].overlaps(written[k])) continue;
      fail(AOTBUILD_INVALID_ARGUMENT, name, ": the buffers of outputs '", signature.outputs[k].info().name, "' and '",
           signature.outputs[i].info().name, "' overlap");
    }
  }

  std::unique_lock<std::mutex> mutation_lock(mutation_mutex, std::defer_lock);
  if (mutates) mutation_lock.lock();
  Loaded now = loaded();
  const ThreadCountScope thread_scope(threads);
  const DefaultArithmetic arithmetic;
  BorrowedWorkspace workspace(*workspaces);
  const WorkspaceScope workspace_scope(*workspace);
  const CheckedCall call{name,   method.index, signature,       std::move(now.weights), std::move(now.state),
                         inputs, outputs,      in_place.data(), overlaps_inputs,        result,
                         stream};
  (*workspace).set_random_state(&random_state);
  if (device != nullptr) {
    device->run(call);
  } else {
    run_on_cpu(method, call);
  }
}

void aotbuild_model::capture_graph(const Method& method, const aotbuild_tensor* inputs, std::size_t input_count) {
  const char* name = method.name.c_str();
  if (device == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, name, ": built for the CPU, it has no CUDA graphs");
  const Signature& signature = method.signature;
  check_count(name, "input", input_count, signature.inputs.size(), inputs);
  SymbolValues symbols;
  signature.reset(&symbols);
  std::vector<aotbuild_tensor> sized(inputs, inputs + input_count);
  for (std::size_t i = 0; i < input_count; ++i) {
    // Nobody reads it, so it may lie anywhere.
    sized[i].data = &symbols;
    sized[i].byte_offset = 0;
    sized[i].device = device->device();
    signature.inputs[i].check(sized[i], &symbols);
  }
  signature.check_conditions(*method.first_variant, inputs, symbols);
  std::vector<aotbuild_tensor> outputs(signature.outputs.size());
  SmallArray<bool, 16> in_place(outputs.size());
  std::unique_lock<std::mutex> mutation_lock(mutation_mutex, std::defer_lock);
  if (mutates) mutation_lock.lock();
  BorrowedWorkspace workspace(*workspaces);
  const WorkspaceScope workspace_scope(*workspace);
  Loaded now = loaded();
  device->capture_graph({name, method.index, signature, std::move(now.weights), std::move(now.state), sized.data(),
                         outputs.data(), in_place.data(), false, nullptr, nullptr});
}

void aotbuild_model::run_on_cpu(const Method& method, const CheckedCall& call) {
  const Signature& signature = call.signature;
  OwnedHandles input_handles(signature.inputs.size());
  for (std::size_t i = 0; i < input_handles.size(); ++i) {
    const aotbuild_tensor& input = call.inputs[i];
    const ScalarType dtype = signature.inputs[i].dtype();
    input_handles[i] =
        make_borrowed(data_of(input), range_of(input, dtype).size(), dtype, input.ndim, input.shape, input.strides)
            .release();
  }
  OwnedHandles output_handles(signature.outputs.size());
  CallContext context(*call.weights, *Workspace::current(), call.outputs, call.in_place, output_handles.size(),
                      call.state.get(), method.spec);
  try {
    method.variant->run(context, input_handles.data(), output_handles.data());
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {  // a kernel does not know which model it is part of
    fail(AOTBUILD_RUNTIME_ERROR, method.name, ": ", error.what());
  }
  OutputWriter(call, output_handles).write();
}

aotbuild_status aotbuild_model_create(const ModelSpec* spec, const aotbuild_options* options, aotbuild_model** model) {
  try {
    if (model == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_create: the place for the model is null");
    *model = nullptr;
    if (spec == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_create: the model's description is null");
    const char* name = spec->info->name;
    if (spec->abi_version != AOTBUILD_ABI_VERSION) {
      fail(AOTBUILD_INVALID_ARGUMENT, name, ": generated for version ", spec->abi_version,
           " of the runtime's interface, but this runtime has version ", AOTBUILD_ABI_VERSION, "; generate it again");
    }
    aotbuild_options chosen{};
    if (options != nullptr) {
      // Programs that were compiled with an earlier header have fewer fields; those that they lack are zero.
      constexpr std::size_t kFirstSize = offsetof(aotbuild_options, cuda_graphs);
      if (options->struct_size < kFirstSize || options->struct_size > sizeof(aotbuild_options)) {
        fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::struct_size is ", options->struct_size,
             ", expected sizeof(aotbuild_options), ", sizeof(aotbuild_options));
      }
      std::memcpy(&chosen, options, options->struct_size);
    }
    if (chosen.num_threads < 0) {
      fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::num_threads is ", chosen.num_threads,
           ", expected 0 or more");
    }
    const bool for_cpu = spec->make_device_model == nullptr;
    if (chosen.device.type != 0 && chosen.device.type != (for_cpu ? AOTBUILD_CPU : AOTBUILD_CUDA)) {
      fail(AOTBUILD_INVALID_ARGUMENT, name, ": built for ", for_cpu ? "the CPU" : "CUDA",
           ", it cannot run on device type ", chosen.device.type);
    }
    if (chosen.cuda_graphs < -1) {
      fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::cuda_graphs is ", chosen.cuda_graphs,
           ", expected -1 or more");
    }
    if (chosen.weight_count != 0 && chosen.weights == nullptr) {
      fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::weights is null, but weight_count is ",
           chosen.weight_count);
    }
    if (chosen.weights_file != nullptr && chosen.weight_count != 0) {
      fail(AOTBUILD_INVALID_ARGUMENT, name, ": set either weights_file or weights in aotbuild_options, not both");
    }
    auto made = std::make_unique<aotbuild_model>(*spec, chosen);
    made->load({chosen.weights_file, chosen.weights, chosen.weight_count});
    *model = made.release();
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

aotbuild_status aotbuild_model_run(aotbuild_model* model, const aotbuild_tensor* inputs, std::size_t input_count,
                                   aotbuild_tensor* outputs, std::size_t output_count, aotbuild_result** result) {
  return aotbuild_model_run_on_stream(model, nullptr, inputs, input_count, outputs, output_count, result);
}

aotbuild_status aotbuild_model_run_on_stream(aotbuild_model* model, void* stream, const aotbuild_tensor* inputs,
                                             std::size_t input_count, aotbuild_tensor* outputs,
                                             std::size_t output_count, aotbuild_result** result) {
  if (result != nullptr) *result = nullptr;
  try {
    if (model == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_run: the model is null");
    model->run(model->only_method(), inputs, input_count, outputs, output_count, result, stream);
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

aotbuild_status aotbuild_model_run_method(aotbuild_model* model, std::size_t method, const aotbuild_tensor* inputs,
                                          std::size_t input_count, aotbuild_tensor* outputs, std::size_t output_count,
                                          aotbuild_result** result) {
  return aotbuild_model_run_method_on_stream(model, method, nullptr, inputs, input_count, outputs, output_count,
                                             result);
}

aotbuild_status aotbuild_model_run_method_on_stream(aotbuild_model* model, std::size_t method, void* stream,
                                                    const aotbuild_tensor* inputs, std::size_t input_count,
                                                    aotbuild_tensor* outputs, std::size_t output_count,
                                                    aotbuild_result** result) {
  if (result != nullptr) *result = nullptr;
  try {
    if (model == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_run_method: the model is null");
    model->run(model->method(method), inputs, input_count, outputs, output_count, result, stream);
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

aotbuild_status aotbuild_model_new_session(aotbuild_model* model, aotbuild_model** session) {
  try {
    if (session == nullptr) {
      fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_new_session: the place for the session is null");
    }
    *session = nullptr;
    if (model == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_new_session: the model is null");
    *session = std::make_unique<aotbuild_model>(*model).release();
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

aotbuild_status aotbuild_model_statistics(const aotbuild_model* model, aotbuild_statistics* statistics) {
  try {
    if (model == nullptr || statistics == nullptr) {
      fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_statistics: an argument is null");
    }
    *statistics = {};
    if (model->device != nullptr) model->device->statistics(statistics);
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

aotbuild_status aotbuild_model_capture_graph(aotbuild_model* model, const aotbuild_tensor* inputs,
                                             std::size_t input_count) {
  try {
    if (model == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_capture_graph: the model is null");
    model->capture_graph(model->only_method(), inputs, input_count);
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

aotbuild_status aotbuild_model_capture_method_graph(aotbuild_model* model, std::size_t method,
                                                    const aotbuild_tensor* inputs, std::size_t input_count) {
  try {
    if (model == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_capture_method_graph: the model is null");
    model->capture_graph(model->method(method), inputs, input_count);
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

aotbuild_status aotbuild_model_synchronize(aotbuild_model* model, void* stream) {
  try {
    if (model == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_synchronize: the model is null");
    if (stream == nullptr) return AOTBUILD_OK;
    if (model->device == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, model->spec.info->name, kNoStream);
    model->device->synchronize(stream);
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

aotbuild_status aotbuild_model_manual_seed(aotbuild_model* model, std::uint64_t seed) {
  try {
    if (model == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_manual_seed: the model is null");
    if (!model->methods.empty() && model->methods[0]->variant != nullptr &&
        model->methods[0]->variant->prepare != nullptr) {
      fail(AOTBUILD_INVALID_ARGUMENT, model->spec.info->name,
           ": with RUNTIME torch random numbers are libtorch's; call torch::manual_seed");
    }
    model->random_state.manual_seed(seed);
    if (model->device != nullptr) model->device->manual_seed(seed);
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

aotbuild_status aotbuild_model_load_weights(aotbuild_model* model, const char* path) {
  try {
    if (model == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_load_weights: the model is null");
    if (path == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, model->spec.info->name, ": the path of the weights is null");
    model->load({path, nullptr, 0});
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

aotbuild_status aotbuild_model_set_weights(aotbuild_model* model, const aotbuild_named_tensor* weights,
                                           std::size_t count) {
  try {
    if (model == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_set_weights: the model is null");
    if (weights == nullptr || count == 0) {
      fail(AOTBUILD_INVALID_ARGUMENT, model->spec.info->name, ": no weights are given");
    }
    model->load({nullptr, weights, count});
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

void aotbuild_model_destroy(aotbuild_model* model) { delete model; }

void aotbuild_result_destroy(aotbuild_result* result) { delete result; }
