#include "cuda/workspace.hpp"

#include <algorithm>
#include <utility>

namespace aotbuild::detail::cuda {

OwnedStream::OwnedStream(std::shared_ptr<CudaDevice> device) : device_(std::move(device)) {
  device_->check(device_->driver().stream_create(&stream_, kStreamNonBlocking), "cuStreamCreate");
}

OwnedStream::~OwnedStream() {
  const ReleaseScope scope(*device_);
  device_->driver().stream_destroy(stream_);
}

OwnedEvent::OwnedEvent(std::shared_ptr<CudaDevice> device, bool has_time) : device_(std::move(device)) {
  device_->check(device_->driver().event_create(&event_, has_time ? 0 : kEventDisableTiming), "cuEventCreate");
}

OwnedEvent::~OwnedEvent() {
  const ReleaseScope scope(*device_);
  device_->driver().event_destroy(event_);
}

GraphCache::GraphCache(const CudaDevice& device, BlockCache& memory, std::size_t limit)
    : device_(device), memory_(memory), limit_(limit) {}

ShapeEntry* GraphCache::find(const std::vector<std::int64_t>& key) {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const ShapeEntry& entry) { return entry.key == key; });
  if (found == entries_.end()) {
    entries_.emplace_front().key = key;
    bound();
    return nullptr;
  }
  if (found != entries_.begin()) entries_.splice(entries_.begin(), entries_, found);
  return &entries_.front();
}

void GraphCache::bound() {
  // Sizes without a graph are remembered for longer: they cost next to nothing.
  const std::size_t entry_limit = 4 * limit_;
  std::size_t graphs = 0;
  std::size_t entries = 0;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    graphs += entry->graph != nullptr ? 1 : 0;
    ++entries;
    if (entries <= entry_limit && (entry->graph == nullptr || graphs <= limit_)) {
      ++entry;
      continue;
    }
    drop(*entry);
    entry = entries_.erase(entry);
  }
}

void GraphCache::drop(ShapeEntry& entry) noexcept {
  // A graph that is still running is destroyed when it ends; its memory stays with the workspace.
  if (entry.graph != nullptr) device_.driver().graph_exec_destroy(entry.graph);
  memory_.unpin(entry.blocks);
}

void GraphCache::clear() noexcept {
  if (entries_.empty()) return;
  const ReleaseScope scope(device_);
  for (ShapeEntry& entry : entries_) drop(entry);
  entries_.clear();
}

CudaWorkspace::CudaWorkspace(const std::shared_ptr<CudaDevice>& device, MemoryReclaimer& model, std::size_t graph_limit)
    : device_(device),
      model_(model),
      stream_(device),
      done_(device),
      input_staging_(device),
      index_error_buffer_(device),
      output_staging(device),
      memory(device, *this),
      graphs(*device, memory, graph_limit) {}

CudaWorkspace::~CudaWorkspace() {
  const ReleaseScope scope(*device_);
  if (is_pending_) device_->driver().event_synchronize(done_.get());
}

void CudaWorkspace::begin(Stream stream) {
  // For the same stream too: its handle may be that of a later stream.
  if (is_pending_) {
    device_->check(device_->driver().stream_wait_event(stream, done_.get(), 0), "cuStreamWaitEvent");
  }
}

void CudaWorkspace::end(Stream stream, bool is_done) {
  memory.trim();
  if (is_done) {
    is_pending_ = false;
    return;
  }
  device_->check(device_->driver().event_record(done_.get(), stream), "cuEventRecord");
  last_stream_ = stream;
  is_pending_ = true;
}

bool CudaWorkspace::is_ready_for(Stream stream) {
  if (is_pending_ && device_->driver().event_query(done_.get()) == kSuccess) is_pending_ = false;
  return !is_pending_ || last_stream_ == stream;
}

void CudaWorkspace::wait() {
  if (!is_pending_) return;
  device_->check(device_->driver().event_synchronize(done_.get()), "cuEventSynchronize");
  is_pending_ = false;
}

void CudaWorkspace::reclaim() noexcept {
  model_.reclaim();
  if (!keeps_graphs) graphs.clear();
  memory.release_free(0);
}

void* CudaWorkspace::index_error() {
  if (index_error_ == nullptr) {
    index_error_ = reinterpret_cast<std::int32_t*>(index_error_buffer_.reserve(sizeof(std::int32_t)));
    *index_error_ = 0;
  }
  return const_cast<std::int32_t*>(index_error_);
}

std::int32_t CudaWorkspace::take_index_error() noexcept {
  if (index_error_ == nullptr || *index_error_ == 0) return 0;
  const std::int32_t code = *index_error_;
  *index_error_ = 0;
  return code;
}

char* CudaWorkspace::input_staging(std::size_t nbytes) {
  wait();
  return input_staging_.reserve(nbytes);
}

}  // namespace aotbuild::detail::cuda
