// Where a model's weights and state lie that does not run on the CPU.
#ifndef AOTBUILD_SRC_WEIGHTS_DEVICE_WEIGHTS_HPP_
#define AOTBUILD_SRC_WEIGHTS_DEVICE_WEIGHTS_HPP_

#include <cstddef>
#include <memory>
#include <vector>

#include "aotbuild/c_api.h"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {

class WeightSet;

// Bytes that go to `offset` of a block on the device.
struct UploadRegion {
  const void* source;
  std::size_t nbytes;
  std::size_t offset;
};

// Any number of threads may call its functions.
class DeviceWeights {
 public:
  virtual ~DeviceWeights() = default;

  virtual aotbuild_device device() const noexcept = 0;
  // One block of `nbytes`, filled from `regions` of the host when this returns, freed with the result.
  virtual std::shared_ptr<void> upload(const std::vector<UploadRegion>& regions, std::size_t nbytes) = 0;
  // The same for the buffers that a session's calls write to: regions are of the device, and zeros where there is no
  // source.
  virtual std::shared_ptr<void> make_state(const std::vector<UploadRegion>& regions, std::size_t nbytes) = 0;
  // Whether a run function reads weight `index`; otherwise only `derive` does.
  virtual bool reads_weight(std::size_t index) const noexcept = 0;
  // What run functions read beside the weights: `derived_count()` tensors computed from them. Their memory is the
  // result's; null when there are none.
  virtual std::size_t derived_count() const noexcept = 0;
  virtual std::shared_ptr<void> derive(const WeightSet& weights, Storage* storages, Tensor* tensors) = 0;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_WEIGHTS_DEVICE_WEIGHTS_HPP_
