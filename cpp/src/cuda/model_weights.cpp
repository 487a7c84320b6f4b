// The weights and the state of a model on the device, and what is derived from the weights there.
#include <memory>
#include <utility>
#include <vector>

#include "aotbuild/detail/cuda_spec.hpp"
#include "cuda/model.hpp"

namespace aotbuild::detail::cuda {

namespace {

constexpr std::size_t kDerivedAlignment = 256;  // of cuMemAlloc, which kernels may count on
constexpr std::size_t kZeroedRow = std::size_t{1} << 20;

}  // namespace

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
    CudaCall cuda_call(device_, method.kernels, workspace, program_->results(), seeds_, program_->communicator(),
                       stream, nullptr, false);
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

}  // namespace aotbuild::detail::cuda
