#include "cuda/model.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cuda/delivery.hpp"
#include "tensor/copy.hpp"

namespace aotbuild::detail::cuda {

namespace {

constexpr std::size_t kDefaultGraphs = 16;

bool writes_weights(const ModelSpec& spec) {
  return std::any_of(spec.weights, spec.weights + spec.info->weight_count,
                     [](const WeightSpec& weight) { return weight.mutated; });
}

}  // namespace

CudaModel::CudaModel(std::shared_ptr<CudaProgram> program, int cuda_graphs)
    : program_(std::move(program)),
      spec_(program_->spec()),
      device_(program_->device()),
      cuda_graphs_(cuda_graphs),
      graph_limit_(cuda_graphs > 0 ? static_cast<std::size_t>(cuda_graphs) : kDefaultGraphs),
      workspaces_(device_, *program_, graph_limit_, writes_weights(spec_)),
      obstacles_(program_->methods().size()) {
  const ContextScope scope(*device_);
  for (std::size_t m = 0; m < obstacles_.size(); ++m) {
    if (cuda_graphs < 0) set_obstacle(m, "aotbuild_options::cuda_graphs is -1");
    const aotbuild_method_info& info = program_->methods()[m]->info;
    for (std::size_t i = 0; i < info.input_count; ++i) {
      const aotbuild_tensor_info& input = *info.inputs[i];
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
  workspaces_.for_each_free([&](CudaWorkspace& workspace) { program_->check_indices(workspace, true); });
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
  // Ranks have to queue the same operations in the same order.
  Communicator* const communicator = program_->communicator();
  const Communicator::Turn turn(communicator);
  WorkspacePool::Lease lease(workspaces_, user_stream);
  CudaWorkspace& workspace = *lease;
  const Stream stream = user_stream != nullptr ? user_stream : workspace.own_stream();
  program_->check_indices(workspace, true);
  workspace.begin(stream);
  try {
    run_in(workspace, stream, call);
  } catch (...) {
    // What is queued still uses the workspace and the caller's memory.
    if (communicator != nullptr) communicator->fail_call(stream);
    device_->driver().stream_synchronize(stream);
    throw;
  }
  calls_.fetch_add(1, std::memory_order_relaxed);
}

void CudaModel::run_in(CudaWorkspace& workspace, Stream stream, const CheckedCall& call) {
  workspace.keeps_graphs = true;
  workspace.memory.reserve_pinned(false);
  const ShapeEntry* graph = graph_for(workspace, call);
  workspace.keeps_graphs = graph != nullptr;
  workspace.memory.reserve_pinned(graph != nullptr);
  CudaCall cuda_call(device_, method_of(call).kernels, workspace, program_->results(), seeds_, program_->communicator(),
                     stream, &call, false);
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
      inputs[i] = make_given(input, dtype, range.size()).release();
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
  if (program_->communicator() != nullptr) program_->communicator()->has_queued();
  OutputDelivery(*program_, cuda_call, workspace, stream, call, outputs).deliver();
}

}  // namespace aotbuild::detail::cuda

namespace aotbuild::detail {

DeviceModel* make_cuda_model(const ModelSpec& spec, const aotbuild_options& options) {
  auto program = std::make_shared<cuda::CudaProgram>(spec, options);
  return new cuda::CudaModel(std::move(program), options.cuda_graphs);
}

}  // namespace aotbuild::detail

aotbuild_status aotbuild_cuda_make_communicator_id(const aotbuild::detail::ModelSpec* spec,
                                                   aotbuild_communicator_id* id) {
  using namespace aotbuild::detail;  // NOLINT: this function is the border between the C ABI and the runtime
  return reported([&] {
    if (spec == nullptr || id == nullptr) {
      fail(AOTBUILD_INVALID_ARGUMENT,
           "aotbuild_cuda_make_communicator_id: the model's description or the place for the id is null");
    }
    *id = cuda::make_communicator_id(spec->info->name);
  });
}
