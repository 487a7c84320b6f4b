#include "cuda/memory.hpp"

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

namespace aotbuild::detail::cuda {

namespace {

constexpr std::size_t kSmallest = 512;                    // what cuMemAlloc aligns to at least twice over
constexpr std::size_t kLargeUnit = std::size_t{1} << 21;  // the driver's pages of large blocks: 2 MiB

// Sizes that come in turns find their blocks again.
constexpr std::uint64_t kKeptCalls = 8;

std::size_t round_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }

// A size class may waste a quarter; of large blocks, at most a page is wasted.
std::size_t capacity_for(std::size_t nbytes, std::size_t size_class) {
  return std::min(size_of_class(size_class), round_up(nbytes, nbytes < 16 * kLargeUnit ? kSmallest : kLargeUnit));
}

}  // namespace

BlockCache::BlockCache(std::shared_ptr<CudaDevice> device, MemoryReclaimer& reclaimer)
    : device_(std::move(device)), reclaimer_(reclaimer) {}

BlockCache::~BlockCache() {
  const ReleaseScope scope(*device_);
  for (std::vector<Block*>& blocks : free_blocks_) {
    for (Block* block : blocks) release(block);
  }
}

void BlockCache::release(Block* block) noexcept {
  device_->free(block->data, block->capacity);
  delete block;
}

Block* BlockCache::take_free(std::size_t nbytes, std::size_t size_class) {
  // A block of up to one and a half times the size is better than a new one.
  const std::size_t last = std::min(size_class + 2, kSizeClassCount - 1);
  for (std::size_t c = size_class; c <= last; ++c) {
    std::vector<Block*>& blocks = free_blocks_[c];
    for (std::size_t i = blocks.size(); i-- > 0;) {
      Block* block = blocks[i];
      if (block->capacity < nbytes || (reserves_pinned_ && block->pins != 0)) continue;
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(i));
      if (block->pins == 0) cached_bytes_ -= block->capacity;
      return block;
    }
  }
  return nullptr;
}

Block* BlockCache::allocate(std::size_t nbytes) {
  nbytes = std::max(nbytes, kSmallest);
  const std::size_t size_class = size_class_of(nbytes);
  if (size_class >= kSizeClassCount) device_->fail_out_of_memory(nbytes, "a tensor");
  Block* block = take_free(nbytes, size_class);
  if (block == nullptr) {
    auto made = std::make_unique<Block>();
    made->capacity = capacity_for(nbytes, size_class);
    made->size_class = static_cast<std::uint8_t>(size_class);
    made->data = device_->try_allocate(made->capacity);
    // While a graph is captured nothing can be waited for: the call is repeated without.
    if (made->data == 0 && pinning_ == nullptr) {
      reclaimer_.reclaim();
      made->data = device_->try_allocate(made->capacity);
    }
    if (made->data == 0) device_->fail_out_of_memory(made->capacity, "a tensor");
    block = made.release();
  }
  block->last_call = calls_;
  live_bytes_ += block->capacity;
  peak_bytes_ = std::max(peak_bytes_, live_bytes_);
  if (pinning_ != nullptr) {
    ++block->pins;
    pinning_->push_back(block);
  }
  return block;
}

void BlockCache::deallocate(Block* block) noexcept {
  live_bytes_ -= block->capacity;
  if (block->pins == 0) cached_bytes_ += block->capacity;
  try {
    free_blocks_[block->size_class].push_back(block);
  } catch (const std::bad_alloc&) {  // no memory for the list: the block is lost until the context goes
  }
}

void BlockCache::unpin(const std::vector<Block*>& blocks) noexcept {
  for (Block* block : blocks) {
    if (--block->pins == 0) cached_bytes_ += block->capacity;  // graphs are dropped between calls: it is free
  }
}

void BlockCache::trim() noexcept {
  if (cached_bytes_ > 2 * peak_bytes_) release_free(2 * peak_bytes_, kKeptCalls);
  if (cached_bytes_ > 4 * peak_bytes_) release_free(4 * peak_bytes_, 1);
  ++calls_;
}

void BlockCache::release_free(std::size_t keep_bytes, std::uint64_t unused_calls) noexcept {
  for (std::size_t c = kSizeClassCount; c-- > 0 && cached_bytes_ > keep_bytes;) {
    std::vector<Block*>& blocks = free_blocks_[c];
    for (std::size_t i = 0; i < blocks.size() && cached_bytes_ > keep_bytes;) {
      if (blocks[i]->pins != 0 || blocks[i]->last_call + unused_calls > calls_) {
        ++i;
        continue;
      }
      cached_bytes_ -= blocks[i]->capacity;
      release(blocks[i]);
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
}

std::shared_ptr<void> ResultPool::allocate_device(std::size_t nbytes, Stream stream, MemoryReclaimer& reclaimer) {
  return allocate(false, nbytes, stream, reclaimer);
}

std::shared_ptr<void> ResultPool::allocate_host(std::size_t nbytes, MemoryReclaimer& reclaimer) {
  return allocate(true, nbytes, nullptr, reclaimer);
}

std::shared_ptr<void> ResultPool::allocate(bool on_host, std::size_t nbytes, Stream stream,
                                           MemoryReclaimer& reclaimer) {
  nbytes = std::max(nbytes, kSmallest);
  const std::size_t size_class = size_class_of(nbytes);
  if (size_class >= kSizeClassCount) device_->fail_out_of_memory(nbytes, "an output");
  Entry entry{nullptr, capacity_for(nbytes, size_class), stream};
  Kind& kind = on_host ? on_host_ : on_device_;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto find = [&](Stream of) {
      return std::find_if(kind.free_entries.rbegin(), kind.free_entries.rend(), [&](const Entry& candidate) {
        return candidate.stream == of && candidate.nbytes >= nbytes && candidate.nbytes <= nbytes + nbytes / 2;
      });
    };
    // What is only for this stream first, or the stream would collect more and more of it.
    auto found = find(stream);
    if (found == kind.free_entries.rend()) found = find(nullptr);
    if (found != kind.free_entries.rend()) {
      entry.data = found->data;
      entry.nbytes = found->nbytes;
      kind.cached_bytes -= entry.nbytes;
      kind.free_entries.erase(std::next(found).base());
    }
  }
  if (entry.data == nullptr) {
    const auto attempt = [&] {
      entry.data = on_host ? device_->try_allocate_host(entry.nbytes)
                           : reinterpret_cast<void*>(device_->try_allocate(entry.nbytes));  // NOLINT
    };
    attempt();
    if (entry.data == nullptr) {
      reclaimer.reclaim();
      attempt();
    }
    if (entry.data == nullptr) {
      device_->fail_out_of_memory(entry.nbytes, on_host ? "an output in pinned memory" : "an output");
    }
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    kind.live_bytes += entry.nbytes;
    kind.peak_bytes = std::max(kind.peak_bytes, kind.live_bytes);
  }
  return {entry.data, [pool = shared_from_this(), on_host, entry](void*) { pool->give_back(on_host, entry); }};
}

void ResultPool::give_back(bool on_host, const Entry& entry) noexcept {
  std::vector<Entry> surplus;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    Kind& kind = on_host ? on_host_ : on_device_;
    kind.live_bytes -= entry.nbytes;
    try {
      kind.free_entries.push_back(entry);
      kind.cached_bytes += entry.nbytes;
      // The oldest go first.
      while (kind.cached_bytes > 2 * kind.peak_bytes) {
        surplus.push_back(kind.free_entries.front());
        kind.cached_bytes -= kind.free_entries.front().nbytes;
        kind.free_entries.erase(kind.free_entries.begin());
      }
    } catch (const std::bad_alloc&) {  // no memory for the lists: the block is lost until the context goes
    }
  }
  if (surplus.empty()) return;
  const ReleaseScope scope(*device_);
  for (const Entry& old : surplus) release(on_host, old);
}

void ResultPool::release(bool on_host, const Entry& entry) noexcept {
  if (on_host) {
    device_->free_host(entry.data);
  } else {
    device_->free(device_pointer(entry.data), entry.nbytes);
  }
}

void ResultPool::release_free() noexcept {
  const ReleaseScope scope(*device_);
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const bool on_host : {false, true}) {
    Kind& kind = on_host ? on_host_ : on_device_;
    for (const Entry& entry : kind.free_entries) release(on_host, entry);
    kind.free_entries.clear();
    kind.cached_bytes = 0;
  }
}

char* PinnedBuffer::reserve(std::size_t nbytes) {
  if (nbytes <= capacity_) return data_;
  release();
  const std::size_t capacity = size_of_class(size_class_of(nbytes));
  data_ = static_cast<char*>(device_->try_allocate_host(capacity));
  if (data_ == nullptr) device_->fail_out_of_memory(capacity, "pinned memory for copies");
  capacity_ = capacity;
  return data_;
}

void PinnedBuffer::release() noexcept {
  if (data_ != nullptr) device_->free_host(data_);
  data_ = nullptr;
  capacity_ = 0;
}

}  // namespace aotbuild::detail::cuda
