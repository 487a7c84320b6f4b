// Brings the outputs of a run function to the caller's memory.
#ifndef AOTBUILD_SRC_CUDA_DELIVERY_HPP_
#define AOTBUILD_SRC_CUDA_DELIVERY_HPP_

#include <cstddef>
#include <vector>

#include "cuda/call.hpp"
#include "cuda/program.hpp"
#include "cuda/workspace.hpp"
#include "model/call.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail::cuda {

inline bool wants_device(const aotbuild_tensor& output) { return output.device.type == AOTBUILD_CUDA; }

// Of one call. The caller's outputs are described only at the end, when nothing can fail.
class OutputDelivery {
 public:
  OutputDelivery(const CudaProgram& program, CudaCall& cuda_call, CudaWorkspace& workspace, Stream stream,
                 const CheckedCall& call, OwnedHandles& made)
      : program_(program),
        device_(*program.device()),
        cuda_call_(cuda_call),
        workspace_(workspace),
        stream_(stream),
        call_(call),
        made_(made) {}

  void deliver();

 private:
  // Results that are views of inputs are copied before anything is written over the inputs.
  void detach_from_caller();
  void write_to_caller(std::size_t i, const Tensor& tensor);
  void allocate(std::size_t i, ResultBuilder* builder);
  // Queues the copy of `tensor` to host memory, in the strides of `layout`.
  void read(void* data, const Tensor& tensor, const Tensor& layout);
  // What goes to the caller's host memory comes to pinned memory first, all of it before the one wait.
  void read_to_staging();
  bool is_read(std::size_t i) const;

  const CudaProgram& program_;
  const CudaDevice& device_;
  CudaCall& cuda_call_;
  CudaWorkspace& workspace_;
  const Stream stream_;
  const CheckedCall& call_;
  OwnedHandles& made_;
  std::vector<TensorPtr> staged_;  // null for outputs that do not go to the caller's host memory
  bool reads_to_host_ = false;
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_DELIVERY_HPP_
