#include "tensor/workspace.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "base/error.hpp"
#include "base/sanitizer.hpp"
#include "base/size_class.hpp"
#include "base/system.hpp"
#include "tensor/device_call.hpp"

namespace aotbuild::detail {

namespace {

thread_local Workspace* current_workspace = nullptr;

void* allocate_exactly(std::size_t nbytes) {
  void* memory = os::allocate_memory(kAlignment, std::max<std::size_t>(nbytes, 1));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

Workspace* Workspace::current() noexcept { return current_workspace; }

WorkspaceScope::WorkspaceScope(Workspace& workspace) noexcept : previous_(current_workspace) {
  current_workspace = &workspace;
}

DeviceCall& current_device_call(const char* function) {
  Workspace* workspace = Workspace::current();
  if (workspace == nullptr || workspace->device_call() == nullptr) {
    fail(function, "a tensor lies on a device, but this is no call of a model for a device");
  }
  return *workspace->device_call();
}

WorkspaceScope::~WorkspaceScope() { current_workspace = previous_; }

Workspace::Workspace() = default;

Workspace::~Workspace() {
  for (FreeList& list : free_blocks_) {
    while (list.head != nullptr) os::free_memory(std::exchange(list.head, list.head->next));
  }
  while (free_tensors_ != nullptr) delete std::exchange(free_tensors_, free_tensors_->next_free);
  while (free_storages_ != nullptr) delete std::exchange(free_storages_, free_storages_->next_free);
}

void* Workspace::allocate(std::size_t nbytes, std::uint8_t* size_class) {
  const std::size_t wanted = size_class_of(nbytes);
  if (wanted >= kSizeClassCount) throw std::bad_alloc();
  // A block of up to twice the size is better than a new one: fresh memory costs a page fault for each 4 KiB.
  const std::size_t last = std::min(wanted + 4, kSizeClassCount - 1);
  for (std::size_t c = wanted; c <= last; ++c) {
    FreeList& list = free_blocks_[c];
    if (list.head == nullptr) continue;
    void* block = std::exchange(list.head, list.head->next);
    list.last_use = calls_;
    cached_bytes_ -= size_of_class(c);
    live_bytes_ += size_of_class(c);
    peak_bytes_ = std::max(peak_bytes_, live_bytes_);
    *size_class = static_cast<std::uint8_t>(c);
    return block;
  }
  // The sanitizer sees no access beyond a tensor in a block that is larger, and none to a block that is kept.
  void* block = kIsAddressSanitized ? allocate_exactly(nbytes) : allocate_aligned(size_of_class(wanted));
  live_bytes_ += size_of_class(wanted);
  peak_bytes_ = std::max(peak_bytes_, live_bytes_);
  *size_class = static_cast<std::uint8_t>(wanted);
  return block;
}

void Workspace::deallocate(void* block, std::uint8_t size_class) noexcept {
  if (kIsAddressSanitized) {
    live_bytes_ -= size_of_class(size_class);
    os::free_memory(block);
    return;
  }
  FreeList& list = free_blocks_[size_class];
  list.head = new (block) Block{list.head};
  list.last_use = calls_;
  live_bytes_ -= size_of_class(size_class);
  cached_bytes_ += size_of_class(size_class);
}

void* Workspace::detach(Storage* storage) noexcept {
  live_bytes_ -= size_of_class(storage->size_class);
  storage->owned = false;
  return storage->data;
}

template <typename T>
T* Workspace::take(T*& free) {
  if (free != nullptr) return std::exchange(free, free->next_free);
  auto* made = new T;
  made->workspace = this;
  return made;
}

Tensor* Workspace::new_tensor() {
  Tensor* tensor = take(free_tensors_);
  tensor->offset = 0;
  return tensor;
}

Storage* Workspace::new_storage() {
  Storage* storage = take(free_storages_);
  storage->references = 1;
  storage->owned = false;
  storage->device = {AOTBUILD_CPU, 0};
  return storage;
}

void Workspace::recycle(Tensor* tensor) noexcept {
  tensor->clear();
  tensor->next_free = free_tensors_;
  free_tensors_ = tensor;
}

void Workspace::recycle(Storage* storage) noexcept {
  if (storage->owned && storage->on_device()) {
    device_call_->deallocate(storage->device_block);
  } else if (storage->owned) {
    deallocate(storage->data, storage->size_class);
  }
  storage->next_free = free_storages_;
  free_storages_ = storage;
}

void Workspace::trim() noexcept {
  ++calls_;
  while (cached_bytes_ > 2 * peak_bytes_) {
    std::size_t oldest = kSizeClassCount;
    for (std::size_t c = 0; c < kSizeClassCount; ++c) {
      if (free_blocks_[c].head == nullptr) continue;
      if (oldest == kSizeClassCount || free_blocks_[c].last_use < free_blocks_[oldest].last_use) oldest = c;
    }
    FreeList& list = free_blocks_[oldest];
    os::free_memory(std::exchange(list.head, list.head->next));
    cached_bytes_ -= size_of_class(oldest);
  }
}

std::unique_ptr<Workspace> WorkspacePool::take() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!free_.empty()) {
      std::unique_ptr<Workspace> workspace = std::move(free_.back());
      free_.pop_back();
      return workspace;
    }
  }
  return std::make_unique<Workspace>();
}

void WorkspacePool::give_back(std::unique_ptr<Workspace> workspace) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  try {
    free_.push_back(std::move(workspace));
  } catch (...) {  // no memory for the list: the workspace is freed instead of kept
  }
}

}  // namespace aotbuild::detail
