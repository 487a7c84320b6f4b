#include "cuda/model.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "aotbuild/detail/cuda_spec.hpp"
#include "tensor/copy.hpp"

namespace aotbuild::detail::cuda {

namespace {

constexpr std::size_t kDefaultGraphs = 16;
// After so many captures that the driver refused, with other work in the process as a possible reason, none is tried.
constexpr int kMaxFailedCaptures = 3;
constexpr std::size_t kStagingAlignment = 64;
constexpr std::size_t kDerivedAlignment = 256;  // of cuMemAlloc, which kernels may count on
constexpr std::size_t kZeroedRow = std::size_t{1} << 20;

std::size_t staged_size(std::size_t nbytes) {
  return (nbytes + kStagingAlignment - 1) / kStagingAlignment * kStagingAlignment;
}

bool wants_device(const aotbuild_tensor& output) { return output.device.type == AOTBUILD_CUDA; }

bool writes_weights(const ModelSpec& spec) {
  return std::any_of(spec.weights, spec.weights + spec.info->weight_count,
                     [](const WeightSpec& weight) { return weight.mutated; });
}

}  // namespace

// A workspace of the model for the length of a scope. The context must be current.
class CudaModel::WorkspaceLease {
 public:
  WorkspaceLease(CudaModel& model, Stream stream) : model_(model) {
    {
      const std::lock_guard<std::mutex> lock(model_.workspaces_mutex_);
      std::vector<std::unique_ptr<CudaWorkspace>>& free = model_.free_workspaces_;
      // The one used last, whose graphs and memory fit best; but not one whose work this call would have to wait for. A
      // model with state has only one: its calls wait for each other.
      const auto ready = std::find_if(free.rbegin(), free.rend(), [&](const auto& workspace) {
        return model_.has_state_ || workspace->is_ready_for(stream);
      });
      if (ready != free.rend()) {
        workspace_ = std::move(*ready);
        free.erase(std::next(ready).base());
      }
    }
    if (workspace_ == nullptr) {
      workspace_ = std::make_unique<CudaWorkspace>(model_.device_, *model_.program_, model_.graph_limit_);
    }
  }
  ~WorkspaceLease() {
    const std::lock_guard<std::mutex> lock(model_.workspaces_mutex_);
    try {
      model_.free_workspaces_.push_back(std::move(workspace_));
    } catch (...) {  // no memory for the list: the workspace is destroyed instead of kept
    }
  }
  WorkspaceLease(const WorkspaceLease&) = delete;
  WorkspaceLease& operator=(const WorkspaceLease&) = delete;
  CudaWorkspace& operator*() { return *workspace_; }

 private:
  CudaModel& model_;
  std::unique_ptr<CudaWorkspace> workspace_;
};

CudaModel::CudaModel(std::shared_ptr<CudaProgram> program, int cuda_graphs)
    : program_(std::move(program)),
      spec_(program_->spec()),
      device_(program_->device()),
      has_state_(writes_weights(spec_)),
      cuda_graphs_(cuda_graphs),
      graph_limit_(cuda_graphs > 0 ? static_cast<std::size_t>(cuda_graphs) : kDefaultGraphs),
      obstacles_(program_->methods().size()) {
  const ContextScope scope(*device_);
  for (std::size_t m = 0; m < obstacles_.size(); ++m) {
    if (cuda_graphs < 0) set_obstacle(m, "aotbuild_options::cuda_graphs is -1");
    const aotbuild_method_info& info = program_->methods()[m]->info;
    for (std::size_t i = 0; i < info.input_count; ++i) {
      const aotbuild_tensor_info& input = info.inputs[i];
      if (input.device.type == AOTBUILD_CPU) set_obstacle(m, concat("input '", input.name, "' is read on the CPU"));
    }
  }
  program_->add(*this);
}

CudaModel::~CudaModel() { program_->remove(*this); }

std::unique_ptr<DeviceModel> CudaModel::new_session() { return std::make_unique<CudaModel>(program_, cuda_graphs_); }

void CudaModel::set_obstacle(std::size_t method, const std::string& reason) {
  const std::lock_guard<std::mutex> lock(obstacle_mutex_);
  Obstacle& obstacle = obstacles_[method];
  if (obstacle.known.load(std::memory_order_relaxed) != nullptr) return;
  obstacle.text = spec_.methods == nullptr ? reason : concat(program_->methods()[method]->info.name, ": ", reason);
  obstacle.known.store(obstacle.text.c_str(), std::memory_order_release);
}

std::shared_ptr<void> CudaModel::upload(const std::vector<UploadRegion>& regions, std::size_t nbytes) {
  const ContextScope scope(*device_);
  const std::shared_ptr<DeviceBuffer> buffer = program_->allocate(nbytes, "weights");
  const OwnedStream stream(device_);
  const DevicePointer begin = device_pointer(buffer->data());
  for (const UploadRegion& region : regions) {
    if (region.nbytes == 0) continue;
    device_->check(device_->driver().copy_to_device(begin + region.offset, region.source, region.nbytes, stream.get()),
                   "cuMemcpyHtoDAsync", " for ", region.nbytes, " bytes of weights");
  }
  device_->check(device_->driver().stream_synchronize(stream.get()), "cuStreamSynchronize", " for the weights");
  return {buffer, buffer->data()};
}

std::shared_ptr<void> CudaModel::make_state(const std::vector<UploadRegion>& regions, std::size_t nbytes) {
  const ContextScope scope(*device_);
  const std::shared_ptr<DeviceBuffer> buffer = program_->allocate(nbytes, "state");
  const OwnedStream stream(device_);
  const Driver& driver = device_->driver();
  const DevicePointer begin = device_pointer(buffer->data());
  for (const UploadRegion& region : regions) {
    const DevicePointer to = begin + region.offset;
    if (region.source != nullptr) {
      device_->check(driver.copy_on_device(to, device_pointer(region.source), region.nbytes, stream.get()),
                     "cuMemcpyDtoDAsync", " for ", region.nbytes, " bytes of state");
      continue;
    }
    // In rows: the driver limits how wide one is.
    const std::size_t rows = region.nbytes / kZeroedRow;
    const std::size_t rest = region.nbytes % kZeroedRow;
    int result = kSuccess;
    if (rows != 0) result = driver.set_2d_8(to, kZeroedRow, 0, kZeroedRow, rows, stream.get());
    if (result == kSuccess && rest != 0) {
      result = driver.set_2d_8(to + rows * kZeroedRow, rest, 0, rest, 1, stream.get());
    }
    device_->check(result, "cuMemsetD2DAsync", " for ", region.nbytes, " bytes of state");
  }
  device_->check(driver.stream_synchronize(stream.get()), "cuStreamSynchronize", " for the state");
  return {buffer, buffer->data()};
}

std::shared_ptr<void> CudaModel::derive(const WeightSet& weights, Storage* storages, Tensor* tensors) {
  const ContextScope scope(*device_);
  auto memory = std::make_shared<std::vector<std::shared_ptr<void>>>();
  for (const std::unique_ptr<const CudaMethod>& method : program_->methods()) {
    if (method->variant.cuda->derived == nullptr) continue;
    memory->push_back(derive_for(*method, weights, storages, tensors));
  }
  return memory;
}

std::shared_ptr<void> CudaModel::derive_for(const CudaMethod& method, const WeightSet& weights, Storage* storages,
                                            Tensor* tensors) {
  const CudaDerivedSpec& spec = *method.variant.cuda->derived;
  const std::size_t first = method.weight_count(spec_);
  std::vector<std::pair<std::size_t, std::size_t>> wanted;  // what it derives, and the model's number of that
  for (std::size_t i = 0; i < spec.count; ++i) {
    const std::size_t number = method.number_of(first + i) - spec_.info->weight_count;
    if (tensors[number].storage == nullptr) wanted.emplace_back(i, number);
  }
  if (wanted.empty()) return nullptr;
  Workspace host_workspace;
  const WorkspaceScope workspace_scope(host_workspace);
  CudaWorkspace workspace(device_, *program_, graph_limit_);
  const Stream stream = workspace.own_stream();
  try {
    CudaCall cuda_call(device_, method.kernels, workspace, program_->results(), seeds_, stream, nullptr, false);
    OwnedHandles made(spec.count);
    CallContext context(weights, host_workspace, nullptr, nullptr, 0, nullptr, method.spec, &cuda_call);
    spec.derive(context, nullptr, made.data());
    std::vector<std::size_t> offsets;
    std::size_t end = 0;
    for (const auto& [i, number] : wanted) {
      if (made[i] == nullptr || !made[i]->on_device()) {
        fail(AOTBUILD_RUNTIME_ERROR, spec_.info->name, ": tensor ", i, " that is derived from the weights is not made");
      }
      offsets.push_back(end);
      const std::size_t nbytes = extent_bytes(made[i]->dtype, made[i]->ndim, made[i]->sizes(), made[i]->strides());
      end += (nbytes + kDerivedAlignment - 1) / kDerivedAlignment * kDerivedAlignment;
    }
    const std::shared_ptr<DeviceBuffer> buffer = program_->allocate(end, "weights");
    for (std::size_t k = 0; k < wanted.size(); ++k) {
      const auto& [i, number] = wanted[k];
      const Tensor& source = *made[i];
      Storage& storage = storages[number];
      storage.references = Storage::kImmortal;
      storage.data = static_cast<char*>(buffer->data()) + offsets[k];
      storage.nbytes = extent_bytes(source.dtype, source.ndim, source.sizes(), source.strides());
      storage.device = device();
      tensors[number].storage = &storage;
      tensors[number].dtype = source.dtype;
      tensors[number].set_dims(source.ndim, source.sizes(), source.strides());
      cuda_call.copy_bytes(storage.data, source.data(), storage.nbytes, "derive");
    }
    device_->check(device_->driver().stream_synchronize(stream), "cuStreamSynchronize",
                   " for what is derived from the weights");
    return buffer;
  } catch (...) {
    device_->driver().stream_synchronize(stream);  // what is queued uses the workspace
    throw;
  }
}

void CudaModel::statistics(aotbuild_statistics* statistics) const {
  statistics->calls = calls_.load(std::memory_order_relaxed);
  statistics->graph_captures = captures_.load(std::memory_order_relaxed);
  statistics->graph_replays = replays_.load(std::memory_order_relaxed);
  statistics->driver_allocations = device_->allocations();
  statistics->device_bytes = device_->allocated_bytes();
  for (const Obstacle& obstacle : obstacles_) {
    if (statistics->graph_obstacle == nullptr) {
      statistics->graph_obstacle = obstacle.known.load(std::memory_order_acquire);
    }
  }
}

void CudaModel::synchronize(void* stream) {
  const ContextScope scope(*device_);
  check_stream(static_cast<Stream>(stream));
  device_->check(device_->driver().stream_synchronize(static_cast<Stream>(stream)), "cuStreamSynchronize");
  const std::lock_guard<std::mutex> lock(workspaces_mutex_);
  for (const std::unique_ptr<CudaWorkspace>& workspace : free_workspaces_) check_indices(*workspace, true);
}

void CudaModel::reclaim() noexcept {
  std::vector<std::unique_ptr<CudaWorkspace>> idle;
  {
    const std::lock_guard<std::mutex> lock(workspaces_mutex_);
    idle.swap(free_workspaces_);
  }
  idle.clear();
}

void CudaModel::check_memory(const char* name, const char* kind, const TensorChecker& checker,
                             const aotbuild_tensor& tensor) const {
  if (tensor.device.type != AOTBUILD_CUDA || range_of(tensor, checker.dtype()).size() == 0) return;
  // A kernel that follows a wrong pointer takes the whole context with it, and with that all other models.
  unsigned memory_type = 0;
  int ordinal = 0;
  int attributes[] = {kPointerMemoryType, kPointerDeviceOrdinal};
  void* values[] = {&memory_type, &ordinal};
  const int result = device_->driver().pointer_get_attributes(2, attributes, values, device_pointer(data_of(tensor)));
  if (result == kInvalidValue || (result == kSuccess && memory_type == 0)) {
    fail(AOTBUILD_INVALID_ARGUMENT, name, ": ", kind, " '", checker.info().name, "' says that it is on CUDA device ",
         device_->index(),
         ", but CUDA does not know its pointer; for host memory set aotbuild_tensor::device to {AOTBUILD_CPU, 0}");
  }
  device_->check(result, "cuPointerGetAttributes", " for ", kind, " '", checker.info().name, "'");
  if (memory_type == kMemoryTypeDevice && ordinal != device_->index()) {
    fail(AOTBUILD_INVALID_ARGUMENT, name, ": the memory of ", kind, " '", checker.info().name, "' is on CUDA device ",
         ordinal, ", but the model is on device ", device_->index(),
         "; copy it there, or set aotbuild_options::device when creating the model");
  }
}

void CudaModel::check_stream(Stream stream) const {
  Context context = nullptr;
  device_->check(device_->driver().stream_get_context(stream, &context), "cuStreamGetCtx",
                 " for the stream of the call");
  if (context != device_->context()) {
    fail(AOTBUILD_INVALID_ARGUMENT, spec_.info->name, ": the stream is of another context than that of ",
         device_->description(), "; create it on that device with the CUDA runtime, or in its primary context");
  }
  int status = 0;
  device_->check(device_->driver().stream_is_capturing(stream, &status), "cuStreamIsCapturing",
                 " for the stream of the call");
  if (status != 0) {
    fail(AOTBUILD_INVALID_ARGUMENT, spec_.info->name,
         ": the stream is being captured into a CUDA graph, and the model makes graphs of its own; call it outside of "
         "the capture");
  }
}

void CudaModel::check_indices(CudaWorkspace& workspace, bool earlier) const {
  const std::int32_t code = workspace.take_index_error();
  if (code == 0) return;
  const char* kernel = program_->kernel_of(code);
  fail(AOTBUILD_RUNTIME_ERROR, spec_.info->name, ": ", earlier ? "in an earlier call on a stream, " : "",
       kernel != nullptr ? concat("kernel '", kernel, "'") : std::string("a kernel"),
       " was given an index out of bounds and used 0 instead; the outputs ", earlier ? "of that call " : "",
       "are wrong. Check the values of the inputs that hold indices");
}

void CudaModel::run(const CheckedCall& call) {
  const ContextScope scope(*device_);
  const auto user_stream = static_cast<Stream>(call.stream);
  for (std::size_t i = 0; i < call.signature.inputs.size(); ++i) {
    check_memory(call.name, "input", call.signature.inputs[i], call.inputs[i]);
  }
  for (std::size_t i = 0; i < call.signature.outputs.size(); ++i) {
    if (call.outputs[i].data != nullptr) check_memory(call.name, "output", call.signature.outputs[i], call.outputs[i]);
  }
  if (user_stream != nullptr) check_stream(user_stream);
  WorkspaceLease lease(*this, user_stream);
  CudaWorkspace& workspace = *lease;
  const Stream stream = user_stream != nullptr ? user_stream : workspace.own_stream();
  check_indices(workspace, true);
  workspace.begin(stream);
  try {
    run_in(workspace, stream, call);
  } catch (...) {
    // What is queued still uses the workspace and the caller's memory.
    device_->driver().stream_synchronize(stream);
    throw;
  }
  calls_.fetch_add(1, std::memory_order_relaxed);
}

// Brings what was made to the caller. The caller's outputs are described only at the end, when nothing can fail.
class CudaModel::OutputDelivery {
 public:
  OutputDelivery(CudaModel& model, CudaCall& cuda_call, CudaWorkspace& workspace, Stream stream,
                 const CheckedCall& call, OwnedHandles& made)
      : model_(model),
        device_(*model.device_),
        cuda_call_(cuda_call),
        workspace_(workspace),
        stream_(stream),
        call_(call),
        made_(made) {}

  void deliver() {
    const std::size_t count = made_.size();
    std::size_t dims = 0;
    for (std::size_t i = 0; i < count; ++i) {
      dims += 2 * static_cast<std::size_t>(checked_output(call_, made_, i).ndim);
    }
    if (call_.overlaps_inputs) detach_from_caller();
    std::optional<ResultBuilder> builder;
    for (std::size_t i = 0; i < count; ++i) {
      if (call_.outputs[i].data == nullptr) {
        if (!builder) builder.emplace(call_, dims);
        allocate(i, &*builder);
      } else if (wants_device(call_.outputs[i])) {
        write_to_caller(i, *made_[i]);
      }
    }
    read_to_staging();
    const bool must_wait = call_.stream == nullptr || reads_to_host_;
    if (must_wait) {
      device_.check(device_.driver().stream_synchronize(stream_), "cuStreamSynchronize");
      model_.check_indices(workspace_, false);
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (call_.outputs[i].data == nullptr || wants_device(call_.outputs[i])) continue;
      write_to_caller(i, staged_[i] != nullptr ? *staged_[i] : *made_[i]);
    }
    workspace_.end(stream_, must_wait);
    if (builder) builder->finish();
  }

 private:
  static constexpr const char* kFunction = "aotbuild_model_run";

  // Results that are views of inputs are copied before anything is written over the inputs.
  void detach_from_caller() {
    for (std::size_t i = 0; i < made_.size(); ++i) {
      Tensor& tensor = *made_[i];
      if (tensor.storage->owned || tensor.data() == data_of(call_.outputs[i]) ||
          tensor.data() == cuda_call_.result_data(i)) {
        continue;
      }
      tensor.assign(*clone_preserving(tensor, kFunction));
    }
  }

  void write_to_caller(std::size_t i, const Tensor& tensor) {
    const aotbuild_tensor& output = call_.outputs[i];
    void* data = data_of(output);
    if (tensor.data() == data && has_strides(output, tensor.strides())) return;
    const TensorPtr target =
        make_borrowed(data, 0, tensor.dtype, output.ndim, output.shape, output.strides, output.device);
    copy(*target, tensor, kFunction);
  }

  void allocate(std::size_t i, ResultBuilder* builder) {
    const aotbuild_tensor_info& info = call_.signature.outputs[i].info();
    Tensor& tensor = *made_[i];
    const bool on_host = !wants_device(call_.outputs[i]);
    const aotbuild_device device = on_host ? aotbuild_device{AOTBUILD_CPU, 0} : cuda_call_.device();
    const bool is_its_memory = cuda_call_.result_data(i) != nullptr && tensor.data() == cuda_call_.result_data(i);
    const bool keeps_strides = has_promised_strides(info, tensor) && is_dense(tensor);
    if (is_its_memory && keeps_strides) {
      builder->add(i, tensor.data(), device, tensor);
    } else {
      std::vector<std::int64_t> strides(tensor.strides(), tensor.strides() + tensor.ndim);
      if (!keeps_strides) strides = copy_strides(info, tensor);
      const std::size_t nbytes = extent_bytes(tensor.dtype, tensor.ndim, tensor.sizes(), strides.data());
      // The memory that the tensor may lie in stays until it was copied.
      const std::shared_ptr<void> before = cuda_call_.take_result(i);
      void* data = cuda_call_.allocate_result(i, nbytes, on_host);
      const TensorPtr target =
          make_borrowed(data, nbytes, tensor.dtype, tensor.ndim, tensor.sizes(), strides.data(), device);
      if (on_host && tensor.on_device()) {
        read(data, tensor, *target);
      } else {
        copy(*target, tensor, kFunction);
      }
      builder->add(i, data, device, *target);
    }
    builder->result().device_blocks.push_back(cuda_call_.take_result(i));
  }

  // Queues the copy of `tensor` to host memory, in the strides of `layout`.
  void read(void* data, const Tensor& tensor, const Tensor& layout) {
    TensorPtr gathered;
    const Tensor* source = &tensor;
    if (!same_strides(tensor.ndim, tensor.sizes(), tensor.strides(), layout.strides())) {
      gathered = make_device_tensor(cuda_call_, tensor.dtype, tensor.ndim, tensor.sizes(), layout.strides());
      copy(*gathered, tensor, kFunction);
      source = gathered.get();
    }
    const std::size_t nbytes = extent_bytes(tensor.dtype, tensor.ndim, tensor.sizes(), layout.strides());
    if (nbytes == 0) return;
    device_.check(device_.driver().copy_to_host(data, device_pointer(source->data()), nbytes, stream_),
                  "cuMemcpyDtoHAsync", " for ", nbytes, " bytes");
    reads_to_host_ = true;
  }

  // What goes to the caller's host memory comes to pinned memory first, all of it before the one wait.
  void read_to_staging() {
    staged_.resize(made_.size());
    std::size_t total = 0;
    for (std::size_t i = 0; i < made_.size(); ++i) {
      if (!is_read(i)) continue;
      const Tensor& tensor = *made_[i];
      const std::size_t nbytes = static_cast<std::size_t>(tensor.numel()) * tensor.element_size();
      total += staged_size(nbytes);
    }
    if (total == 0) return;
    // Only calls that wait use it, so nothing that is queued does.
    char* at = workspace_.output_staging.reserve(total);
    for (std::size_t i = 0; i < made_.size(); ++i) {
      if (!is_read(i)) continue;
      const Tensor& tensor = *made_[i];
      const std::size_t nbytes = static_cast<std::size_t>(tensor.numel()) * tensor.element_size();
      staged_[i] = make_borrowed(at, nbytes, tensor.dtype, tensor.ndim, tensor.sizes(),
                                 is_dense(tensor) ? tensor.strides() : nullptr);
      read(at, tensor, *staged_[i]);
      at += staged_size(nbytes);
    }
  }

  bool is_read(std::size_t i) const {
    const aotbuild_tensor& output = call_.outputs[i];
    return output.data != nullptr && !wants_device(output) && made_[i]->on_device();
  }

  CudaModel& model_;
  CudaDevice& device_;
  CudaCall& cuda_call_;
  CudaWorkspace& workspace_;
  const Stream stream_;
  const CheckedCall& call_;
  OwnedHandles& made_;
  std::vector<TensorPtr> staged_;  // null for outputs that do not go to the caller's host memory
  bool reads_to_host_ = false;
};

void CudaModel::run_in(CudaWorkspace& workspace, Stream stream, const CheckedCall& call) {
  workspace.keeps_graphs = true;
  workspace.memory.reserve_pinned(false);
  const ShapeEntry* graph = graph_for(workspace, call);
  workspace.keeps_graphs = graph != nullptr;
  workspace.memory.reserve_pinned(graph != nullptr);
  CudaCall cuda_call(device_, method_of(call).kernels, workspace, program_->results(), seeds_, stream, &call, false);
  if (graph != nullptr) {
    replay(cuda_call, workspace, stream, call, *graph);
  } else {
    run_eagerly(cuda_call, workspace, stream, call);
  }
}

bool CudaModel::is_staged(const CheckedCall& call, std::size_t i) const {
  return call.inputs[i].device.type == AOTBUILD_CPU && call.signature.inputs[i].info().device.type != AOTBUILD_CPU;
}

char* CudaModel::stage_inputs(CudaWorkspace& workspace, const CheckedCall& call) const {
  std::size_t total = 0;
  for (std::size_t i = 0; i < call.signature.inputs.size(); ++i) {
    if (is_staged(call, i)) {
      total += staged_size(range_of(call.inputs[i], call.signature.inputs[i].dtype()).size());
    }
  }
  if (total == 0) return nullptr;
  char* const staging = workspace.input_staging(total);
  char* at = staging;
  for (std::size_t i = 0; i < call.signature.inputs.size(); ++i) {
    if (!is_staged(call, i)) continue;
    const Range range = range_of(call.inputs[i], call.signature.inputs[i].dtype());
    if (range.size() != 0) std::memcpy(at, range.begin, range.size());
    at += staged_size(range.size());
  }
  return staging;
}

void CudaModel::run_eagerly(CudaCall& cuda_call, CudaWorkspace& workspace, Stream stream, const CheckedCall& call) {
  const char* staged = stage_inputs(workspace, call);
  OwnedHandles inputs(call.signature.inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const aotbuild_tensor& input = call.inputs[i];
    const ScalarType dtype = call.signature.inputs[i].dtype();
    const Range range = range_of(input, dtype);
    if (!is_staged(call, i)) {
      inputs[i] =
          make_borrowed(data_of(input), range.size(), dtype, input.ndim, input.shape, input.strides, input.device)
              .release();
      continue;
    }
    inputs[i] = make_device_tensor(cuda_call, dtype, input.ndim, input.shape, input.strides).release();
    if (range.size() == 0) continue;
    device_->check(device_->driver().copy_to_device(device_pointer(inputs[i]->data()), staged, range.size(), stream),
                   "cuMemcpyHtoDAsync", " for input '", call.signature.inputs[i].info().name, "'");
    staged += staged_size(range.size());
  }
  OwnedHandles outputs(call.signature.outputs.size());
  CallContext context(*call.weights, *Workspace::current(), call.outputs, call.in_place, outputs.size(),
                      call.state.get(), method_of(call).spec, &cuda_call);
  method_of(call).variant.run(context, inputs.data(), outputs.data());
  OutputDelivery(*this, cuda_call, workspace, stream, call, outputs).deliver();
}

const ShapeEntry* CudaModel::graph_for(CudaWorkspace& workspace, const CheckedCall& call, std::string* failure) {
  if (const char* obstacle = obstacles_[call.method].known.load(std::memory_order_acquire)) {
    if (failure != nullptr) *failure = obstacle;
    return nullptr;
  }
  if (workspace.graphs_state != call.state->id()) {
    workspace.graphs.clear();
    workspace.graphs_state = call.state->id();
  }
  std::vector<std::int64_t>& key = workspace.key;
  key.assign(1, static_cast<std::int64_t>(call.method));
  for (std::size_t i = 0; i < call.signature.inputs.size(); ++i) {
    const aotbuild_tensor& input = call.inputs[i];
    key.insert(key.end(), input.shape, input.shape + input.ndim);
    // Strides that may vary are part of what is captured.
    if (call.signature.inputs[i].info().strides == nullptr) continue;
    const std::size_t at = key.size();
    key.resize(at + static_cast<std::size_t>(input.ndim));
    if (input.strides != nullptr) {
      std::copy_n(input.strides, input.ndim, key.data() + at);
    } else {
      contiguous_strides(input.ndim, input.shape, key.data() + at);
    }
  }
  const bool has_stayed = failure == nullptr && memory_has_stayed(workspace, call);
  ShapeEntry* entry = workspace.graphs.find(key);
  if (failure != nullptr) {
    if (entry == nullptr) entry = workspace.graphs.find(key);
    entry->blocked = false;
    entry->is_ahead = true;
  } else if (has_stayed && entry != nullptr && !entry->is_ahead) {
    entry = workspace.graphs.find(workspace.memory_key);
    if (entry == nullptr) entry = workspace.graphs.find(workspace.memory_key);
    entry->is_direct = true;
  }
  if (entry == nullptr || entry->blocked) return nullptr;
  if (entry->graph != nullptr) return entry;
  const std::string problem = capture(workspace, call, entry);
  if (failure != nullptr) *failure = problem;
  return entry->graph != nullptr ? entry : nullptr;
}

bool CudaModel::memory_has_stayed(CudaWorkspace& workspace, const CheckedCall& call) const {
  std::vector<std::int64_t> key = workspace.key;
  const auto add = [&key](const aotbuild_tensor& tensor) {
    key.push_back(static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data_of(tensor))));
  };
  bool is_on_device = true;
  for (std::size_t i = 0; i < call.signature.inputs.size(); ++i) {
    is_on_device = is_on_device && call.inputs[i].device.type == AOTBUILD_CUDA;
    add(call.inputs[i]);
  }
  for (std::size_t i = 0; i < call.signature.outputs.size(); ++i) {
    const aotbuild_tensor& output = call.outputs[i];
    is_on_device = is_on_device && output.data != nullptr && wants_device(output) && call.in_place[i];
    if (!is_on_device) break;
    add(output);
    key.insert(key.end(), output.shape, output.shape + output.ndim);
    const std::size_t at = key.size();
    key.resize(at + static_cast<std::size_t>(output.ndim));
    if (output.strides != nullptr) {
      std::copy_n(output.strides, output.ndim, key.data() + at);
    } else {
      contiguous_strides(output.ndim, output.shape, key.data() + at);
    }
  }
  if (!is_on_device) key.clear();
  const bool has_stayed = is_on_device && key == workspace.memory_key;
  workspace.memory_key = std::move(key);
  return has_stayed;
}

void CudaModel::capture_graph(const CheckedCall& call) {
  const ContextScope scope(*device_);
  WorkspaceLease lease(*this, nullptr);
  CudaWorkspace& workspace = *lease;
  workspace.keeps_graphs = true;
  workspace.memory.reserve_pinned(false);
  std::string failure;
  if (graph_for(workspace, call, &failure) == nullptr) {
    fail(AOTBUILD_RUNTIME_ERROR, call.name, ": no CUDA graph was captured: ", failure);
  }
}

std::string CudaModel::capture(CudaWorkspace& workspace, const CheckedCall& call, ShapeEntry* entry) {
  const CheckedCall* const outputs_of = entry->is_direct ? &call : nullptr;
  CudaCall cuda_call(device_, method_of(call).kernels, workspace, program_->results(), seeds_, workspace.own_stream(),
                     outputs_of, true);
  workspace.memory.begin_pinning(&entry->blocks);
  bool no_memory = false;
  std::string failure;
  try {
    record(cuda_call, workspace, call, entry);
  } catch (const Error& error) {
    no_memory = error.status() == AOTBUILD_OUT_OF_MEMORY;
    failure = error.what();
  } catch (const std::exception& error) {
    failure = error.what();
  }
  workspace.memory.end_pinning();
  if (entry->graph != nullptr) {
    captures_.fetch_add(1, std::memory_order_relaxed);
    workspace.graphs.bound();
    return {};
  }
  workspace.memory.unpin(entry->blocks);
  entry->blocks.clear();
  entry->inputs.clear();
  entry->outputs.clear();
  // A capture never fails the call: whatever is wrong with the model itself, launching its kernels says as well.
  if (no_memory) {
    entry->blocked = true;
  } else if (!cuda_call.obstacle().empty()) {
    failure = cuda_call.obstacle();
    set_obstacle(call.method, failure);
  } else if (++obstacles_[call.method].failed_captures >= kMaxFailedCaptures) {
    set_obstacle(call.method, failure);
  }
  return failure;
}

void CudaModel::record(CudaCall& cuda_call, CudaWorkspace& workspace, const CheckedCall& call, ShapeEntry* entry) {
  const Driver& driver = device_->driver();
  OwnedHandles inputs(call.signature.inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const aotbuild_tensor& input = call.inputs[i];
    const ScalarType dtype = call.signature.inputs[i].dtype();
    inputs[i] = (entry->is_direct ? make_borrowed(data_of(input), range_of(input, dtype).size(), dtype, input.ndim,
                                                  input.shape, input.strides, input.device)
                                  : make_device_tensor(cuda_call, dtype, input.ndim, input.shape, input.strides))
                    .release();
    entry->inputs.push_back(inputs[i]->data());
  }
  OwnedHandles outputs(call.signature.outputs.size());
  CallContext context(*call.weights, *Workspace::current(), call.outputs, call.in_place, outputs.size(),
                      call.state.get(), method_of(call).spec, &cuda_call);
  const Stream stream = workspace.own_stream();
  device_->check(driver.stream_begin_capture(stream, kCaptureThreadLocal), "cuStreamBeginCapture");
  Graph graph = nullptr;
  const auto end_capture = [&] { return driver.stream_end_capture(stream, &graph); };
  try {
    method_of(call).variant.run(context, inputs.data(), outputs.data());
  } catch (...) {
    end_capture();
    if (graph != nullptr) driver.graph_destroy(graph);
    throw;
  }
  int result = end_capture();
  device_->check(result, "cuStreamEndCapture");
  GraphExec executable = nullptr;
  result = driver.graph_instantiate(&executable, graph, 0);
  driver.graph_destroy(graph);
  device_->check(result, "cuGraphInstantiate");
  try {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const Tensor& made = checked_output(call, outputs, i);
      if (!made.on_device()) {
        fail(AOTBUILD_RUNTIME_ERROR, "output '", call.signature.outputs[i].info().name, "' is made on the CPU");
      }
      entry->outputs.push_back({made.data(), made.storage->nbytes, made.dtype,
                                std::vector<std::int64_t>(made.sizes(), made.sizes() + made.ndim),
                                std::vector<std::int64_t>(made.strides(), made.strides() + made.ndim)});
    }
  } catch (...) {
    driver.graph_exec_destroy(executable);
    throw;
  }
  entry->seeds = cuda_call.seed_blocks();
  entry->graph = executable;
}

void CudaModel::replay(CudaCall& cuda_call, CudaWorkspace& workspace, Stream stream, const CheckedCall& call,
                       const ShapeEntry& entry) {
  const char* staged = stage_inputs(workspace, call);
  for (std::size_t i = 0; i < entry.inputs.size(); ++i) {
    const aotbuild_tensor& input = call.inputs[i];
    const Range range = range_of(input, call.signature.inputs[i].dtype());
    if (range.size() == 0 || entry.is_direct) continue;
    if (is_staged(call, i)) {
      device_->check(device_->driver().copy_to_device(device_pointer(entry.inputs[i]), staged, range.size(), stream),
                     "cuMemcpyHtoDAsync", " for input '", call.signature.inputs[i].info().name, "'");
      staged += staged_size(range.size());
    } else {
      cuda_call.copy_bytes(entry.inputs[i], range.begin, range.size(), "aotbuild_model_run");
    }
  }
  cuda_call.refill_seeds(entry.seeds);
  device_->check(device_->driver().graph_launch(entry.graph, stream), "cuGraphLaunch");
  replays_.fetch_add(1, std::memory_order_relaxed);
  OwnedHandles outputs(entry.outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const ShapeEntry::Output& output = entry.outputs[i];
    outputs[i] = make_borrowed(output.data, output.nbytes, output.dtype, static_cast<std::int64_t>(output.sizes.size()),
                               output.sizes.data(), output.strides.data(), device())
                     .release();
  }
  OutputDelivery(*this, cuda_call, workspace, stream, call, outputs).deliver();
}

}  // namespace aotbuild::detail::cuda

namespace aotbuild::detail {

DeviceModel* make_cuda_model(const ModelSpec& spec, const aotbuild_options& options) {
  auto program = std::make_shared<cuda::CudaProgram>(spec, options.device.index);
  return new cuda::CudaModel(std::move(program), options.cuda_graphs);
}

}  // namespace aotbuild::detail
