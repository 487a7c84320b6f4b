// What the runtime asks of a device other than the CPU. Implemented for CUDA by cuda_*.cpp, which is linked only into
// programs with CUDA models (ModelSpec::make_device_model).
#ifndef AOTBUILD_SRC_DEVICE_HPP_
#define AOTBUILD_SRC_DEVICE_HPP_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "tensor.hpp"

namespace aotbuild::detail {

struct CheckedCall;
class WeightSet;

// The memory and the copies of one call. Used by the thread that makes the call; all work is in one order.
class DeviceCall {
 public:
  virtual ~DeviceCall() = default;

  virtual aotbuild_device device() const noexcept = 0;
  // Uninitialised memory until `deallocate(*block)`.
  virtual void* allocate(std::size_t nbytes, void** block) = 0;
  virtual void deallocate(void* block) noexcept = 0;
  // The tensor of context_allocate.
  virtual TensorPtr allocate_output(ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes,
                                    const std::int64_t* strides, int output_index) = 0;

  // As copy() and fill() of copy.hpp, where a tensor lies on the device. What is copied to the CPU is there on return.
  virtual void copy(Tensor& destination, const Tensor& source, const char* function) = 0;
  virtual void fill(Tensor& destination, const void* value, const char* function) = 0;
  // Both lie on the device.
  virtual void copy_bytes(void* destination, const void* source, std::size_t nbytes, const char* function) = 0;
};

// Bytes that go to `offset` of a block on the device.
struct UploadRegion {
  const void* source;
  std::size_t nbytes;
  std::size_t offset;
};

// One model on one device, or a session of it. Any number of threads may call its functions.
class DeviceModel {
 public:
  virtual ~DeviceModel() = default;

  virtual aotbuild_device device() const noexcept = 0;
  // The same model for another session: kernels and the memory of results are shared.
  virtual std::unique_ptr<DeviceModel> new_session() = 0;
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

#endif  // AOTBUILD_SRC_DEVICE_HPP_
