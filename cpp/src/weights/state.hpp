// The buffers that a model writes to: one object of them for each session, from the initial values in the weights.
#ifndef AOTBUILD_SRC_WEIGHTS_STATE_HPP_
#define AOTBUILD_SRC_WEIGHTS_STATE_HPP_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"
#include "weights/weights.hpp"

namespace aotbuild::detail {

class DeviceWeights;

class State {
 public:
  // On the CPU memory of buffers that begin as zeros comes to be only as calls write to it. On a device (null: the CPU)
  // all of it is there at once, in one block.
  State(const ModelSpec& spec, const WeightSet& weights, DeviceWeights* device);

  // A number that no other state of the process has or had: no addresses of another one are seen with it.
  std::uint64_t id() const { return id_; }

  // The buffer that is weight `index`; null for one that no call writes to, and for what is derived from weights.
  Tensor* tensor(std::size_t index) const {
    return index < count_ && tensors_[index].storage != nullptr ? &tensors_[index] : nullptr;
  }

 private:
  void begin_on_cpu(const ModelSpec& spec, const WeightSet& weights);
  void begin_on_device(const ModelSpec& spec, const WeightSet& weights, DeviceWeights& device);
  // The tensor that begins as `initial`, without data.
  Storage& describe(std::size_t index, const Tensor& initial);

  const std::uint64_t id_;
  const std::size_t count_;
  std::vector<AlignedBuffer> memory_;
  std::shared_ptr<void> device_memory_;
  std::unique_ptr<Storage[]> storages_;
  std::unique_ptr<Tensor[]> tensors_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_WEIGHTS_STATE_HPP_
