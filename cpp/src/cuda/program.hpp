// What the sessions of a model on one CUDA device have in common: kernels of all methods, and the memory of results.
#ifndef AOTBUILD_SRC_CUDA_PROGRAM_HPP_
#define AOTBUILD_SRC_CUDA_PROGRAM_HPP_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "aotbuild/detail/cuda_spec.hpp"
#include "cuda/collectives.hpp"
#include "cuda/kernels.hpp"
#include "cuda/memory.hpp"
#include "cuda/workspace.hpp"

namespace aotbuild::detail::cuda {

// One method, or what a model without methods runs.
struct CudaMethod {
  const aotbuild_method_info info;
  const MethodSpec* spec;  // null: the model has no methods
  const VariantSpec& variant;
  CudaKernels kernels;

  // How many weights the code counts, without what is derived from them.
  std::size_t weight_count(const ModelSpec& model) const;
  // The model's number of what the code has a number for.
  std::size_t number_of(std::size_t index) const {
    return spec == nullptr ? index : static_cast<std::size_t>(spec->weights.indices[index]);
  }
};

class CudaProgram final : public MemoryReclaimer {
 public:
  // Throws Error(AOTBUILD_UNSUPPORTED_HARDWARE).
  CudaProgram(const ModelSpec& spec, const aotbuild_options& options);
  CudaProgram(const CudaProgram&) = delete;
  CudaProgram& operator=(const CudaProgram&) = delete;

  const ModelSpec& spec() const { return spec_; }
  const std::shared_ptr<CudaDevice>& device() const { return device_; }
  const std::vector<std::unique_ptr<const CudaMethod>>& methods() const { return methods_; }
  ResultPool& results() const { return *results_; }
  // Of a model that is one rank of several; else null.
  Communicator* communicator() const { return communicator_.get(); }

  // As of DeviceModel.
  bool reads_weight(std::size_t index) const noexcept;
  std::size_t derived_count() const noexcept { return derived_count_; }

  // Throws if a kernel of a call in `workspace` was given an index out of bounds since the last time. `earlier`: the
  // call has returned.
  void check_indices(CudaWorkspace& workspace, bool earlier) const;

  // One block of device memory, for which all sessions give back what they can spare if need be. The context must be
  // current. Throws Error(AOTBUILD_OUT_OF_MEMORY).
  std::shared_ptr<DeviceBuffer> allocate(std::size_t nbytes, const char* kind);

  // Sessions, from when they can spare memory until they are destroyed.
  void add(MemoryReclaimer& session);
  void remove(MemoryReclaimer& session) noexcept;
  // Gives back what all sessions can spare, and the memory of old results.
  void reclaim() noexcept override;

 private:
  // The name of the kernel that has written `code` (context_index_error); null for none.
  const char* kernel_of(std::int32_t code) const;

  const ModelSpec& spec_;
  const std::shared_ptr<CudaDevice> device_;
  std::vector<std::unique_ptr<const CudaMethod>> methods_;
  std::shared_ptr<ResultPool> results_;
  std::unique_ptr<Communicator> communicator_;
  std::size_t derived_count_ = 0;
  std::mutex sessions_mutex_;
  std::vector<MemoryReclaimer*> sessions_;
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_PROGRAM_HPP_
