// A model in the callbacks of an executor, as nodes of ROS 2 have them: topics with queues of limited length, callbacks
// that threads of a pool run, and one callback of a group at a time. Two robots share the weights of one model.
#include <array>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "navigator.hpp"

namespace {

using Scan = std::array<float, 90>;
using Velocity = std::array<float, 2>;

// Runs what is posted on its threads: rclcpp's MultiThreadedExecutor in little.
class Executor {
 public:
  explicit Executor(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  // Ends when all that was posted has run.
  ~Executor() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void post(std::function<void()> task) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

 private:
  void work() {
    while (true) {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

// A subscription that keeps the last `depth` messages. Its callback is in a mutually exclusive group: whichever thread
// runs it, one message is taken after the other.
template <typename Message>
class Subscription {
 public:
  Subscription(Executor& executor, std::size_t depth, std::function<void(const Message&)> callback)
      : executor_(executor), depth_(depth), callback_(std::move(callback)) {}

  // What a publisher calls; it waits for no callback. Of messages that nobody took in time the oldest is dropped.
  void publish(const Message& message) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (queue_.size() == depth_) queue_.pop_front();
    queue_.push_back(message);
    if (std::exchange(posted_, true)) return;
    executor_.post([this] { take(); });
  }

 private:
  void take() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!queue_.empty()) {
      const Message message = queue_.front();
      queue_.pop_front();
      lock.unlock();
      callback_(message);
      lock.lock();
    }
    posted_ = false;
  }

  Executor& executor_;
  std::size_t depth_;
  std::function<void(const Message&)> callback_;
  std::mutex mutex_;
  std::deque<Message> queue_;
  bool posted_ = false;
};

// One robot: a session over the weights of a model that all robots share, with a memory of its own.
class Robot {
 public:
  Robot(Executor& executor, const Navigator& model, std::size_t depth)
      : navigator_(model.new_session()), scans_(executor, depth, [this](const Scan& scan) { drive(scan); }) {}

  void publish(const Scan& scan) { scans_.publish(scan); }

  const std::vector<Velocity>& velocities() const { return velocities_; }  // once the executor has ended

 private:
  void drive(const Scan& scan) {
    Velocity velocity{};
    navigator_.run({{scan.data(), {90}}}, {{velocity.data(), {2}}});
    velocities_.push_back(velocity);
  }

  Navigator navigator_;
  std::vector<Velocity> velocities_;
  Subscription<Scan> scans_;
};

Scan made_up_scan(int robot, int number) {
  Scan scan{};
  for (std::size_t ray = 0; ray < scan.size(); ++ray) {
    scan[ray] = 0.1F * static_cast<float>((7 * static_cast<int>(ray) + 3 * number + 11 * robot) % 40);
  }
  return scan;
}

}  // namespace

int main() {
  constexpr int kScans = 50;
  aotbuild::Options options;
  options.num_threads = 1;  // the executor's threads are the parallel ones
  const Navigator model(options);
  std::vector<std::unique_ptr<Robot>> robots;
  {
    Executor executor(2);
    for (int robot = 0; robot < 2; ++robot) robots.push_back(std::make_unique<Robot>(executor, model, kScans));
    for (int number = 0; number < kScans; ++number) {
      for (int robot = 0; robot < 2; ++robot)
        robots[static_cast<std::size_t>(robot)]->publish(made_up_scan(robot, number));
    }
  }

  // Alone and in order, the second robot would have driven the same way.
  const Navigator alone = model.new_session();
  bool same = true;
  for (int number = 0; number < kScans; ++number) {
    const Scan scan = made_up_scan(1, number);
    const auto outputs = alone.run({{scan.data(), {90}}});
    const Velocity& driven = robots[1]->velocities()[static_cast<std::size_t>(number)];
    same = same && outputs.velocity(0) == driven[0] && outputs.velocity(1) == driven[1];
  }
  std::cout << robots[0]->velocities().size() << " and " << robots[1]->velocities().size() << " scans on two threads\n"
            << "as one robot alone: " << (same ? "the same bits" : "different") << '\n';
  return same ? EXIT_SUCCESS : EXIT_FAILURE;
}
