#include "fake_nccl.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "fake_cuda.hpp"

namespace {

constexpr int kSuccess = 0;
constexpr int kUnhandledCudaError = 1;
constexpr int kInvalidArgument = 4;
constexpr int kRemoteError = 6;
constexpr int kInProgress = 7;

struct Id {
  char bytes[128];
};

enum class Kind { kAllReduce, kAllGather, kReduceScatter, kBroadcast, kAllToAll };

// What a rank asks for; `count` elements of its source.
struct Request {
  Kind kind;
  std::size_t count;
  int type;
  int reduction;
  int root;
  bool operator==(const Request& other) const {
    return kind == other.kind && count == other.count && type == other.type && reduction == other.reduction &&
           root == other.root;
  }
};

// One collective operation, by the order of its ranks.
struct Meeting {
  Request request;
  std::map<int, std::vector<unsigned char>> sources;  // by rank, as they were when its stream came here
  int left = 0;                                       // ranks that have taken their results
};

struct World {
  int size;
  std::set<int> joined;
  std::set<int> lost;
  std::map<std::uint64_t, Meeting> meetings;
};

struct Communicator {
  std::shared_ptr<World> world;
  int rank;
  std::uint64_t next = 0;  // of its operations that a stream has come to
  bool is_aborted = false;
  std::shared_ptr<int> uses = std::make_shared<int>(0);  // one of its own, and those of what is queued or in a graph
};
using Shared = std::shared_ptr<Communicator>;

struct State {
  std::mutex mutex;
  int version = 22100;
  std::uint64_t ids = 0;
  std::map<std::uint64_t, std::shared_ptr<World>> worlds;
  std::map<Communicator*, Shared> communicators;
  std::map<std::string, std::pair<int, int>> failures;  // the error, and after how many more calls
  int operations = 0;
};

State& state() {
  static auto* const instance = new State;
  return *instance;
}

int enter(const char* function) {
  const auto found = state().failures.find(function);
  if (found == state().failures.end()) return kSuccess;
  if (found->second.second-- > 0) return kSuccess;
  const int error = found->second.first;
  state().failures.erase(found);
  return error;
}

#define ENTER(function)                             \
  std::unique_lock<std::mutex> lock(state().mutex); \
  if (const int entered = enter(#function)) return entered

std::size_t element_size(int type) {
  constexpr std::size_t kSizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
  return kSizes[type];
}

template <typename T>
void reduce(const Meeting& meeting, std::size_t begin, std::size_t count, unsigned char* target) {
  for (std::size_t i = 0; i < count; ++i) {
    T sum{};
    bool is_first = true;
    for (const auto& [rank, bytes] : meeting.sources) {
      T value;
      std::memcpy(&value, bytes.data() + (begin + i) * sizeof(T), sizeof(T));
      if (is_first) {
        sum = value;
      } else if (meeting.request.reduction == 1) {
        sum *= value;
      } else if (meeting.request.reduction == 2) {
        sum = std::max(sum, value);
      } else if (meeting.request.reduction == 3) {
        sum = std::min(sum, value);
      } else {
        sum += value;
      }
      is_first = false;
    }
    if (meeting.request.reduction == 4) sum /= static_cast<T>(meeting.sources.size());
    std::memcpy(target + i * sizeof(T), &sum, sizeof(T));
  }
}

void reduce(const Meeting& meeting, std::size_t begin, std::size_t count, unsigned char* target) {
  switch (meeting.request.type) {
    case 2:
      return reduce<std::int32_t>(meeting, begin, count, target);
    case 4:
      return reduce<std::int64_t>(meeting, begin, count, target);
    case 8:
      return reduce<double>(meeting, begin, count, target);
    default:
      return reduce<float>(meeting, begin, count, target);
  }
}

void deliver(const Meeting& meeting, int rank, int size, unsigned char* target) {
  const std::size_t element = element_size(meeting.request.type);
  const std::size_t count = meeting.request.count;
  const std::size_t part = count / static_cast<std::size_t>(size);
  const auto at = static_cast<std::size_t>(rank) * part;
  switch (meeting.request.kind) {
    case Kind::kAllReduce:
      return reduce(meeting, 0, count, target);
    case Kind::kReduceScatter:
      return reduce(meeting, at, part, target);
    case Kind::kBroadcast:
      std::memcpy(target, meeting.sources.at(meeting.request.root).data(), count * element);
      return;
    case Kind::kAllGather:
      for (const auto& [from, bytes] : meeting.sources) {
        std::memcpy(target + static_cast<std::size_t>(from) * count * element, bytes.data(), count * element);
      }
      return;
    case Kind::kAllToAll:
      for (const auto& [from, bytes] : meeting.sources) {
        std::memcpy(target + static_cast<std::size_t>(from) * part * element, bytes.data() + at * element,
                    part * element);
      }
  }
}

Shared find(void* communicator) {
  const auto found = state().communicators.find(static_cast<Communicator*>(communicator));
  return found == state().communicators.end() ? nullptr : found->second;
}

// `lock` is held, and is not while work is queued: the driver asks whether it is ready with a lock of its own.
int collective(std::unique_lock<std::mutex>& lock, void* handle, const Request& request, const void* source,
               void* target, void* stream) {
  const Shared communicator = find(handle);
  lock.unlock();
  if (communicator == nullptr || request.type < 0) return kInvalidArgument;
  // The number of the operation that the stream has come to, one for each replay of a graph.
  const auto number = std::make_shared<std::int64_t>(-1);
  const auto is_ready = [communicator, request, source, number] {
    const std::lock_guard<std::mutex> inner(state().mutex);
    if (communicator->is_aborted) return true;
    World& world = *communicator->world;
    if (*number < 0) {
      *number = static_cast<std::int64_t>(communicator->next++);
      Meeting& meeting =
          world.meetings.try_emplace(static_cast<std::uint64_t>(*number), Meeting{request, {}}).first->second;
      const auto* const bytes = static_cast<const unsigned char*>(source);
      // Ranks that ask for different things never meet, as with NCCL itself.
      if (meeting.request == request) {
        meeting.sources[communicator->rank].assign(bytes, bytes + request.count * element_size(request.type));
      }
    }
    return world.meetings[static_cast<std::uint64_t>(*number)].sources.size() == static_cast<std::size_t>(world.size);
  };
  const auto work = [communicator, target, number, use = communicator->uses] {
    const std::lock_guard<std::mutex> inner(state().mutex);
    const auto which = static_cast<std::uint64_t>(std::exchange(*number, -1));
    if (communicator->is_aborted) return;
    World& world = *communicator->world;
    Meeting& meeting = world.meetings.at(which);
    deliver(meeting, communicator->rank, world.size, static_cast<unsigned char*>(target));
    ++state().operations;
    if (++meeting.left == world.size) world.meetings.erase(which);
  };
  return fake_cuda::queue(stream, work, is_ready) == 0 ? kSuccess : kUnhandledCudaError;
}

// Sends and receives of a group, which only all-to-all is made of.
struct Group {
  int depth = 0;
  std::vector<std::pair<int, const unsigned char*>> sends;
  std::vector<std::pair<int, unsigned char*>> receives;
  std::size_t count = 0;
  int type = 0;
  void* communicator = nullptr;
  void* stream = nullptr;
};
thread_local Group group;

}  // namespace

namespace fake_nccl {

void reset() {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().version = 22100;
  state().worlds.clear();
  state().communicators.clear();
  state().failures.clear();
  state().operations = 0;
}

void set_version(int version) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().version = version;
}

void fail(const std::string& function, int error, int skip) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().failures[function] = {error, skip};
}

void lose(int rank) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  for (auto& [id, world] : state().worlds) world->lost.insert(rank);
}

int failures() {
  const std::lock_guard<std::mutex> lock(state().mutex);
  return static_cast<int>(state().failures.size());
}

int communicators() {
  const std::lock_guard<std::mutex> lock(state().mutex);
  return static_cast<int>(state().communicators.size());
}

int operations() {
  const std::lock_guard<std::mutex> lock(state().mutex);
  return state().operations;
}

}  // namespace fake_nccl

extern "C" {

const char* ncclGetErrorString(int error) {
  switch (error) {
    case kInvalidArgument:
      return "invalid argument";
    case kRemoteError:
      return "remote process exited or there was a network error";
    case kInProgress:
      return "NCCL operation in progress";
    default:
      return "unhandled cuda error";
  }
}

int ncclGetVersion(int* version) {
  ENTER(ncclGetVersion);
  *version = state().version;
  return kSuccess;
}

int ncclGetUniqueId(Id* id) {
  ENTER(ncclGetUniqueId);
  *id = {};
  const std::uint64_t number = ++state().ids;
  std::memcpy(id->bytes, &number, sizeof number);
  return kSuccess;
}

int ncclCommInitRankConfig(void** made, int size, Id id, int rank, void* config) {
  ENTER(ncclCommInitRankConfig);
  std::uint64_t number = 0;
  std::memcpy(&number, id.bytes, sizeof number);
  if (number == 0 || size < 1 || rank < 0 || rank >= size || config == nullptr) return kInvalidArgument;
  std::shared_ptr<World>& world = state().worlds[number];
  if (world == nullptr) world = std::make_shared<World>(World{size, {}, {}, {}});
  if (world->size != size || !world->joined.insert(rank).second) return kInvalidArgument;
  const auto communicator = std::make_shared<Communicator>(Communicator{world, rank});
  state().communicators[communicator.get()] = communicator;
  *made = communicator.get();
  return kInProgress;
}

int ncclCommGetAsyncError(void* handle, int* error) {
  ENTER(ncclCommGetAsyncError);
  const Shared communicator = find(handle);
  if (communicator == nullptr) return kInvalidArgument;
  const World& world = *communicator->world;
  const bool is_alone =
      std::any_of(world.lost.begin(), world.lost.end(), [&](int rank) { return rank != communicator->rank; });
  const bool is_whole = world.joined.size() == static_cast<std::size_t>(world.size);
  *error = is_alone ? kRemoteError : is_whole ? kSuccess : kInProgress;
  return kSuccess;
}

int ncclCommAbort(void* handle) {
  ENTER(ncclCommAbort);
  const Shared communicator = find(handle);
  if (communicator == nullptr) return kInvalidArgument;
  communicator->is_aborted = true;
  state().communicators.erase(communicator.get());
  lock.unlock();
  // As NCCL does: until no graph has an operation of it.
  while (communicator->uses.use_count() > 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return kSuccess;
}

int ncclAllReduce(const void* source, void* target, std::size_t count, int type, int by, void* communicator,
                  void* stream) {
  ENTER(ncclAllReduce);
  return collective(lock, communicator, {Kind::kAllReduce, count, type, by, 0}, source, target, stream);
}

int ncclAllGather(const void* source, void* target, std::size_t count, int type, void* communicator, void* stream) {
  ENTER(ncclAllGather);
  return collective(lock, communicator, {Kind::kAllGather, count, type, 0, 0}, source, target, stream);
}

int ncclReduceScatter(const void* source, void* target, std::size_t count, int type, int by, void* communicator,
                      void* stream) {
  ENTER(ncclReduceScatter);
  const Shared found = find(communicator);
  if (found == nullptr) return kInvalidArgument;
  const std::size_t given = count * static_cast<std::size_t>(found->world->size);
  return collective(lock, communicator, {Kind::kReduceScatter, given, type, by, 0}, source, target, stream);
}

int ncclBroadcast(const void* source, void* target, std::size_t count, int type, int root, void* communicator,
                  void* stream) {
  ENTER(ncclBroadcast);
  return collective(lock, communicator, {Kind::kBroadcast, count, type, 0, root}, source, target, stream);
}

int ncclGroupStart() {
  ENTER(ncclGroupStart);
  if (group.depth++ == 0) group = {1, {}, {}, 0, 0, nullptr, nullptr};
  return kSuccess;
}

int ncclSend(const void* source, std::size_t count, int type, int peer, void* communicator, void* stream) {
  ENTER(ncclSend);
  if (group.depth == 0) return kInvalidArgument;
  group.sends.emplace_back(peer, static_cast<const unsigned char*>(source));
  group.count = count;
  group.type = type;
  group.communicator = communicator;
  group.stream = stream;
  return kSuccess;
}

int ncclRecv(void* target, std::size_t, int, int peer, void*, void*) {
  ENTER(ncclRecv);
  if (group.depth == 0) return kInvalidArgument;
  group.receives.emplace_back(peer, static_cast<unsigned char*>(target));
  return kSuccess;
}

int ncclGroupEnd() {
  ENTER(ncclGroupEnd);
  if (group.depth == 0) return kInvalidArgument;
  if (--group.depth > 0 || group.sends.empty()) return kSuccess;
  const Shared communicator = find(group.communicator);
  if (communicator == nullptr) return kInvalidArgument;
  const auto size = static_cast<std::size_t>(communicator->world->size);
  const std::size_t bytes = group.count * element_size(group.type);
  if (group.sends.size() != size || group.receives.size() != size) return kInvalidArgument;
  for (std::size_t i = 0; i < size; ++i) {
    const bool follows = group.sends[i] == std::make_pair(static_cast<int>(i), group.sends[0].second + i * bytes) &&
                         group.receives[i] == std::make_pair(static_cast<int>(i), group.receives[0].second + i * bytes);
    if (!follows) return kInvalidArgument;
  }
  return collective(lock, group.communicator, {Kind::kAllToAll, group.count * size, group.type, 0, 0},
                    group.sends[0].second, group.receives[0].second, group.stream);
}

}  // extern "C"
