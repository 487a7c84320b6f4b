#include "model/model.hpp"

#include <omp.h>

#include <exception>
#include <new>

#include "aotbuild/detail/runtime.hpp"
#include "base/arithmetic.hpp"
#include "base/error.hpp"
#include "model/outputs.hpp"

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
  for (const char* isa : {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64", "riscv64", "armv7", "wasm32"}) {
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

void prepare(const Method& method) {
  if (method.variant == nullptr || method.variant->prepare == nullptr) return;
  try {
    method.variant->prepare();
  } catch (const std::exception& error) {  // a variant does not know which model it is of
    fail(AOTBUILD_RUNTIME_ERROR, method.name, ": ", error.what());
  }
}

constexpr const char* kNoStream = ": built for the CPU, it cannot run on a CUDA stream; pass a null stream";

void check_count(const char* model, const char* kind, std::size_t given, std::size_t expected, const void* array) {
  if (given != expected) {
    fail(AOTBUILD_INVALID_ARGUMENT, model, ": got ", given, " ", kind, "s, expected ", expected);
  }
  if (expected != 0 && array == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, model, ": the array of ", kind, "s is null");
}

}  // namespace

}  // namespace aotbuild::detail

using namespace aotbuild::detail;  // NOLINT: this file is the border between the C ABI and the runtime

aotbuild_model::aotbuild_model(const ModelSpec& model_spec, const aotbuild_options& options)
    : spec(model_spec),
      device(model_spec.make_device_model == nullptr ? nullptr : model_spec.make_device_model(model_spec, options)),
      threads_(options.num_threads),
      rank_(options.rank),
      workspaces_(std::make_shared<WorkspacePool>()) {
  add_methods();
  for (const auto& method : methods_) prepare(*method);
}

aotbuild_model::aotbuild_model(aotbuild_model& model)
    : spec(model.spec),
      device(model.device == nullptr ? nullptr : model.device->new_session()),
      threads_(model.threads_),
      rank_(model.rank_),
      workspaces_(model.workspaces_) {
  add_methods();
  begin(model.loaded().weights);
}

void aotbuild_model::add_methods() {
  const aotbuild_model_info& info = *spec.info;
  for (std::size_t i = 0; i < info.weight_count; ++i) mutates_ = mutates_ || spec.weights[i].mutated;
  const aotbuild_device place = device == nullptr ? aotbuild_device{AOTBUILD_CPU, 0} : device->device();
  const std::size_t chosen = device == nullptr ? choose_variant(spec) : 0;
  for (std::size_t i = 0; i < info.method_count; ++i) {
    const aotbuild_method_info& method_info = *info.methods[i];
    const MethodSpec* const method_spec = spec.methods == nullptr ? nullptr : &spec.methods[i];
    const VariantSpec* const variants = method_spec == nullptr ? spec.variants : method_spec->variants;
    std::string name = method_spec == nullptr ? info.name : concat(info.name, ".", method_info.name);
    methods_.push_back(std::make_unique<const Method>(std::move(name), i, method_info, place, variants,
                                                      device == nullptr ? &variants[chosen] : nullptr, method_spec));
  }
}

void aotbuild_model::load(const WeightsSource& source) {
  const ThreadCountScope thread_scope(threads_);
  const DefaultArithmetic arithmetic;
  WeightsSource of_rank = source;
  of_rank.rank = rank_;
  begin(std::make_shared<const WeightSet>(spec, of_rank, device.get()));
}

void aotbuild_model::begin(std::shared_ptr<const WeightSet> weights) {
  auto state = std::make_shared<const State>(spec, *weights, device.get());
  const std::lock_guard<std::mutex> lock(weights_mutex_);
  current_ = {std::move(weights), std::move(state)};
}

aotbuild_model::Loaded aotbuild_model::loaded() {
  const std::lock_guard<std::mutex> lock(weights_mutex_);
  return current_;
}

const Method& aotbuild_model::method(std::size_t index) const {
  if (index >= methods_.size()) {
    fail(AOTBUILD_INVALID_ARGUMENT, spec.info->name, ": there is no method ", index, "; the model has ",
         methods_.size());
  }
  return *methods_[index];
}

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

  std::unique_lock<std::mutex> mutation_lock(mutation_mutex_, std::defer_lock);
  if (mutates_) mutation_lock.lock();
  Loaded now = loaded();
  const ThreadCountScope thread_scope(threads_);
  const DefaultArithmetic arithmetic;
  BorrowedWorkspace workspace(*workspaces_);
  const WorkspaceScope workspace_scope(*workspace);
  const CheckedCall call{name,   method.index, signature,       std::move(now.weights), std::move(now.state),
                         inputs, outputs,      in_place.data(), overlaps_inputs,        result,
                         stream};
  (*workspace).set_random_state(&random_state_);
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
  std::unique_lock<std::mutex> mutation_lock(mutation_mutex_, std::defer_lock);
  if (mutates_) mutation_lock.lock();
  BorrowedWorkspace workspace(*workspaces_);
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
    input_handles[i] = make_given(input, dtype, range_of(input, dtype).size()).release();
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

void aotbuild_model::synchronize(void* stream) {
  if (stream == nullptr) return;
  if (device == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, spec.info->name, kNoStream);
  device->synchronize(stream);
}

void aotbuild_model::manual_seed(std::uint64_t seed) {
  const VariantSpec* const variant = methods_[0]->variant;
  if (variant != nullptr && variant->prepare != nullptr) {
    fail(AOTBUILD_INVALID_ARGUMENT, spec.info->name,
         ": with RUNTIME torch random numbers are libtorch's; call torch::manual_seed");
  }
  random_state_.manual_seed(seed);
  if (device != nullptr) device->manual_seed(seed);
}
