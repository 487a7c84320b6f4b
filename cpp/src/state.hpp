// The buffers that a model writes to: one object of them for each session, from the initial values in the weights.
#ifndef AOTBUILD_SRC_STATE_HPP_
#define AOTBUILD_SRC_STATE_HPP_

#include <cstddef>
#include <memory>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "tensor.hpp"
#include "weights.hpp"
#include "workspace.hpp"

namespace aotbuild::detail {

class State {
 public:
  // On the CPU. Memory of buffers that begin as zeros comes to be only as calls write to it.
  State(const ModelSpec& spec, const WeightSet& weights);

  // The buffer that is weight `index`; null for a weight that no call writes to.
  Tensor* tensor(std::size_t index) const { return tensors_[index].storage != nullptr ? &tensors_[index] : nullptr; }

 private:
  std::vector<AlignedBuffer> memory_;
  std::unique_ptr<Storage[]> storages_;
  std::unique_ptr<Tensor[]> tensors_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_STATE_HPP_
