#include "state.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace aotbuild::detail {

State::State(const ModelSpec& spec, const WeightSet& weights)
    : storages_(std::make_unique<Storage[]>(spec.info->weight_count)),
      tensors_(std::make_unique<Tensor[]>(spec.info->weight_count)) {
  for (std::size_t i = 0; i < spec.info->weight_count; ++i) {
    if (!spec.weights[i].mutated) continue;
    const Tensor& initial = *weights.tensor(i);
    const std::size_t nbytes = initial.storage->nbytes;
    // The system's fresh pages are zero, so calloc touches none of a large block.
    memory_.emplace_back(static_cast<char*>(std::calloc(nbytes + kAlignment, 1)));
    if (memory_.back() == nullptr) throw std::bad_alloc();
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.back().get());
    Storage& storage = storages_[i];
    storage.references = Storage::kImmortal;
    storage.nbytes = nbytes;
    storage.data = memory_.back().get() + (kAlignment - address % kAlignment) % kAlignment;
    if (!spec.weights[i].zeros && nbytes != 0) std::memcpy(storage.data, initial.storage->data, nbytes);
    Tensor& tensor = tensors_[i];
    tensor.storage = &storage;
    tensor.dtype = initial.dtype;
    tensor.set_dims(initial.ndim, initial.sizes(), nullptr);
  }
}

}  // namespace aotbuild::detail
