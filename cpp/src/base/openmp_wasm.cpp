// OpenMP for WebAssembly with threads, where there is no library of it: the functions that Clang calls for the pragmas
// of this runtime and of generated kernels ("LLVM/OpenMP Runtimes"), over threads that sleep between regions. A region
// inside a region, or beside one of another thread, has one thread.
#include <omp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdarg>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using Int = std::int32_t;
// It has a pointer for each variable of the region too.
using Region = void (*)(Int* thread, Int* bound);

constexpr std::size_t kMostVariables = 48;

struct Team {
  Region region;
  void* const* variables;
  std::size_t count;
  int size;
  std::atomic<unsigned int> singles{0};  // of the parts for one thread, those that a thread has begun
};

// What a thread is inside of; no team: it is alone.
struct Place {
  Team* team = nullptr;
  int number = 0;
  unsigned int singles = 0;  // that this thread has come to
};

thread_local Place place;
thread_local std::vector<Place> left;  // by regions of one thread
thread_local int wanted = 0;           // by the next region alone
thread_local int most_threads = 0;     // 0: as many as there are processors

template <std::size_t>
using Variable = void*;

template <std::size_t... kIndices>
void call_with(const Team& team, Int* thread, std::index_sequence<kIndices...>) {
  using Function = void (*)(Int*, Int*, Variable<kIndices>...);
  reinterpret_cast<Function>(team.region)(thread, thread, team.variables[kIndices]...);
}

using Call = void (*)(const Team&, Int* thread);

// A function of WebAssembly is called with exactly the arguments that it has.
template <std::size_t... kCounts>
constexpr std::array<Call, sizeof...(kCounts)> calls_of(std::index_sequence<kCounts...>) {
  return {[](const Team& team, Int* thread) { call_with(team, thread, std::make_index_sequence<kCounts>()); }...};
}
constexpr auto kCalls = calls_of(std::make_index_sequence<kMostVariables + 1>());

void run_part(Team& team, int number) {
  const Place before = std::exchange(place, Place{team.size > 1 ? &team : nullptr, number});
  Int thread = number;
  kCalls.at(team.count)(team, &thread);
  place = before;
}

// The threads beside the caller's. They are never joined: they end with the program.
class Threads {
 public:
  // One region at a time; false: another one runs.
  bool run(Team& team) {
    const std::unique_lock<std::mutex> alone(one_at_a_time_, std::try_to_lock);
    if (!alone.owns_lock()) return false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (; started_ + 1 < team.size; ++started_) {
        std::thread([this, number = started_ + 1, seen = round_] { work(number, seen); }).detach();
      }
      team_ = &team;
      size_ = team.size;
      running_ = team.size - 1;
      ++round_;
    }
    begins_.notify_all();
    run_part(team, 0);
    std::unique_lock<std::mutex> lock(mutex_);
    ends_.wait(lock, [&] { return running_ == 0; });
    return true;
  }

  // Until all threads of the team are there.
  void meet(const Team& team) {
    std::unique_lock<std::mutex> lock(mutex_);
    const unsigned int meeting = meetings_;
    if (++arrived_ == team.size) {
      arrived_ = 0;
      ++meetings_;
      meets_.notify_all();
    } else {
      meets_.wait(lock, [&] { return meetings_ != meeting; });
    }
  }

  std::mutex& combining() { return combining_; }

 private:
  void work(int number, unsigned int seen) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      begins_.wait(lock, [&] { return round_ != seen; });
      seen = round_;
      if (number >= size_) continue;  // the team of a region that this thread is not of may be gone
      Team& team = *team_;
      lock.unlock();
      run_part(team, number);
      lock.lock();
      if (--running_ == 0) ends_.notify_one();
    }
  }

  std::mutex one_at_a_time_;
  std::mutex combining_;
  std::mutex mutex_;  // of all that follows
  std::condition_variable begins_;
  std::condition_variable ends_;
  std::condition_variable meets_;
  Team* team_ = nullptr;
  int size_ = 0;  // of the last team
  unsigned int round_ = 0;
  unsigned int meetings_ = 0;
  int started_ = 0;
  int running_ = 0;
  int arrived_ = 0;
};

Threads& threads() {
  static auto* const all = new Threads;  // outlives the threads
  return *all;
}

int size_of_team() { return place.team == nullptr ? 1 : place.team->size; }

// The thread's part of a loop from *lower to *upper, both inclusive; empty where *upper is less then.
template <typename T>
void share(Int schedule, Int* is_last, T* lower, T* upper, std::make_signed_t<T>* stride, T step, T chunk) {
  constexpr Int kChunked = 33;
  const auto number = static_cast<T>(place.number);
  const auto size = static_cast<T>(size_of_team());
  if (*upper < *lower) {
    *is_last = 0;
    return;
  }
  const T trips = (*upper - *lower) / step + 1;
  if (schedule == kChunked) {
    const T span = std::max<T>(chunk, 1) * step;
    *stride = static_cast<std::make_signed_t<T>>(span * size);
    *lower += span * number;
    *upper = *lower + span - step;
    *is_last = (trips - 1) / std::max<T>(chunk, 1) % size == number ? 1 : 0;
    return;
  }
  const T each = trips / size;
  const T longer = trips % size;
  *stride = static_cast<std::make_signed_t<T>>(trips * step);
  *lower += step * (number * each + std::min(number, longer));
  *upper = *lower + step * each;
  if (number >= longer) *upper -= step;
  *is_last = number + 1 == std::min(size, trips) ? 1 : 0;
}

}  // namespace

extern "C" {

// The lock that Clang gives to reductions. It is a common symbol, which objects of WebAssembly have none of.
extern Int aotbuild_reduction_lock[8] __asm__(".gomp_critical_user_.reduction.var");
Int aotbuild_reduction_lock[8] = {};

int omp_get_num_procs() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }
int omp_get_max_threads() { return most_threads > 0 ? most_threads : omp_get_num_procs(); }
int omp_get_num_threads() { return size_of_team(); }
int omp_get_thread_num() { return place.number; }
int omp_in_parallel() { return place.team != nullptr ? 1 : 0; }
void omp_set_num_threads(int count) { most_threads = count; }
int omp_get_dynamic() { return 0; }
void omp_set_dynamic(int) {}

Int __kmpc_global_thread_num(const void*) { return place.number; }
void __kmpc_push_num_threads(const void*, Int, Int count) { wanted = count; }

void __kmpc_fork_call(const void*, Int count, Region region, ...) {
  std::array<void*, kMostVariables> variables{};
  std::va_list list;
  va_start(list, region);
  for (Int i = 0; i < count; ++i) variables.at(static_cast<std::size_t>(i)) = va_arg(list, void*);
  va_end(list);
  const int asked = std::exchange(wanted, 0);
  Team team{region, variables.data(), static_cast<std::size_t>(count), asked > 0 ? asked : omp_get_max_threads(), {}};
  if (place.team == nullptr && team.size > 1 && threads().run(team)) return;
  team.size = 1;
  run_part(team, 0);
}

void __kmpc_serialized_parallel(const void*, Int) { left.push_back(std::exchange(place, Place{})); }
void __kmpc_end_serialized_parallel(const void*, Int) {
  place = left.back();
  left.pop_back();
}

void __kmpc_barrier(const void*, Int) {
  if (place.team != nullptr) threads().meet(*place.team);
}

// 1: the part for one thread is this one's, which is the first to come to it.
Int __kmpc_single(const void*, Int) {
  if (place.team == nullptr) return 1;
  unsigned int mine = place.singles++;
  return place.team->singles.compare_exchange_strong(mine, mine + 1) ? 1 : 0;
}
void __kmpc_end_single(const void*, Int) {}

void __kmpc_for_static_init_4(const void*, Int, Int schedule, Int* is_last, Int* lower, Int* upper, Int* stride,
                              Int step, Int chunk) {
  share<Int>(schedule, is_last, lower, upper, stride, step, chunk);
}
void __kmpc_for_static_init_4u(const void*, Int, Int schedule, Int* is_last, std::uint32_t* lower, std::uint32_t* upper,
                               Int* stride, Int step, Int chunk) {
  share<std::uint32_t>(schedule, is_last, lower, upper, stride, static_cast<std::uint32_t>(step),
                       static_cast<std::uint32_t>(chunk));
}
void __kmpc_for_static_init_8(const void*, Int, Int schedule, Int* is_last, std::int64_t* lower, std::int64_t* upper,
                              std::int64_t* stride, std::int64_t step, std::int64_t chunk) {
  share<std::int64_t>(schedule, is_last, lower, upper, stride, step, chunk);
}
void __kmpc_for_static_init_8u(const void*, Int, Int schedule, Int* is_last, std::uint64_t* lower, std::uint64_t* upper,
                               std::int64_t* stride, std::int64_t step, std::int64_t chunk) {
  share<std::uint64_t>(schedule, is_last, lower, upper, stride, static_cast<std::uint64_t>(step),
                       static_cast<std::uint64_t>(chunk));
}
void __kmpc_for_static_fini(const void*, Int) {}

// 1: the thread adds its values to the others'.
Int __kmpc_reduce_nowait(const void*, Int, Int, std::size_t, void*, void (*)(void*, void*), void*) {
  threads().combining().lock();
  return 1;
}
void __kmpc_end_reduce_nowait(const void*, Int, void*) { threads().combining().unlock(); }

}  // extern "C"
