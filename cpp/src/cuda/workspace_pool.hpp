// The workspaces of a session: each call has one to itself.
#ifndef AOTBUILD_SRC_CUDA_WORKSPACE_POOL_HPP_
#define AOTBUILD_SRC_CUDA_WORKSPACE_POOL_HPP_

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/workspace.hpp"

namespace aotbuild::detail::cuda {

// Any number of threads may call its functions.
class WorkspacePool {
 public:
  // A workspace for the length of a scope. The context must be current.
  class Lease {
   public:
    // For a call on `stream`; null: the workspace's own.
    Lease(WorkspacePool& pool, Stream stream) : pool_(pool), workspace_(pool.take(stream)) {}
    ~Lease() { pool_.give_back(std::move(workspace_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    CudaWorkspace& operator*() { return *workspace_; }

   private:
    WorkspacePool& pool_;
    std::unique_ptr<CudaWorkspace> workspace_;
  };

  // `is_serial`: calls wait for one another anyway, as those of a model with state do.
  WorkspacePool(std::shared_ptr<CudaDevice> device, MemoryReclaimer& model, std::size_t graph_limit, bool is_serial);

  // Gives those that no call uses back to the driver.
  void reclaim() noexcept;

  // Calls `function` with each that no call uses.
  template <typename Function>
  void for_each_free(const Function& function) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const std::unique_ptr<CudaWorkspace>& workspace : free_) function(*workspace);
  }

 private:
  std::unique_ptr<CudaWorkspace> take(Stream stream);
  void give_back(std::unique_ptr<CudaWorkspace> workspace) noexcept;

  const std::shared_ptr<CudaDevice> device_;
  MemoryReclaimer& model_;
  const std::size_t graph_limit_;
  const bool is_serial_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<CudaWorkspace>> free_;
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_WORKSPACE_POOL_HPP_
