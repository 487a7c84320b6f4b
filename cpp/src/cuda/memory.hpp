// Cached memory: blocks of one call at a time, and the memory of results, which any thread may free.
#ifndef AOTBUILD_SRC_CUDA_MEMORY_HPP_
#define AOTBUILD_SRC_CUDA_MEMORY_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/size_class.hpp"
#include "cuda/device.hpp"

namespace aotbuild::detail::cuda {

// Gives cached memory back to the driver when there is none left.
class MemoryReclaimer {
 public:
  virtual ~MemoryReclaimer() = default;
  virtual void reclaim() noexcept = 0;
};

// A block of device memory, kept when it is not in use.
struct Block {
  DevicePointer data;
  std::size_t capacity;
  std::uint8_t size_class;
  int pins = 0;                 // captured graphs that have its address
  std::uint64_t last_call = 0;  // that used it, counted by the cache
};

// The device memory of calls that run one after the other, in the order of their work on the device. A block that was
// freed may be handed out at once: whoever used it before comes first.
class BlockCache {
 public:
  BlockCache(std::shared_ptr<CudaDevice> device, MemoryReclaimer& reclaimer);
  // No queued work may use the blocks any more.
  ~BlockCache();
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // Throws Error(AOTBUILD_OUT_OF_MEMORY).
  Block* allocate(std::size_t nbytes);
  void deallocate(Block* block) noexcept;

  // From here until `end_pinning`, every block handed out is appended to `blocks` and stays allocated until `unpin`.
  // Other calls of this cache may use it all the same.
  void begin_pinning(std::vector<Block*>* blocks) { pinning_ = blocks; }
  void end_pinning() noexcept { pinning_ = nullptr; }
  void unpin(const std::vector<Block*>& blocks) noexcept;
  // While a graph's memory holds what a call reads or makes, pinned blocks are not handed out.
  void reserve_pinned(bool reserve) noexcept { reserves_pinned_ = reserve; }

  // After a call: gives free blocks back to the driver while they are more than twice the largest need of any call, as
  // long as there are some that the last calls did not use. (Blocks do not always fit what is asked for next, so one
  // call may well use more than twice of what it needs at a time; the next call will use it again.)
  void trim() noexcept;
  // Gives free blocks back, down to `keep_bytes`, that none of the last `unused_calls` calls has used.
  void release_free(std::size_t keep_bytes, std::uint64_t unused_calls = 0) noexcept;

 private:
  Block* take_free(std::size_t nbytes, std::size_t size_class);
  void release(Block* block) noexcept;

  std::shared_ptr<CudaDevice> device_;
  MemoryReclaimer& reclaimer_;
  std::array<std::vector<Block*>, kSizeClassCount> free_blocks_;
  std::vector<Block*>* pinning_ = nullptr;
  bool reserves_pinned_ = false;
  std::size_t cached_bytes_ = 0;  // free and not pinned
  std::size_t live_bytes_ = 0;
  std::size_t peak_bytes_ = 0;
  std::uint64_t calls_ = 0;
};

// Memory of outputs: taken by calls, given back when results are destroyed, whenever and by whatever thread that is.
// Held by every result, so a result may outlive its model.
class ResultPool : public std::enable_shared_from_this<ResultPool> {
 public:
  explicit ResultPool(std::shared_ptr<CudaDevice> device) : device_(std::move(device)) {}
  ~ResultPool() { release_free(); }
  ResultPool(const ResultPool&) = delete;
  ResultPool& operator=(const ResultPool&) = delete;

  // Memory for a call on `stream`, which is null when the call ends by waiting. What a call on a stream has left
  // behind is only for calls on the same stream, since work that reads it may still be queued there.
  std::shared_ptr<void> allocate_device(std::size_t nbytes, Stream stream, MemoryReclaimer& reclaimer);
  // Pinned memory.
  std::shared_ptr<void> allocate_host(std::size_t nbytes, MemoryReclaimer& reclaimer);
  void release_free() noexcept;

 private:
  struct Entry {
    void* data;
    std::size_t nbytes;
    Stream stream;
  };
  struct Kind {
    std::vector<Entry> free_entries;
    std::size_t cached_bytes = 0;
    std::size_t live_bytes = 0;
    std::size_t peak_bytes = 0;
  };

  std::shared_ptr<void> allocate(bool on_host, std::size_t nbytes, Stream stream, MemoryReclaimer& reclaimer);
  void give_back(bool on_host, const Entry& entry) noexcept;
  void release(bool on_host, const Entry& entry) noexcept;

  std::shared_ptr<CudaDevice> device_;
  std::mutex mutex_;
  Kind on_device_;
  Kind on_host_;
};

// Pinned memory that grows. Used by calls that run one after the other.
class PinnedBuffer {
 public:
  explicit PinnedBuffer(std::shared_ptr<CudaDevice> device) : device_(std::move(device)) {}
  ~PinnedBuffer() {
    const ReleaseScope scope(*device_);
    release();
  }
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;

  // At least `nbytes`, valid until the next call. No queued work may use what it returned before.
  char* reserve(std::size_t nbytes);

 private:
  void release() noexcept;

  std::shared_ptr<CudaDevice> device_;
  char* data_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_MEMORY_HPP_
