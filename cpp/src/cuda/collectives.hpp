// Collective operations of a model that is one rank of several, by NCCL: all-reduce and its like, queued on the stream
// of a call and captured into its graphs. A peer that is lost or late ends in an error on every rank.
#ifndef AOTBUILD_SRC_CUDA_COLLECTIVES_HPP_
#define AOTBUILD_SRC_CUDA_COLLECTIVES_HPP_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "aotbuild/c_api.h"
#include "aotbuild/detail/cuda_spec.hpp"
#include "cuda/device.hpp"
#include "tensor/dtype.hpp"

namespace aotbuild::detail::cuda {

struct CollectiveLibrary;  // NCCL's functions

using CommunicatorId = aotbuild_communicator_id;  // ncclUniqueId is the same
// Throws Error(AOTBUILD_UNSUPPORTED_HARDWARE) that begins with `model` where there is no NCCL.
CommunicatorId make_communicator_id(const char* model);

// What a model's ranks have in common on one of them. Calls are queued by one thread at a time, in the same order on
// all ranks; a thread of its own watches what is queued.
class Communicator {
 public:
  // Waits for the other ranks. The context must be current. Throws Error(AOTBUILD_UNSUPPORTED_HARDWARE) without NCCL,
  // Error(AOTBUILD_RUNTIME_ERROR) where the ranks do not come together within `timeout`.
  Communicator(std::shared_ptr<CudaDevice> device, const CommunicatorId& id, int rank, int world_size,
               std::chrono::milliseconds timeout);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int world_size() const { return world_size_; }

  // `count`: elements that a rank gives, but for reduce_scatter of those that it gets. In place where both are one.
  void all_reduce(const void* source, void* target, std::size_t count, ScalarType dtype, Reduction by, Stream stream);
  void all_gather(const void* source, void* target, std::size_t count, ScalarType dtype, Stream stream);
  void reduce_scatter(const void* source, void* target, std::size_t count, ScalarType dtype, Reduction by,
                      Stream stream);
  void broadcast(const void* source, void* target, std::size_t count, ScalarType dtype, int root, Stream stream);
  // Rows for each rank, of as many elements each.
  void all_to_all(const void* source, void* target, std::size_t count, ScalarType dtype, Stream stream);

  // What the stream holds now has to end in time; else, or when a peer is lost, it is ended, and the communicator with
  // it. Not while the stream is being captured.
  void watch(Stream stream);
  // Throws Error(AOTBUILD_RUNTIME_ERROR) once the communicator has ended.
  void check() const;

  // A call's turn, from before it queues anything. One that ends before it has queued everything leaves the ranks out
  // of step, so that the communicator is ended, for all of them.
  class Turn {
   public:
    // Null: a model for one GPU. Throws as check().
    explicit Turn(Communicator* communicator);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Communicator* const communicator_;
    std::unique_lock<std::mutex> lock_;
  };
  // Of the call whose turn it is: it has queued everything; it fails, and its stream will be waited for.
  void has_queued() { is_queued_ = true; }
  void fail_call(Stream stream) noexcept;

 private:
  struct Watched {
    Event event;
    std::chrono::steady_clock::time_point deadline;
  };

  // `call` of the communicator, which is not ended meanwhile, and then until it has done what it was asked for.
  template <typename Call>
  void ask(const char* function, const Call& call);
  void check(int result, const char* function) const;
  enum class Ending { kNone, kLostPeer, kLatePeer, kFailedCall };
  void end(Ending ending, int result = 0) noexcept;
  void abort() noexcept;
  void look_at_peers(const Watched& waiting) noexcept;
  void watch_queue() noexcept;

  const std::shared_ptr<CudaDevice> device_;
  const CollectiveLibrary& library_;
  const int rank_;
  const int world_size_;
  const std::chrono::milliseconds timeout_;

  std::mutex turn_;
  bool is_queued_ = false;  // what the call has whose turn it is
  std::mutex calls_mutex_;  // of the library's, none of which blocks
  void* communicator_ = nullptr;

  mutable std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<Watched> watched_;
  std::vector<Event> spare_events_;  // with room for all, so that one comes back without an allocation
  std::size_t event_count_ = 0;
  Ending ending_ = Ending::kNone;  // why the communicator has ended
  int lost_result_ = 0;            // kLostPeer: what NCCL said
  bool is_closing_ = false;
  std::thread watcher_;
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_COLLECTIVES_HPP_
