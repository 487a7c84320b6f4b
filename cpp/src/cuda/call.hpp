// One pass of a model's run function over a CUDA device: launches and copies on one stream, or into one graph.
#ifndef AOTBUILD_SRC_CUDA_CALL_HPP_
#define AOTBUILD_SRC_CUDA_CALL_HPP_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/collectives.hpp"
#include "cuda/kernels.hpp"
#include "cuda/memory.hpp"
#include "cuda/workspace.hpp"
#include "model/call.hpp"
#include "tensor/device_call.hpp"
#include "tensor/random_state.hpp"

namespace aotbuild::detail::cuda {

// Seeds for kernels that make random numbers from them: what PyTorch's generator of a GPU gives torch.randint over all
// of int64, which is where torch.compile's code has its seeds from. Any thread may take some.
class SeedGenerator {
 public:
  void manual_seed(std::uint64_t seed);
  std::vector<std::int64_t> next(std::size_t count);

 private:
  std::mutex mutex_;
  std::uint64_t seed_ = kDefaultSeed;
  std::uint64_t draws_ = 0;  // since the seed was set
};

class CudaCall final : public DeviceCall {
 public:
  // The device's part of the thread's current workspace for as long as this lives, longer than all of the call's
  // tensors. Null `call`: outputs are the pass's own. `captures`: the stream is being captured into a graph.
  CudaCall(const std::shared_ptr<CudaDevice>& device, const CudaKernels& kernels, CudaWorkspace& workspace,
           ResultPool& results, SeedGenerator& seeds, Communicator* communicator, Stream stream,
           const CheckedCall* call, bool captures);
  ~CudaCall() override;
  CudaCall(const CudaCall&) = delete;
  CudaCall& operator=(const CudaCall&) = delete;

  aotbuild_device device() const noexcept override { return {AOTBUILD_CUDA, device_->index()}; }
  void* allocate(std::size_t nbytes, void** block) override;
  void deallocate(void* block) noexcept override;
  TensorPtr allocate_output(ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes, const std::int64_t* strides,
                            int output_index) override;
  void copy(Tensor& destination, const Tensor& source, const char* function) override;
  void fill(Tensor& destination, const void* value, const char* function) override;
  void copy_bytes(void* destination, const void* source, std::size_t nbytes, const char* function) override;

  // As context_collective.
  void collective(Collective operation, const Tensor& source, Tensor& target, int argument);
  // As context_launch and context_aligned.
  void launch(int kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z, void** arguments);
  Tensor* aligned(Tensor& tensor);
  // As context_index_error.
  void* index_error() { return workspace_.index_error(); }
  // As context_random_seeds. A graph reads its seeds from memory that `refill_seeds` writes before each replay.
  void random_seeds(Tensor& seeds);
  void refill_seeds(const std::vector<SeedBlock>& blocks);
  const std::vector<SeedBlock>& seed_blocks() const { return seed_blocks_; }

  // Memory for the allocated output `i`, at most once for each.
  void* allocate_result(std::size_t i, std::size_t nbytes, bool on_host);
  // That memory, if output `i` has it.
  std::shared_ptr<void> take_result(std::size_t i) { return std::move(result_blocks_[i]); }
  const void* result_data(std::size_t i) const { return result_blocks_[i].get(); }

  bool is_capturing() const { return captures_; }
  // Why the run function cannot be captured, when it has failed for that; else empty.
  const std::string& obstacle() const { return obstacle_; }

 private:
  // The stream, for work that is no kernel.
  Stream copy_stream() {
    follows_kernel_ = false;
    return stream_;
  }
  void write_seeds(void* data, std::size_t count);
  // Throws while a graph is captured: what the host reads or writes then would be the same in every replay.
  void need_host(const char* function, const char* what);
  void copy_on_device(Tensor& destination, const Tensor& source, const char* function);
  void copy_from_host(Tensor& destination, const Tensor& source, const char* function);
  void copy_to_host(Tensor& destination, const Tensor& source, const char* function);

  const std::shared_ptr<CudaDevice> device_;
  const CudaKernels& kernels_;
  CudaWorkspace& workspace_;
  ResultPool& results_;
  SeedGenerator& seeds_;
  Communicator* const communicator_;
  const Stream stream_;
  const CheckedCall* const call_;
  const bool captures_;
  bool follows_kernel_ = false;  // the last work of this pass is a kernel
  std::vector<std::shared_ptr<void>> result_blocks_;
  std::vector<TensorPtr> kept_;  // until the run function has returned
  std::vector<SeedBlock> seed_blocks_;
  std::string obstacle_;
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_CALL_HPP_
