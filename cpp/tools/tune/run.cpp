#include "run.hpp"

#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "measure.hpp"

namespace aotbuild::tune {

namespace {

using Clock = std::chrono::steady_clock;

// Exit statuses of a process that measures.
constexpr int kDone = 0;
constexpr int kRefused = 1;     // an error that another process would meet as well
constexpr int kDeviceLost = 2;  // the candidate's result is written; the rest takes another process

// A process that ended while it measured a candidate is tried once more: somebody may have killed it.
constexpr int kMaxStarts = 2;
// Candidates within this factor of the fastest are compared once more, one after the other and again.
constexpr double kNear = 1.1;
constexpr std::size_t kMaxNear = 4;
constexpr int kRounds = 3;
constexpr double kWarmUpSeconds = 0.5;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A line on a terminal that is written over; elsewhere a line for each kernel.
class Progress {
 public:
  Progress(std::size_t total, std::size_t done)
      : total_(total), done_(done), is_terminal_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() {
    if (is_terminal_) std::fputc('\n', stderr);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(const Kernel& kernel) {
    ++done_;
    ++here_;
    if (!is_terminal_) return;
    constexpr int kWidth = 30;
    const int filled = static_cast<int>(kWidth * done_ / std::max<std::size_t>(total_, 1));
    const double left = seconds_since(start_) / static_cast<double>(here_) * static_cast<double>(total_ - done_);
    std::fprintf(stderr, "\r[%.*s%*s] %zu/%zu candidates, %.0f s left  %.40s\x1b[K", filled,
                 "##############################", kWidth - filled, "", done_, total_, left, kernel.name.c_str());
    std::fflush(stderr);
  }
  void finish(const Kernel& kernel, double heuristics, double best) const {
    if (is_terminal_) return;
    std::fprintf(stderr, "aotbuild-tune: %s %.2f us, without tuning %.2f us\n", kernel.name.c_str(), best, heuristics);
  }

 private:
  const std::size_t total_;
  std::size_t done_;
  std::size_t here_ = 0;
  const bool is_terminal_;
  const Clock::time_point start_ = Clock::now();
};

// A candidate's time over all cases, relative to another's.
double ratio(const std::vector<double>& times, const std::vector<double>& others) {
  double sum = 0;
  for (std::size_t i = 0; i < times.size(); ++i) sum += times[i] / others[i];
  return sum / static_cast<double>(times.size());
}

class Run {
 public:
  Run(const RunOptions& options, const Bundle& bundle, Clock::time_point start)
      : options_(options), bundle_(bundle), start_(start), results_(options.results, bundle) {
    for (std::size_t i = options.shard; i < bundle.kernels.size(); i += options.shards) {
      kernels_.push_back(&bundle.kernels[i]);
    }
  }

  int measure_all() {
    std::size_t total = 0;
    for (const Kernel* kernel : kernels_) total += kernel->candidates.size();
    if (is_complete()) return kDone;
    Bench bench(bundle_, options_.device);
    results_.begin(bench.machine());
    const std::size_t before = results_.finished();
    {
      Progress progress(total, before);
      if (!measure_each(bench, &progress)) {
        std::fprintf(stderr, "aotbuild-tune: the time limit is over; the same command goes on from here\n");
      }
    }
    summarize(before);
    return kDone;
  }

 private:
  // False: the time is over.
  bool measure_each(Bench& bench, Progress* progress) {
    for (const Kernel* kernel : kernels_) {
      if (results_.is_settled(kernel->key)) continue;
      bool is_in_time = true;
      try {
        is_in_time = measure(bench, *kernel, progress);
      } catch (const DeviceLost&) {
        throw;
      } catch (const detail::Error& error) {
        // Its memory, say, does not fit into the device's; other kernels' may.
        std::fprintf(stderr, "aotbuild-tune: %s is left out: %s\n", kernel->name.c_str(), error.what());
        results_.settle(kernel->key);
      }
      if (!is_in_time) return false;
    }
    return true;
  }

  // `before`: how many candidates had a result when this process began.
  void summarize(std::size_t before) const {
    std::size_t total = 0;
    for (const Kernel* kernel : kernels_) total += kernel->candidates.size();
    std::fprintf(
        stderr,
        "aotbuild-tune: %.1f s; of %zu candidates of %zu kernels %zu measured, %zu given up as slow, %zu wrong, "
        "%zu failed; %zu of these results were there before\n",
        seconds_since(start_), total, kernels_.size(), results_.count(Status::kMeasured), results_.count(Status::kSlow),
        results_.count(Status::kWrong), results_.count(Status::kFailed), before);
  }

  bool is_complete() const {
    return std::all_of(kernels_.begin(), kernels_.end(),
                       [&](const Kernel* kernel) { return results_.is_settled(kernel->key); });
  }
  bool is_over() const { return options_.time_limit > 0 && seconds_since(start_) > options_.time_limit; }

  // False: the time is over.
  bool measure(Bench& bench, const Kernel& kernel, Progress* progress) {
    KernelBench memory(bench, bundle_, kernel);
    std::vector<double> best;
    for (std::size_t i = 0; i < kernel.candidates.size(); ++i) {
      const Outcome* known = results_.find(kernel.key, i);
      if (known != nullptr && known->status != Status::kStarted) {
        if (known->status == Status::kMeasured && (best.empty() || ratio(known->times, best) < 1)) best = known->times;
        continue;
      }
      if (known != nullptr && known->starts >= kMaxStarts) {
        Outcome outcome;
        outcome.status = Status::kFailed;
        outcome.message = "the process ended or hung while it ran";
        report(kernel, i, outcome);
        continue;
      }
      if (is_over()) return false;
      results_.start(kernel.key, i);
      try {
        refer(memory, kernel, i);
        warm_up(memory, kernel.candidates[i]);
        const Outcome outcome = memory.measure(kernel.candidates[i], best);
        if (outcome.status == Status::kMeasured && (best.empty() || ratio(outcome.times, best) < 1)) {
          best = outcome.times;
        }
        report(kernel, i, outcome);
      } catch (const DeviceLost& error) {
        fail_candidate(kernel, i, error);
        throw;
      } catch (const detail::Error& error) {
        fail_candidate(kernel, i, error);
      }
      progress->advance(kernel);
    }
    settle(memory, kernel, progress);
    return true;
  }

  // Makes the first candidate that runs the reference of the others.
  void refer(KernelBench& memory, const Kernel& kernel, std::size_t current) {
    if (memory.has_reference()) return;
    std::size_t first = current;
    for (std::size_t i = 0; i < current && first == current; ++i) {
      const Outcome* known = results_.find(kernel.key, i);
      if (known != nullptr && (known->status == Status::kMeasured || known->status == Status::kSlow)) first = i;
    }
    memory.set_reference(kernel.candidates[first]);
  }

  // The device's clocks rise only under load.
  void warm_up(KernelBench& memory, const Candidate& candidate) {
    if (is_warm_) return;
    is_warm_ = true;
    const Clock::time_point start = Clock::now();
    while (seconds_since(start) < kWarmUpSeconds && memory.measure(candidate, {}).status == Status::kMeasured) {
    }
  }

  // Compares the fastest candidates once more, in turns, so that a change of the clocks meets them all.
  void settle(KernelBench& memory, const Kernel& kernel, Progress* progress) {
    std::vector<std::size_t> near;
    for (std::size_t i = 0; i < kernel.candidates.size(); ++i) {
      const Outcome* known = results_.find(kernel.key, i);
      if (known != nullptr && known->status == Status::kMeasured) near.push_back(i);
    }
    if (near.empty()) {
      std::fprintf(stderr, "aotbuild-tune: no candidate of %s runs\n", kernel.name.c_str());
      results_.settle(kernel.key);
      return;
    }
    const auto times = [&](std::size_t i) -> const std::vector<double>& { return results_.find(kernel.key, i)->times; };
    const std::size_t choice = near.front();  // without tuning, if it runs at all
    std::stable_sort(near.begin(), near.end(),
                     [&](std::size_t a, std::size_t b) { return ratio(times(a), times(b)) < 1; });
    const std::vector<double> fastest = times(near.front());
    const auto far =
        std::find_if(near.begin(), near.end(), [&](std::size_t i) { return ratio(times(i), fastest) > kNear; });
    near.erase(far, near.end());
    near.resize(std::min(near.size(), kMaxNear));
    if (std::find(near.begin(), near.end(), choice) == near.end()) near.push_back(choice);
    std::vector<std::vector<Outcome>> rounds(near.size());
    refer(memory, kernel, near.front());
    for (int round = 0; round < kRounds; ++round) {
      for (std::size_t i = 0; i < near.size(); ++i) {
        rounds[i].push_back(memory.measure(kernel.candidates[near[i]], {}));
      }
    }
    for (std::size_t i = 0; i < near.size(); ++i) {
      Outcome outcome = rounds[i].front();
      for (std::size_t one = 0; one < outcome.times.size(); ++one) {
        std::vector<double> samples;
        for (const Outcome& sample : rounds[i]) samples.push_back(sample.times.size() > one ? sample.times[one] : 0);
        std::sort(samples.begin(), samples.end());
        outcome.times[one] = samples[samples.size() / 2];
      }
      results_.finish(kernel.key, near[i], outcome);
    }
    results_.settle(kernel.key);
    double best = times(near.front()).front();
    for (const std::size_t i : near) best = std::min(best, times(i).front());
    progress->finish(kernel, times(choice).front(), best);
  }

  void fail_candidate(const Kernel& kernel, std::size_t candidate, const detail::Error& error) {
    Outcome outcome;
    outcome.status = Status::kFailed;
    outcome.message = error.what();
    report(kernel, candidate, outcome);
  }

  void report(const Kernel& kernel, std::size_t candidate, const Outcome& outcome) {
    results_.finish(kernel.key, candidate, outcome);
    if (outcome.status != Status::kWrong && outcome.status != Status::kFailed) return;
    std::fprintf(stderr, "aotbuild-tune: %s with %s %s: %s\n", kernel.name.c_str(),
                 kernel.candidates[candidate].config.c_str(), outcome.status == Status::kWrong ? "is wrong" : "failed",
                 outcome.message.c_str());
  }

  const RunOptions& options_;
  const Bundle& bundle_;
  const Clock::time_point start_;
  Results results_;
  std::vector<const Kernel*> kernels_;
  bool is_warm_ = false;
};

off_t size_of(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 ? status.st_size : 0;
}

[[noreturn]] void measure_in_child(const RunOptions& options, const Bundle& bundle, Clock::time_point start) {
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody would end it when it hangs
#endif
  int status = kRefused;
  try {
    status = Run(options, bundle, start).measure_all();
  } catch (const DeviceLost&) {
    status = kDeviceLost;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "aotbuild-tune: %s\n", error.what());
  }
  std::fflush(nullptr);
  _exit(status);
}

// Waits for the child, and kills it when it makes no progress. Returns what waitpid gives.
int wait_for(pid_t child, const RunOptions& options) {
  off_t size = size_of(options.results);
  Clock::time_point last = Clock::now();
  for (;;) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const off_t now = size_of(options.results);
    if (now != size) {
      size = now;
      last = Clock::now();
    } else if (seconds_since(last) > options.hang_limit) {
      kill(child, SIGKILL);
      last = Clock::now();
    }
  }
}

}  // namespace

int run(const RunOptions& options) {
  const Clock::time_point start = Clock::now();
  const Bundle bundle = read_bundle(options.bundle);
  for (;;) {
    const off_t before = size_of(options.results);
    const pid_t child = fork();
    if (child < 0) detail::fail(AOTBUILD_RUNTIME_ERROR, "aotbuild-tune: no process can be started");
    if (child == 0) measure_in_child(options, bundle, start);
    const int status = wait_for(child, options);
    if (WIFEXITED(status) && WEXITSTATUS(status) != kDeviceLost) return WEXITSTATUS(status);
    if (size_of(options.results) == before) {
      detail::fail(AOTBUILD_RUNTIME_ERROR, "aotbuild-tune: the measuring process ended before its first candidate");
    }
  }
}

}  // namespace aotbuild::tune
