// The graphs of a model: when one is captured, and how it is replayed.
#include <algorithm>
#include <utility>
#include <vector>

#include "cuda/delivery.hpp"
#include "cuda/model.hpp"
#include "tensor/copy.hpp"

namespace aotbuild::detail::cuda {

namespace {

// After so many captures that the driver refused, with other work in the process as a possible reason, none is tried.
constexpr int kMaxFailedCaptures = 3;

}  // namespace

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
  const bool is_first = entry == nullptr;
  if (is_first) entry = &workspace.graphs.remember(key);
  if (failure != nullptr) {
    entry->blocked = false;
    entry->is_ahead = true;
  } else if (is_first) {
    return nullptr;
  } else if (has_stayed && !entry->is_ahead) {
    entry = workspace.graphs.find(workspace.memory_key);
    if (entry == nullptr) entry = &workspace.graphs.remember(workspace.memory_key);
    entry->is_direct = true;
  }
  if (entry->blocked) return nullptr;
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
  WorkspacePool::Lease lease(workspaces_, nullptr);
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
  CudaCall cuda_call(device_, method_of(call).kernels, workspace, program_->results(), seeds_, program_->communicator(),
                     workspace.own_stream(), outputs_of, true);
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
    inputs[i] = (entry->is_direct ? make_given(input, dtype, range_of(input, dtype).size())
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
  // A capture that does not end would keep every later call from its stream.
  const auto end_capture = [&] {
    const int result = driver.stream_end_capture(stream, &graph);
    if (result != 0 && graph == nullptr) driver.stream_end_capture(stream, &graph);
    return result;
  };
  try {
    method_of(call).variant.run(context, inputs.data(), outputs.data());
  } catch (...) {
    end_capture();
    if (graph != nullptr) driver.graph_destroy(graph);
    throw;
  }
  int result = end_capture();
  if (result != 0 && graph != nullptr) driver.graph_destroy(graph);
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
  if (program_->communicator() != nullptr) program_->communicator()->has_queued();
  replays_.fetch_add(1, std::memory_order_relaxed);
  OwnedHandles outputs(entry.outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const ShapeEntry::Output& output = entry.outputs[i];
    outputs[i] = make_borrowed(output.data, output.nbytes, output.dtype, static_cast<std::int64_t>(output.sizes.size()),
                               output.sizes.data(), output.strides.data(), device())
                     .release();
  }
  OutputDelivery(*program_, cuda_call, workspace, stream, call, outputs).deliver();
}

}  // namespace aotbuild::detail::cuda
