// All calls of the C ABI in random mixes from several threads over one model, for a time; for the thread sanitizer too.
// A timer's signals interrupt what they can, and now and then a fork calls the model.
//
// Usage: mixes MODEL WEIGHTS SECONDS SEED [nofork]. Prints as JSON how often each call was made.
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <mutex>
#include <random>
#include <thread>

#include "subject.hpp"

namespace {

using namespace aotbuild::reliability;

constexpr int kThreads = 6, kSizes = 4;

std::atomic<long long> signals{0};

void on_signal(int) { ++signals; }

}  // namespace

int main(int argc, char** argv) {
  const aotbuild_api* const api = argc >= 5 ? find_model(argv[1]) : nullptr;
  if (api == nullptr) {
    std::fprintf(stderr, "usage: mixes MODEL WEIGHTS SECONDS SEED [nofork]\n");
    return 2;
  }
  const char* const weights = argv[2];
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[3]));
  const auto seed = static_cast<unsigned>(std::atoi(argv[4]));
  aotbuild_model* model = nullptr;
  if (Subject(*api, weights).create(&model) != AOTBUILD_OK) broken(api->last_error());
  std::string expected[kSizes];
  for (int size = 0; size < kSizes; ++size) Subject(*api, weights, size).run(model, &expected[size]);

  struct sigaction action{};
  action.sa_handler = on_signal;  // without SA_RESTART: calls of the system end early
  sigaction(SIGALRM, &action, nullptr);
  const itimerval interval{{0, 2000}, {0, 2000}};
  setitimer(ITIMER_REAL, &interval, nullptr);

  std::map<std::string, long long> counts;
  std::mutex counting;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      std::minstd_rand random(seed * 100 + static_cast<unsigned>(thread) + 1);
      std::vector<std::unique_ptr<Subject>> subjects;
      for (int size = 0; size < kSizes; ++size) subjects.push_back(std::make_unique<Subject>(*api, weights, size));
      std::map<std::string, long long> made;
      std::string bytes;
      aotbuild_model* session = nullptr;
      while (std::chrono::steady_clock::now() < end) {
        const auto size = random() % kSizes;
        aotbuild_model* const called = session != nullptr && random() % 2 == 0 ? session : model;
        switch (random() % 16) {
          case 0:
            api->destroy(session);
            session = nullptr;
            require(api->new_session(model, &session) == AOTBUILD_OK, "a session can be made");
            ++made["new_session"];
            break;
          case 1:
            require(api->load_weights(called, weights) == AOTBUILD_OK, "weights can be exchanged");
            ++made["load_weights"];
            break;
          case 2:
            require(api->load_weights(called, "/nowhere") == AOTBUILD_INVALID_WEIGHTS, "a missing file is refused");
            require(std::strstr(api->last_error(), "/nowhere") != nullptr, "the error is this thread's own");
            ++made["load_weights of a missing file"];
            break;
          case 3: {
            aotbuild_statistics statistics{};
            statistics.struct_size = sizeof statistics;
            require(api->statistics(called, &statistics) == AOTBUILD_OK, "statistics are given");
            ++made["statistics"];
            break;
          }
          case 4:
            require(api->manual_seed(called, random()) == AOTBUILD_OK, "a seed is taken");
            ++made["manual_seed"];
            break;
          case 5: {
            aotbuild_tensor none{};
            require(api->run(called, 0, nullptr, &none, 1, &none, 1, nullptr) != AOTBUILD_OK,
                    "a wrong call is refused");
            ++made["run that is refused"];
            break;
          }
          case 6:
            require(std::strlen(api->describe()->name) != 0, "a model describes itself");
            ++made["describe"];
            break;
          case 7: {
            aotbuild_model* other = nullptr;
            require(subjects[0]->create(&other) == AOTBUILD_OK, "another model can be made");
            api->destroy(other);
            ++made["create"];
            break;
          }
          default:
            require(subjects[size]->run(called, &bytes) == AOTBUILD_OK, "a call is well");
            require(bytes == expected[size], "the outputs stay the same");
            ++made["run"];
        }
      }
      api->destroy(session);
      const std::lock_guard<std::mutex> lock(counting);
      for (const auto& [name, count] : made) counts[name] += count;
    });
  }
  for (std::thread& thread : threads) thread.join();
  const itimerval none{};
  setitimer(ITIMER_REAL, &none, nullptr);
  if (argc == 5) {
    // After threads have used it, in a process that has only this one.
    for (int i = 0; i < 100; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        std::string bytes;
        const bool is_well = Subject(*api, weights).run(model, &bytes) == AOTBUILD_OK && bytes == expected[0];
        _exit(is_well ? 0 : 1);
      }
      int status = 0;
      require(waitpid(child, &status, 0) == child && status == 0, "a fork can call the model");
      ++counts["forks"];
    }
  }
  api->destroy(model);
  counts["signals"] = signals;
  print_counts(counts);
  return 0;
}
