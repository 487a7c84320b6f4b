// A loop of fixed rate beside a model: the loop never waits for a call, and a call always sees the newest observation.
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <optional>
#include <thread>

#include "pilot.hpp"

namespace {

using Observation = std::array<float, 12>;
using Steering = std::array<float, 2>;

// A thread that turns the newest observation into a steering vector. An observation that a newer one overtakes is
// never looked at, as in the callbacks of a robot with a queue of length 1.
class Thinker {
 public:
  Thinker() : thread_([this] { work(); }) {}
  Thinker(const Thinker&) = delete;
  Thinker& operator=(const Thinker&) = delete;
  ~Thinker() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  void observe(const Observation& observation) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      newest_ = observation;
    }
    changed_.notify_one();
  }

  // The last steering vector, and how many there have been.
  Steering steering(int* decisions) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    *decisions = decisions_;
    return steering_;
  }

 private:
  void work() {
    aotbuild::Options options;
    options.num_threads = 1;  // the other cores are the loop's
    const Pilot pilot(options);
    Steering steering{};
    while (true) {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return stopped_ || newest_.has_value(); });
      if (stopped_) return;
      const Observation observation = *newest_;
      newest_.reset();
      lock.unlock();
      pilot.run({{observation.data(), {12}}}, {{steering.data(), {2}}});  // writes there, and allocates nothing
      lock.lock();
      steering_ = steering;
      ++decisions_;
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Observation> newest_;
  Steering steering_{};
  int decisions_ = 0;
  bool stopped_ = false;
  std::thread thread_;  // last: it uses what is above
};

}  // namespace

int main() {
  constexpr int kFrames = 60;
  constexpr auto kFrame = std::chrono::microseconds(16667);
  Thinker thinker;
  std::array<float, 2> place{};
  int decisions = 0;
  auto next = std::chrono::steady_clock::now();
  for (int frame = 0; frame < kFrames; ++frame) {
    Observation observation{};
    observation[0] = place[0];
    observation[1] = place[1];
    observation[2] = 1.0F;
    thinker.observe(observation);
    const Steering steering = thinker.steering(&decisions);
    for (std::size_t axis = 0; axis < place.size(); ++axis) place[axis] += steering[axis] / 60;
    next += kFrame;
    std::this_thread::sleep_until(next);
  }
  std::cout << kFrames << " frames at 60 a second, " << (decisions > 0 ? "steered by the model" : "never steered")
            << '\n';
  return decisions > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
