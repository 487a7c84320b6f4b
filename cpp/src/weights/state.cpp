#include "weights/state.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "weights/device_weights.hpp"

namespace aotbuild::detail {

namespace {

constexpr std::size_t kDeviceAlignment = 256;  // of cuMemAlloc, which kernels may count on

std::uint64_t next_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

}  // namespace

State::State(const ModelSpec& spec, const WeightSet& weights, DeviceWeights* device)
    : id_(next_id()),
      count_(spec.info->weight_count),
      storages_(std::make_unique<Storage[]>(count_)),
      tensors_(std::make_unique<Tensor[]>(count_)) {
  if (device == nullptr) {
    begin_on_cpu(spec, weights);
  } else {
    begin_on_device(spec, weights, *device);
  }
}

Storage& State::describe(std::size_t index, const Tensor& initial) {
  Storage& storage = storages_[index];
  storage.references = Storage::kImmortal;
  storage.nbytes = initial.storage->nbytes;
  Tensor& tensor = tensors_[index];
  tensor.storage = &storage;
  tensor.dtype = initial.dtype;
  tensor.set_dims(initial.ndim, initial.sizes(), nullptr);
  return storage;
}

void State::begin_on_cpu(const ModelSpec& spec, const WeightSet& weights) {
  for (std::size_t i = 0; i < spec.info->weight_count; ++i) {
    if (!spec.weights[i].mutated) continue;
    const Tensor& initial = *weights.tensor(i);
    Storage& storage = describe(i, initial);
    // The system's fresh pages are zero, so calloc touches none of a large block.
    memory_.emplace_back(static_cast<char*>(std::calloc(storage.nbytes + kAlignment, 1)));
    if (memory_.back() == nullptr) throw std::bad_alloc();
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.back().get());
    storage.data = memory_.back().get() + (kAlignment - address % kAlignment) % kAlignment;
    if (!spec.weights[i].zeros && storage.nbytes != 0) {
      std::memcpy(storage.data, initial.storage->data, storage.nbytes);
    }
  }
}

void State::begin_on_device(const ModelSpec& spec, const WeightSet& weights, DeviceWeights& device) {
  std::vector<UploadRegion> regions;
  std::vector<Storage*> storages;
  std::size_t end = 0;
  for (std::size_t i = 0; i < spec.info->weight_count; ++i) {
    if (!spec.weights[i].mutated) continue;
    const Tensor& initial = *weights.tensor(i);
    Storage& storage = describe(i, initial);
    storage.device = device.device();
    storages.push_back(&storage);
    regions.push_back({spec.weights[i].zeros ? nullptr : initial.storage->data, storage.nbytes, end});
    end += (storage.nbytes + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment;
  }
  if (storages.empty()) return;
  device_memory_ = device.make_state(regions, end);
  for (std::size_t k = 0; k < storages.size(); ++k) {
    storages[k]->data = static_cast<char*>(device_memory_.get()) + regions[k].offset;
  }
}

}  // namespace aotbuild::detail
