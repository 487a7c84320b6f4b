#include "cuda/workspace.hpp"

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
