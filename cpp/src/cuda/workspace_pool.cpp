#include "cuda/workspace_pool.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace aotbuild::detail::cuda {

WorkspacePool::WorkspacePool(std::shared_ptr<CudaDevice> device, MemoryReclaimer& model, std::size_t graph_limit,
                             bool is_serial)
    : device_(std::move(device)), model_(model), graph_limit_(graph_limit), is_serial_(is_serial) {}

std::unique_ptr<CudaWorkspace> WorkspacePool::take(Stream stream) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    // The one used last, whose graphs and memory fit best; but not one whose work this call would have to wait for.
    // With state there is only one.
    const auto ready = std::find_if(free_.rbegin(), free_.rend(), [&](const auto& workspace) {
      return is_serial_ || workspace->is_ready_for(stream);
    });
    if (ready != free_.rend()) {
      std::unique_ptr<CudaWorkspace> workspace = std::move(*ready);
      free_.erase(std::next(ready).base());
      return workspace;
    }
  }
  return std::make_unique<CudaWorkspace>(device_, model_, graph_limit_);
}

void WorkspacePool::give_back(std::unique_ptr<CudaWorkspace> workspace) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  try {
    free_.push_back(std::move(workspace));
  } catch (...) {  // no memory for the list: the workspace is destroyed instead of kept
  }
}

void WorkspacePool::reclaim() noexcept {
  std::vector<std::unique_ptr<CudaWorkspace>> idle;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle.swap(free_);
  }
  idle.clear();
}

}  // namespace aotbuild::detail::cuda
