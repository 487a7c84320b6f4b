// The weights of one model object: tensors and packed layers, complete and checked, never changed after loading.
#ifndef AOTBUILD_SRC_WEIGHTS_WEIGHTS_HPP_
#define AOTBUILD_SRC_WEIGHTS_WEIGHTS_HPP_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "base/arena.hpp"
#include "base/mapped_file.hpp"
#include "kernels/convolution.hpp"
#include "kernels/linear.hpp"
#include "kernels/mlp.hpp"
#include "kernels/quantized.hpp"
#include "kernels/recurrent.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"
#include "weights/candidates.hpp"

namespace aotbuild::detail {

class DeviceWeights;

class WeightSet {
 public:
  // With a device the tensors lie there. Throws Error(AOTBUILD_INVALID_WEIGHTS).
  WeightSet(const ModelSpec& spec, const WeightsSource& source, DeviceWeights* device);

  // The model's weights, and then what the device has derived from them.
  std::size_t size() const { return count_; }
  // The handle is shared by all calls, and nothing writes to its data: what calls write to only begins like it.
  Tensor* tensor(std::size_t index) const { return &tensors_[index]; }
  std::size_t linear_count() const { return linears_.size(); }
  const PackedLinear& linear(std::size_t slot) const { return linears_[slot]; }
  std::size_t mlp_count() const { return mlps_.size(); }
  const PackedMlp& mlp(std::size_t slot) const { return mlps_[slot]; }
  std::size_t convolution_count() const { return convolutions_.size(); }
  const PackedConvolution& convolution(std::size_t slot) const { return convolutions_[slot]; }
  std::size_t quantized_count() const { return quantized_.size(); }
  const QuantizedLinear& quantized(std::size_t slot) const { return quantized_[slot]; }
  std::size_t recurrent_count() const { return recurrent_.size(); }
  const PackedRecurrent& recurrent(std::size_t slot) const { return recurrent_[slot]; }

 private:
  class Loader;

  std::size_t count_;
  std::shared_ptr<void> device_memory_;
  std::shared_ptr<void> derived_memory_;
  std::vector<MappedFile> files_;
  std::vector<AlignedBuffer> copies_;
  std::unique_ptr<Storage[]> storages_;
  std::unique_ptr<Tensor[]> tensors_;
  Arena arena_;
  std::vector<PackedLinear> linears_;
  std::vector<PackedMlp> mlps_;
  std::vector<PackedConvolution> convolutions_;
  std::vector<QuantizedLinear> quantized_;
  std::vector<PackedRecurrent> recurrent_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_WEIGHTS_WEIGHTS_HPP_
