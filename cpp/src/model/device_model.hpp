// What the runtime asks of a model on a device other than the CPU. Implemented for CUDA by cuda_*.cpp, which is linked
// only into programs with CUDA models (ModelSpec::make_device_model).
#ifndef AOTBUILD_SRC_MODEL_DEVICE_MODEL_HPP_
#define AOTBUILD_SRC_MODEL_DEVICE_MODEL_HPP_

#include <cstdint>
#include <memory>

#include "aotbuild/detail/spec.h"
#include "weights/device_weights.hpp"

namespace aotbuild::detail {

struct CheckedCall;

// One model on one device, or a session of it. Any number of threads may call its functions.
class DeviceModel : public DeviceWeights {
 public:
  // The same model for another session: kernels and the memory of results are shared.
  virtual std::unique_ptr<DeviceModel> new_session() = 0;
  virtual void run(const CheckedCall& call) = 0;
  // The seed of the random numbers of the calls that follow.
  virtual void manual_seed(std::uint64_t seed) = 0;
  virtual void statistics(aotbuild_statistics* statistics) const = 0;
  // Captures the graph for the sizes of the call's inputs, whose data is not there. Throws Error if there is none.
  virtual void capture_graph(const CheckedCall& call) = 0;
  // Waits for all work that is queued on a stream of the caller's.
  virtual void synchronize(void* stream) = 0;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_MODEL_DEVICE_MODEL_HPP_
