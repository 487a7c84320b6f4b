// The memory of one call at a time: freed blocks, tensor objects and bound primitives are kept for the next call.
#ifndef AOTBUILD_SRC_TENSOR_WORKSPACE_HPP_
#define AOTBUILD_SRC_TENSOR_WORKSPACE_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/aligned_memory.hpp"
#include "base/size_class.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {

class DeviceCall;
struct RandomState;

// What kernels keep in a workspace from one call to the next, such as primitives bound to memory.
class KernelCache {
 public:
  virtual ~KernelCache() = default;
};

// Used by one thread at a time. In the steady state (shapes seen before) nothing is allocated from the heap.
class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // The workspace of the call that this thread is in; null outside of calls.
  static Workspace* current() noexcept;

  void* allocate(std::size_t nbytes, std::uint8_t* size_class);
  void deallocate(void* block, std::uint8_t size_class) noexcept;
  // Takes the memory of an owned storage out of the workspace: it is for os::free_memory from now on.
  void* detach(Storage* storage) noexcept;

  Tensor* new_tensor();
  Storage* new_storage();
  void recycle(Tensor* tensor) noexcept;
  void recycle(Storage* storage) noexcept;

  // Null until the kernels that use one set it.
  KernelCache* kernel_cache() const noexcept { return kernel_cache_.get(); }
  void set_kernel_cache(std::unique_ptr<KernelCache> cache) noexcept { kernel_cache_ = std::move(cache); }

  // The part of the current call that runs on a device; null on the CPU. All storages on the device end before it does.
  DeviceCall* device_call() const noexcept { return device_call_; }
  void set_device_call(DeviceCall* call) noexcept { device_call_ = call; }

  // What the current call draws random numbers from; null: no call has said.
  RandomState* random_state() const noexcept { return random_state_; }
  void set_random_state(RandomState* state) noexcept { random_state_ = state; }

  // After a call: gives cached blocks back to the heap while they are more than twice the largest need of any call,
  // those first that have not been used for longest. So shapes that never repeat do not make the cache grow.
  void trim() noexcept;
  std::size_t cached_bytes() const { return cached_bytes_; }
  std::size_t live_bytes() const { return live_bytes_; }

 private:
  friend class WorkspaceScope;
  struct Block {
    Block* next;
  };
  struct FreeList {
    Block* head = nullptr;
    std::uint64_t last_use = 0;
  };

  std::array<FreeList, kSizeClassCount> free_blocks_;
  DeviceCall* device_call_ = nullptr;
  RandomState* random_state_ = nullptr;
  // One of a list of free objects, or a new one.
  template <typename T>
  T* take(T*& free);

  Tensor* free_tensors_ = nullptr;
  Storage* free_storages_ = nullptr;
  std::size_t cached_bytes_ = 0;
  std::size_t live_bytes_ = 0;
  std::size_t peak_bytes_ = 0;
  std::uint64_t calls_ = 0;
  std::unique_ptr<KernelCache> kernel_cache_;
};

// That of the thread's current workspace. Throws where there is none; `function` begins the text.
DeviceCall& current_device_call(const char* function);

// Makes a workspace the thread's current one, and the previous one again at the end.
class WorkspaceScope {
 public:
  explicit WorkspaceScope(Workspace& workspace) noexcept;
  ~WorkspaceScope();
  WorkspaceScope(const WorkspaceScope&) = delete;
  WorkspaceScope& operator=(const WorkspaceScope&) = delete;

 private:
  Workspace* previous_;
};

// The thread's current workspace, or one of its own for code that runs outside of calls.
class CurrentOrOwnWorkspace {
 public:
  CurrentOrOwnWorkspace() {
    if (Workspace::current() == nullptr) own_ = std::make_unique<Workspace>();
  }
  Workspace& operator*() { return own_ != nullptr ? *own_ : *Workspace::current(); }
  Workspace* operator->() { return &**this; }

 private:
  std::unique_ptr<Workspace> own_;
};

// Memory of the workspace for the length of a scope.
class ScratchBuffer {
 public:
  ScratchBuffer(Workspace& workspace, std::size_t nbytes) : workspace_(workspace) {
    if (nbytes != 0) data_ = workspace_.allocate(nbytes, &size_class_);
  }
  ~ScratchBuffer() {
    if (data_ != nullptr) workspace_.deallocate(data_, size_class_);
  }
  ScratchBuffer(const ScratchBuffer&) = delete;
  ScratchBuffer& operator=(const ScratchBuffer&) = delete;
  void* data() const { return data_; }

 private:
  Workspace& workspace_;
  void* data_ = nullptr;
  std::uint8_t size_class_ = 0;
};

// The workspaces of one model: as many as there have ever been calls at the same time.
class WorkspacePool {
 public:
  std::unique_ptr<Workspace> take();
  void give_back(std::unique_ptr<Workspace> workspace) noexcept;

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> free_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_TENSOR_WORKSPACE_HPP_
