#include "cuda/collectives.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "base/system.hpp"

namespace aotbuild::detail::cuda {

namespace {

// Numbers, structures and signatures are those of NVIDIA's nccl.h, release 2.18 and later.
constexpr int kNcclSuccess = 0;
constexpr int kNcclInProgress = 7;
constexpr int kFirstVersion = 21800;  // 10000 * major + 100 * minor + patch

// ncclConfig_t as release 2.14 has it: of an older structure a library takes the members that are there.
struct NcclConfig {
  std::size_t size = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef;
  unsigned version = 21400;
  int blocking = 0;
};

// ncclDataType_t of an element type that it computes with; -1: it has none.
int nccl_type(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::kInt8:
      return 0;
    case ScalarType::kUInt8:
      return 1;
    case ScalarType::kInt32:
      return 2;
    case ScalarType::kUInt32:
      return 3;
    case ScalarType::kInt64:
      return 4;
    case ScalarType::kUInt64:
      return 5;
    case ScalarType::kFloat16:
      return 6;
    case ScalarType::kFloat32:
      return 7;
    case ScalarType::kFloat64:
      return 8;
    case ScalarType::kBFloat16:
      return 9;
    default:
      return -1;
  }
}

// For operations that move elements and compute nothing: any type goes as bytes.
struct Moved {
  std::size_t count;
  int type;
};
Moved as_bytes(std::size_t count, ScalarType dtype) { return {count * element_size(dtype), 1}; }

}  // namespace

#define AOTBUILD_NCCL_FUNCTIONS(F)                                                                 \
  F(ncclGetVersion, get_version, (int*))                                                           \
  F(ncclGetUniqueId, get_unique_id, (CommunicatorId*))                                             \
  F(ncclCommInitRankConfig, init_rank, (void**, int, CommunicatorId, int, NcclConfig*))            \
  F(ncclCommAbort, abort, (void*))                                                                 \
  F(ncclCommGetAsyncError, get_async_error, (void*, int*))                                         \
  F(ncclAllReduce, all_reduce, (const void*, void*, std::size_t, int, int, void*, Stream))         \
  F(ncclAllGather, all_gather, (const void*, void*, std::size_t, int, void*, Stream))              \
  F(ncclReduceScatter, reduce_scatter, (const void*, void*, std::size_t, int, int, void*, Stream)) \
  F(ncclBroadcast, broadcast, (const void*, void*, std::size_t, int, int, void*, Stream))          \
  F(ncclSend, send, (const void*, std::size_t, int, int, void*, Stream))                           \
  F(ncclRecv, receive, (void*, std::size_t, int, int, void*, Stream))                              \
  F(ncclGroupStart, group_start, ())                                                               \
  F(ncclGroupEnd, group_end, ())

struct CollectiveLibrary {
#define AOTBUILD_NCCL_MEMBER(symbol, name, parameters) int(*name) parameters = nullptr;
  AOTBUILD_NCCL_FUNCTIONS(AOTBUILD_NCCL_MEMBER)
#undef AOTBUILD_NCCL_MEMBER
  const char* (*get_error_string)(int) = nullptr;
};

namespace {

// NCCL, opened at the first call: the system's, or the file that the environment variable AOTBUILD_NCCL names. It stays
// open for ever.
const CollectiveLibrary& open_library(const char* model) {
  struct Opened {
    CollectiveLibrary library;
    std::string why;  // there is none
  };
  static std::mutex mutex;
  static std::map<std::string, Opened> opened;
  const char* const chosen = os::trusted_variable("AOTBUILD_NCCL");
  const std::string path = chosen != nullptr ? chosen : os::nccl_library();
  const std::lock_guard<std::mutex> lock(mutex);
  const auto [found, is_new] = opened.try_emplace(path);
  Opened& one = found->second;
  if (is_new) {
    void* const handle = os::open_library(path.c_str(), &one.why);
    const auto find = [&](const char* symbol) {
      void* const function = handle != nullptr ? os::find_symbol(handle, symbol) : nullptr;
      if (handle != nullptr && function == nullptr) one.why = concat(path, " has no function ", symbol);
      return function;
    };
#define AOTBUILD_NCCL_LOAD(symbol, name, parameters) \
  one.library.name = reinterpret_cast<int(*) parameters>(find(#symbol));
    AOTBUILD_NCCL_FUNCTIONS(AOTBUILD_NCCL_LOAD)
#undef AOTBUILD_NCCL_LOAD
    one.library.get_error_string = reinterpret_cast<const char* (*)(int)>(find("ncclGetErrorString"));
    int version = 0;
    if (one.why.empty() && (one.library.get_version(&version) != kNcclSuccess || version < kFirstVersion)) {
      one.why = concat(path, " is release ", version / 10000, ".", version / 100 % 100, ".", version % 100);
    }
  }
  if (!one.why.empty()) {
    fail(AOTBUILD_UNSUPPORTED_HARDWARE, model,
         ": the model is one rank of several and needs NCCL 2.18 or later: ", one.why,
         "; install libnccl2, or name the library by AOTBUILD_NCCL");
  }
  return one.library;
}

using Clock = std::chrono::steady_clock;
constexpr auto kPeriod = std::chrono::milliseconds(20);

}  // namespace

CommunicatorId make_communicator_id(const char* model) {
  const CollectiveLibrary& library = open_library(model);
  CommunicatorId id{};
  const int result = library.get_unique_id(&id);
  if (result != kNcclSuccess) {
    fail(AOTBUILD_RUNTIME_ERROR, model, ": ncclGetUniqueId failed: ", library.get_error_string(result));
  }
  return id;
}

Communicator::Communicator(std::shared_ptr<CudaDevice> device, const CommunicatorId& id, int rank, int world_size,
                           std::chrono::milliseconds timeout)
    : device_(std::move(device)),
      library_(open_library(device_->model())),
      rank_(rank),
      world_size_(world_size),
      timeout_(timeout) {
  NcclConfig config;
  try {
    ask("ncclCommInitRankConfig", [&] { return library_.init_rank(&communicator_, world_size, id, rank, &config); });
    watcher_ = std::thread([this] { watch_queue(); });
  } catch (...) {
    if (communicator_ != nullptr) library_.abort(communicator_);
    throw;
  }
}

Communicator::~Communicator() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_closing_ = true;
  }
  changed_.notify_all();
  watcher_.join();
  // Ranks end in any order, so none waits for another: what was asked for has been done by now.
  if (communicator_ != nullptr) library_.abort(communicator_);
  const ReleaseScope scope(*device_);
  for (const Watched& watched : watched_) device_->driver().event_destroy(watched.event);
  for (const Event event : spare_events_) device_->driver().event_destroy(event);
}

void Communicator::check() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto fail_with = [&](const auto&... why) {
    fail(AOTBUILD_RUNTIME_ERROR, device_->model(), ": ", why..., "; destroy the model on all ranks and create it anew");
  };
  switch (ending_) {
    case Ending::kNone:
      return;
    case Ending::kLostPeer:
      return fail_with("a peer of rank ", rank_, " of ", world_size_,
                       " is lost: ", library_.get_error_string(lost_result_));
    case Ending::kLatePeer:
      return fail_with("rank ", rank_, " of ", world_size_, " waited ", timeout_.count(), " ms for a peer");
    case Ending::kFailedCall:
      return fail_with("a call of rank ", rank_, " of ", world_size_, " has failed before it was queued");
  }
}

void Communicator::check(int result, const char* function) const {
  if (result == kNcclSuccess) return;
  fail(AOTBUILD_RUNTIME_ERROR, device_->model(), ": ", function, " failed on rank ", rank_, " of ", world_size_, ": ",
       library_.get_error_string(result));
}

template <typename Call>
void Communicator::ask(const char* function, const Call& call) {
  const auto deadline = Clock::now() + timeout_;
  std::unique_lock<std::mutex> lock(calls_mutex_);
  check();
  int result = call();
  auto pause = std::chrono::microseconds(1);
  while (result == kNcclInProgress) {
    lock.unlock();
    if (Clock::now() > deadline) {
      fail(AOTBUILD_RUNTIME_ERROR, device_->model(), ": rank ", rank_, " waited ", timeout_.count(),
           " ms for the others of ", world_size_, " in ", function,
           "; all ranks have to be created with the same id and to make the same calls");
    }
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::microseconds>(2 * pause, kPeriod);
    lock.lock();
    check();
    const int asked = library_.get_async_error(communicator_, &result);
    if (asked != kNcclSuccess) result = asked;
  }
  check(result, function);
}

void Communicator::all_reduce(const void* source, void* target, std::size_t count, ScalarType dtype, Reduction by,
                              Stream stream) {
  ask("ncclAllReduce", [&] {
    return library_.all_reduce(source, target, count, nccl_type(dtype), static_cast<int>(by), communicator_, stream);
  });
}

void Communicator::all_gather(const void* source, void* target, std::size_t count, ScalarType dtype, Stream stream) {
  const Moved moved = as_bytes(count, dtype);
  ask("ncclAllGather",
      [&] { return library_.all_gather(source, target, moved.count, moved.type, communicator_, stream); });
}

void Communicator::reduce_scatter(const void* source, void* target, std::size_t count, ScalarType dtype, Reduction by,
                                  Stream stream) {
  ask("ncclReduceScatter", [&] {
    return library_.reduce_scatter(source, target, count, nccl_type(dtype), static_cast<int>(by), communicator_,
                                   stream);
  });
}

void Communicator::broadcast(const void* source, void* target, std::size_t count, ScalarType dtype, int root,
                             Stream stream) {
  const Moved moved = as_bytes(count, dtype);
  ask("ncclBroadcast",
      [&] { return library_.broadcast(source, target, moved.count, moved.type, root, communicator_, stream); });
}

void Communicator::all_to_all(const void* source, void* target, std::size_t count, ScalarType dtype, Stream stream) {
  const Moved part = as_bytes(count / static_cast<std::size_t>(world_size_), dtype);
  ask("ncclGroupEnd", [&] {
    int result = library_.group_start();
    const auto keep = [&result](int other) {
      if (result == kNcclSuccess || result == kNcclInProgress) result = other;
    };
    for (int peer = 0; peer < world_size_; ++peer) {
      const std::size_t at = static_cast<std::size_t>(peer) * part.count;
      keep(library_.send(static_cast<const char*>(source) + at, part.count, part.type, peer, communicator_, stream));
      keep(library_.receive(static_cast<char*>(target) + at, part.count, part.type, peer, communicator_, stream));
    }
    keep(library_.group_end());
    return result;
  });
}

void Communicator::watch(Stream stream) {
  check();
  const Driver& driver = device_->driver();
  Event event = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!spare_events_.empty()) {
      event = spare_events_.back();
      spare_events_.pop_back();
    }
  }
  if (event == nullptr) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      spare_events_.reserve(++event_count_);
    }
    device_->check(driver.event_create(&event, kEventDisableTiming), "cuEventCreate");
  }
  const int result = driver.event_record(event, stream);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (result == kSuccess) {
      watched_.push_back({event, Clock::now() + timeout_});
    } else {
      spare_events_.push_back(event);
    }
  }
  device_->check(result, "cuEventRecord");
  changed_.notify_all();
}

Communicator::Turn::Turn(Communicator* communicator) : communicator_(communicator) {
  if (communicator_ == nullptr) return;
  lock_ = std::unique_lock<std::mutex>(communicator_->turn_);
  communicator_->check();
  communicator_->is_queued_ = false;
}

Communicator::Turn::~Turn() {
  if (communicator_ != nullptr && !communicator_->is_queued_) communicator_->end(Ending::kFailedCall);
}

void Communicator::fail_call(Stream stream) noexcept {
  if (!is_queued_) return end(Ending::kFailedCall);
  try {
    watch(stream);  // which may wait for a rank that does not come
  } catch (const std::exception&) {
    end(Ending::kFailedCall);
  }
}

void Communicator::end(Ending ending, int result) noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ending_ != Ending::kNone) return;
    ending_ = ending;
    lost_result_ = result;
  }
  changed_.notify_all();
}

// Ends the kernels that wait for a peer, and with them every wait for the streams that they are on. NCCL returns when
// no graph has an operation of the communicator any more, which may be when the model is destroyed: on the watcher's
// thread alone, for which nobody waits before.
void Communicator::abort() noexcept {
  void* communicator = nullptr;
  {
    const std::lock_guard<std::mutex> lock(calls_mutex_);
    communicator = std::exchange(communicator_, nullptr);
  }
  if (communicator != nullptr) library_.abort(communicator);
}

void Communicator::watch_queue() noexcept {
  const ReleaseScope scope(*device_);
  std::unique_lock<std::mutex> lock(mutex_);
  while (!is_closing_) {
    if (ending_ != Ending::kNone) {
      lock.unlock();
      abort();
      return;
    }
    if (watched_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const Watched first = watched_.front();
    lock.unlock();
    const int result = device_->driver().event_query(first.event);
    if (result == kNotReady) look_at_peers(first);
    lock.lock();
    if (result != kNotReady) {
      watched_.pop_front();
      spare_events_.push_back(first.event);
    } else if (ending_ == Ending::kNone) {
      changed_.wait_for(lock, kPeriod);
    }
  }
}

void Communicator::look_at_peers(const Watched& waiting) noexcept {
  int failed = kNcclSuccess;
  {
    const std::lock_guard<std::mutex> calls(calls_mutex_);
    library_.get_async_error(communicator_, &failed);
  }
  if (failed != kNcclSuccess && failed != kNcclInProgress) {
    end(Ending::kLostPeer, failed);
  } else if (Clock::now() > waiting.deadline) {
    end(Ending::kLatePeer);
  }
}

}  // namespace aotbuild::detail::cuda
