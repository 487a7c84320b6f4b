// What one call of a CUDA model uses at a time: a stream, memory, pinned buffers, captured graphs.
#ifndef AOTBUILD_SRC_CUDA_WORKSPACE_HPP_
#define AOTBUILD_SRC_CUDA_WORKSPACE_HPP_

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/memory.hpp"
#include "tensor/dtype.hpp"

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

// Seeds of random numbers on the device.
struct SeedBlock {
  void* data;
  std::size_t count;
};

// What is known of one set of input sizes: they have come once, or their graph.
struct ShapeEntry {
  struct Output {
    void* data;
    std::size_t nbytes;
    ScalarType dtype;
    std::vector<std::int64_t> sizes;
    std::vector<std::int64_t> strides;
  };

  std::vector<std::int64_t> key;
  bool blocked = false;    // there was no memory for a graph
  bool is_ahead = false;   // captured when the caller asked for it
  bool is_direct = false;  // the graph reads and writes the caller's memory, which is part of the key
  GraphExec graph = nullptr;
  std::vector<void*> inputs;     // what the graph reads; null for an input without elements
  std::vector<Output> outputs;   // what it makes
  std::vector<SeedBlock> seeds;  // what it reads, new for each replay
  std::vector<Block*> blocks;    // memory whose addresses it has
};

// The sizes that came last, with at most `limit` graphs.
class GraphCache {
 public:
  GraphCache(const CudaDevice& device, BlockCache& memory, std::size_t limit);
  ~GraphCache() { clear(); }
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  // The entry of `key`, moved to the front; null for a key that is new, and then remembered.
  ShapeEntry* find(const std::vector<std::int64_t>& key);
  // Makes room after the first entry got a graph.
  void bound();
  void clear() noexcept;

 private:
  void drop(ShapeEntry& entry) noexcept;

  const CudaDevice& device_;
  BlockCache& memory_;
  const std::size_t limit_;
  std::list<ShapeEntry> entries_;  // the last used first
};

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
