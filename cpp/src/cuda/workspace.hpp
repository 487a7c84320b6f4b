// What one call of a CUDA model uses at a time: a stream, memory, pinned buffers, captured graphs.
#ifndef AOTBUILD_SRC_CUDA_WORKSPACE_HPP_
#define AOTBUILD_SRC_CUDA_WORKSPACE_HPP_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/graphs.hpp"
#include "cuda/memory.hpp"

namespace aotbuild::detail::cuda {

class OwnedStream {
 public:
  // The context must be current.
  explicit OwnedStream(std::shared_ptr<CudaDevice> device);
  ~OwnedStream();
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;
  Stream get() const { return stream_; }

 private:
  std::shared_ptr<CudaDevice> device_;
  Stream stream_ = nullptr;
};

class OwnedEvent {
 public:
  // The context must be current. `has_time`: cuEventElapsedTime takes it.
  explicit OwnedEvent(std::shared_ptr<CudaDevice> device, bool has_time = false);
  ~OwnedEvent();
  OwnedEvent(const OwnedEvent&) = delete;
  OwnedEvent& operator=(const OwnedEvent&) = delete;
  Event get() const { return event_; }

 private:
  std::shared_ptr<CudaDevice> device_;
  Event event_ = nullptr;
};

// How much of a staging buffer a tensor takes.
constexpr std::size_t staged_size(std::size_t nbytes) {
  constexpr std::size_t kStagingAlignment = 64;
  return (nbytes + kStagingAlignment - 1) / kStagingAlignment * kStagingAlignment;
}

class CudaWorkspace final : public MemoryReclaimer {
 public:
  // The context must be current.
  CudaWorkspace(const std::shared_ptr<CudaDevice>& device, MemoryReclaimer& model, std::size_t graph_limit);
  ~CudaWorkspace() override;
  CudaWorkspace(const CudaWorkspace&) = delete;
  CudaWorkspace& operator=(const CudaWorkspace&) = delete;

  // Work that is queued on `stream` from here on comes after all earlier work of this workspace.
  void begin(Stream stream);
  // That work is queued, or done.
  void end(Stream stream, bool is_done);
  // Whether a call on `stream` can use it without waiting for another stream.
  bool is_ready_for(Stream stream);
  // Waits for earlier calls: host memory that they copy from may be written.
  void wait();

  // Gives back what the model can spare, the memory of this workspace that is not in use, and its graphs unless
  // `keeps_graphs`.
  void reclaim() noexcept override;

  // Pinned memory for inputs; waits for the last call that used it.
  char* input_staging(std::size_t nbytes);

  // As context_index_error.
  void* index_error();
  // What a kernel has written there since the last time, else 0. The work that it may be of has ended, or it is that of
  // an earlier call.
  std::int32_t take_index_error() noexcept;

 private:
  std::shared_ptr<CudaDevice> device_;
  MemoryReclaimer& model_;
  OwnedStream stream_;
  OwnedEvent done_;
  Stream last_stream_ = nullptr;
  bool is_pending_ = false;  // work may be queued that `done_` ends
  PinnedBuffer input_staging_;
  PinnedBuffer index_error_buffer_;
  volatile std::int32_t* index_error_ = nullptr;  // null: no kernel has it

 public:
  Stream own_stream() const { return stream_.get(); }

  PinnedBuffer output_staging;
  BlockCache memory;
  GraphCache graphs;
  bool keeps_graphs = false;       // the call replays one
  std::uint64_t graphs_state = 0;  // State::id() that came with the addresses in the graphs
  std::vector<std::int64_t> key;   // of the call
  // That with the addresses of the call's tensors; empty if they are not all on the device.
  std::vector<std::int64_t> memory_key;
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_WORKSPACE_HPP_
