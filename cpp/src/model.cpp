// The model object behind the C ABI: creation, calls, exchange of weights.
#include <omp.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/detail/runtime.hpp"
#include "aotbuild/detail/spec.h"
#include "context.hpp"
#include "copy.hpp"
#include "error.hpp"
#include "signature.hpp"
#include "weights.hpp"
#include "workspace.hpp"

struct aotbuild_result {
  std::vector<aotbuild::detail::AlignedBuffer> blocks;
  std::unique_ptr<std::int64_t[]> dims;  // shapes and strides of all outputs in `blocks`
};

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

// Handles that a call owns. One handle may stand for several outputs, but is deleted once.
class OwnedHandles {
 public:
  explicit OwnedHandles(std::size_t count) : handles_(count) {}
  ~OwnedHandles() {
    for (std::size_t i = 0; i < handles_.size(); ++i) {
      if (is_first(i)) delete_tensor(handles_[i]);
    }
  }
  OwnedHandles(const OwnedHandles&) = delete;
  OwnedHandles& operator=(const OwnedHandles&) = delete;
  AtenTensorHandle* data() { return handles_.data(); }
  AtenTensorHandle& operator[](std::size_t i) { return handles_[i]; }
  bool is_first(std::size_t i) {
    return std::find(handles_.begin(), handles_.begin() + i, handles_[i]) == handles_.begin() + i;
  }

 private:
  SmallArray<AtenTensorHandle, 16> handles_;
};

struct Range {
  const char* begin = nullptr;
  const char* end = nullptr;
  bool overlaps(const Range& other) const { return begin < other.end && other.begin < end; }
};

Range range_of(const aotbuild_tensor& tensor, ScalarType dtype) {
  const auto* begin = static_cast<const char*>(data_of(tensor));
  std::int64_t last = 0;
  std::int64_t count = 1;
  for (std::int32_t d = tensor.ndim - 1; d >= 0; --d) {
    last += (tensor.shape[d] - 1) * (tensor.strides != nullptr ? tensor.strides[d] : count);
    count *= tensor.shape[d];
  }
  if (count == 0) return {};
  return {begin, begin + (last + 1) * static_cast<std::int64_t>(element_size(dtype))};
}

std::string machine_description() {
  std::string text;
  for (const char* isa : {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"}) {
    if (cpu_supports(isa)) text = isa;
  }
  return text.empty() ? "an unknown instruction set" : text;
}

const VariantSpec& choose_variant(const ModelSpec& spec) {
  std::string names;
  for (std::size_t i = 0; i < spec.variant_count; ++i) {
    const VariantSpec& variant = spec.variants[i];
    if (variant.supported == nullptr || variant.supported()) return variant;
    names += (i == 0 ? "" : ", ") + std::string(variant.isa);
  }
  fail(AOTBUILD_UNSUPPORTED_HARDWARE, spec.info->name, ": built for ", names, ", but this machine has only ",
       machine_description(), "; add an instruction set that it has to CPU_ISA");
}

}  // namespace

}  // namespace aotbuild::detail

using namespace aotbuild::detail;  // NOLINT: this file is the border between the C ABI and the runtime

struct aotbuild_model {
  aotbuild_model(const ModelSpec& model_spec, const aotbuild_options& options)
      : spec(model_spec),
        variant(choose_variant(model_spec)),
        signature(*model_spec.info),
        threads(options.num_threads) {
    for (std::size_t i = 0; i < spec.info->weight_count; ++i) mutates = mutates || spec.weights[i].mutated;
  }

  void load(const WeightsSource& source) {
    const ThreadCountScope thread_scope(threads);
    auto loaded = std::make_shared<const WeightSet>(spec, source);
    const std::lock_guard<std::mutex> lock(weights_mutex);
    weights = std::move(loaded);
  }

  void run(const aotbuild_tensor* inputs, std::size_t input_count, aotbuild_tensor* outputs, std::size_t output_count,
           aotbuild_result** result);

  const ModelSpec& spec;
  const VariantSpec& variant;
  const Signature signature;
  const int threads;
  bool mutates = false;
  std::mutex weights_mutex;
  std::shared_ptr<const WeightSet> weights;
  std::mutex mutation_mutex;  // runs of a model that writes to its weights come one after the other
  WorkspacePool workspaces;
};

namespace {

// Fills one call's outputs. Outputs are changed only at the end, when nothing can fail any more.
class OutputWriter {
 public:
  OutputWriter(const Signature& signature, aotbuild_tensor* outputs, OwnedHandles& handles)
      : signature_(signature), outputs_(outputs), handles_(handles) {}

  void write(bool protect_inputs, aotbuild_result** result) {
    const std::size_t count = signature_.outputs.size();
    for (std::size_t i = 0; i < count; ++i) check(i);
    if (protect_inputs) detach_from_caller();
    std::size_t dims = 0;
    bool allocates = false;
    for (std::size_t i = 0; i < count; ++i) {
      if (outputs_[i].data != nullptr) {
        write_to_caller(i);
      } else {
        allocates = true;
        dims += 2 * static_cast<std::size_t>(handles_[i]->ndim);
      }
    }
    if (!allocates) return;
    auto made = std::make_unique<aotbuild_result>();
    made->blocks.reserve(count);
    made->dims = std::make_unique<std::int64_t[]>(dims);
    std::vector<aotbuild_tensor> filled;
    std::int64_t* at = made->dims.get();
    for (std::size_t i = 0; i < count; ++i) {
      filled.push_back(outputs_[i].data != nullptr ? outputs_[i] : allocate(i, &at, made.get()));
    }
    std::copy(filled.begin(), filled.end(), outputs_);
    *result = made.release();
  }

 private:
  const char* name(std::size_t i) const { return signature_.outputs[i].info().name; }

  void check(std::size_t i) {
    const Tensor* made = handles_[i];
    if (made == nullptr || made->storage == nullptr) fail("aotbuild_model_run", "output '", name(i), "' was not made");
    const TensorChecker& checker = signature_.outputs[i];
    if (made->dtype != checker.dtype() || made->ndim != checker.info().ndim) {
      fail("aotbuild_model_run", "output '", name(i), "' was made as ", dtype_name(made->dtype), " of sizes ",
           format_dims(made->ndim, made->sizes()));
    }
    const aotbuild_tensor& wanted = outputs_[i];
    if (wanted.data != nullptr && !std::equal(made->sizes(), made->sizes() + made->ndim, wanted.shape)) {
      fail(AOTBUILD_INVALID_ARGUMENT, "output '", name(i), "' has sizes ", format_dims(made->ndim, made->sizes()),
           ", but the given buffer has ", format_dims(wanted.ndim, wanted.shape));
    }
  }

  // A caller's output overlaps a caller's input: results that are views of inputs are copied before anything is
  // written.
  void detach_from_caller() {
    for (std::size_t i = 0; i < signature_.outputs.size(); ++i) {
      Tensor& tensor = *handles_[i];
      if (tensor.storage->owned || tensor.data() == data_of(outputs_[i])) continue;
      tensor.assign(*clone_preserving(tensor, "aotbuild_model_run"));
    }
  }

  void write_to_caller(std::size_t i) {
    const aotbuild_tensor& output = outputs_[i];
    const Tensor& made = *handles_[i];
    void* data = data_of(output);
    if (made.data() == data && has_strides(output, made.strides())) return;
    const TensorPtr target = make_borrowed(data, 0, made.dtype, output.ndim, output.shape, output.strides);
    copy(*target, made, "aotbuild_model_run");
  }

  // Whether the tensor has the strides that the signature promises.
  bool has_promised_strides(std::size_t i) {
    const Tensor& tensor = *handles_[i];
    const std::int64_t* promised = signature_.outputs[i].info().strides;
    if (promised == nullptr) return is_contiguous(tensor);
    for (std::int32_t d = 0; d < tensor.ndim; ++d) {
      if (tensor.sizes()[d] > 1 && promised[d] != -1 && promised[d] != tensor.strides()[d]) return false;
    }
    return true;
  }

  // The strides of a copy: those that are promised, where they may vary those of the tensor.
  std::vector<std::int64_t> copy_strides(std::size_t i) {
    const Tensor& tensor = *handles_[i];
    const std::int64_t* promised = signature_.outputs[i].info().strides;
    std::vector<std::int64_t> strides(static_cast<std::size_t>(tensor.ndim));
    contiguous_strides(tensor.ndim, tensor.sizes(), strides.data());
    if (promised == nullptr) return strides;
    const bool varies = std::find(promised, promised + tensor.ndim, -1) != promised + tensor.ndim;
    if (!varies) {
      strides.assign(promised, promised + tensor.ndim);
    } else if (is_dense(tensor)) {
      strides.assign(tensor.strides(), tensor.strides() + tensor.ndim);
    }
    return strides;
  }

  aotbuild_tensor allocate(std::size_t i, std::int64_t** dims, aotbuild_result* result) {
    // The memory of the tensor itself becomes the result's, when nothing else is in it and nobody else sees it.
    Tensor* tensor = handles_[i];
    TensorPtr copied;
    const std::size_t needed = static_cast<std::size_t>(tensor->numel()) * tensor->element_size();
    const bool is_shared = !handles_.is_first(i) || tensor->storage->references != 1;
    if (is_shared || !tensor->storage->owned || tensor->storage->nbytes > 2 * needed || !has_promised_strides(i)) {
      const std::vector<std::int64_t> strides = copy_strides(i);
      copied = make_tensor(tensor->dtype, tensor->ndim, tensor->sizes(), strides.data());
      copy(*copied, *tensor, "aotbuild_model_run");
      tensor = copied.get();
    }
    aotbuild_tensor filled{};
    filled.data = tensor->data();
    filled.device = {AOTBUILD_CPU, 0};
    filled.ndim = tensor->ndim;
    filled.dtype = signature_.outputs[i].info().dtype;
    filled.shape = std::exchange(*dims, *dims + tensor->ndim);
    filled.strides = std::exchange(*dims, *dims + tensor->ndim);
    std::copy_n(tensor->sizes(), tensor->ndim, filled.shape);
    std::copy_n(tensor->strides(), tensor->ndim, filled.strides);
    result->blocks.emplace_back(static_cast<char*>(Workspace::current()->detach(tensor->storage)));
    return filled;
  }

  const Signature& signature_;
  aotbuild_tensor* outputs_;
  OwnedHandles& handles_;
};

void check_count(const char* model, const char* kind, std::size_t given, std::size_t expected, const void* array) {
  if (given != expected) {
    fail(AOTBUILD_INVALID_ARGUMENT, model, ": got ", given, " ", kind, "s, expected ", expected);
  }
  if (expected != 0 && array == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, model, ": the array of ", kind, "s is null");
}

}  // namespace

void aotbuild_model::run(const aotbuild_tensor* inputs, std::size_t input_count, aotbuild_tensor* outputs,
                         std::size_t output_count, aotbuild_result** result) {
  const char* name = spec.info->name;
  check_count(name, "input", input_count, signature.inputs.size(), inputs);
  check_count(name, "output", output_count, signature.outputs.size(), outputs);
  SymbolValues symbols;
  signature.reset(&symbols);
  for (std::size_t i = 0; i < input_count; ++i) signature.inputs[i].check(inputs[i], &symbols);
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

  std::shared_ptr<const WeightSet> current;
  {
    const std::lock_guard<std::mutex> lock(weights_mutex);
    current = weights;
  }
  std::unique_lock<std::mutex> mutation_lock(mutation_mutex, std::defer_lock);
  if (mutates) mutation_lock.lock();
  const ThreadCountScope thread_scope(threads);
  BorrowedWorkspace workspace(workspaces);
  const WorkspaceScope workspace_scope(*workspace);

  OwnedHandles input_handles(input_count);
  for (std::size_t i = 0; i < input_count; ++i) {
    const aotbuild_tensor& input = inputs[i];
    const Range range = range_of(input, signature.inputs[i].dtype());
    input_handles[i] = make_borrowed(data_of(input), static_cast<std::size_t>(range.end - range.begin),
                                     signature.inputs[i].dtype(), input.ndim, input.shape, input.strides)
                           .release();
  }
  OwnedHandles output_handles(output_count);
  CallContext context(*current, *workspace, outputs, in_place.data(), output_count);
  variant.run(context, input_handles.data(), output_handles.data());
  OutputWriter(signature, outputs, output_handles).write(overlaps_inputs, result);
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
      if (options->struct_size != sizeof(aotbuild_options)) {
        fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::struct_size is ", options->struct_size,
             ", expected sizeof(aotbuild_options), ", sizeof(aotbuild_options));
      }
      chosen = *options;
    }
    if (chosen.num_threads < 0) {
      fail(AOTBUILD_INVALID_ARGUMENT, name, ": aotbuild_options::num_threads is ", chosen.num_threads,
           ", expected 0 or more");
    }
    if (chosen.device.type != 0 && chosen.device.type != AOTBUILD_CPU) {
      fail(AOTBUILD_INVALID_ARGUMENT, name, ": built for the CPU, it cannot run on device type ", chosen.device.type);
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
  if (result != nullptr) *result = nullptr;
  try {
    if (model == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_model_run: the model is null");
    model->run(inputs, input_count, outputs, output_count, result);
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
