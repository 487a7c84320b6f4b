// Millions of calls with changing sizes, while sessions are made and destroyed, weights exchanged, and threads come and
// go: memory, files and mappings of the process stay what they are, and so do the outputs.
//
// Usage: soak MODEL WEIGHTS CALLS [SIZES]. Prints as JSON what was done, and the most that was held in the second and
// in the last tenth.
#include <dirent.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "subject.hpp"

namespace {

using namespace aotbuild::reliability;

constexpr int kThreads = 4;
constexpr int kParts = 10;

struct Held {
  long long kib = 0, files = 0, mappings = 0;
  void raise(const Held& other) {
    kib = std::max(kib, other.kib);
    files = std::max(files, other.files);
    mappings = std::max(mappings, other.mappings);
  }
};

Held held_now() {
  Held held;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) held.kib = std::atoll(line.c_str() + 6);
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) ++held.mappings;
  DIR* const folder = opendir("/proc/self/fd");
  while (readdir(folder) != nullptr) ++held.files;
  closedir(folder);
  return held;
}

}  // namespace

int main(int argc, char** argv) {
  const aotbuild_api* const api = argc >= 4 ? find_model(argv[1]) : nullptr;
  if (api == nullptr) {
    std::fprintf(stderr, "usage: soak MODEL WEIGHTS CALLS [SIZES]\n");
    return 2;
  }
  const char* const weights = argv[2];
  const long long calls = std::atoll(argv[3]);
  const int sizes = argc > 4 ? std::atoi(argv[4]) : 5;
  std::vector<std::string> expected(static_cast<std::size_t>(sizes));
  aotbuild_model* model = nullptr;
  if (Subject(*api, weights).create(&model) != AOTBUILD_OK) broken(api->last_error());
  for (int size = 0; size < sizes; ++size) {
    if (Subject(*api, weights, size).run(model, &expected[static_cast<std::size_t>(size)]) != AOTBUILD_OK) {
      broken(api->last_error());
    }
  }
  std::atomic<long long> made{0}, sessions{0}, exchanges{0};
  long long threads = 0;
  Held early, late;
  for (int part = 0; part < kParts; ++part) {
    // Threads live for a hundredth of all calls.
    for (int round = 0; round < 10; ++round) {
      const long long each = calls / (kParts * 10 * kThreads) + 1;
      std::vector<std::thread> running;
      for (int thread = 0; thread < kThreads; ++thread) {
        running.emplace_back([&, thread] {
          std::vector<std::unique_ptr<Subject>> subjects;
          for (int size = 0; size < sizes; ++size) subjects.push_back(std::make_unique<Subject>(*api, weights, size));
          std::string bytes;
          aotbuild_model* session = nullptr;
          for (long long call = 0; call < each; ++call) {
            if (call % 256 == 0) {
              api->destroy(session);
              require(api->new_session(model, &session) == AOTBUILD_OK, "a session can be made");
              ++sessions;
            }
            if (thread == 0 && call % 1024 == 512) {
              require(api->load_weights(model, weights) == AOTBUILD_OK, "weights can be exchanged");
              ++exchanges;
            }
            const auto size = static_cast<std::size_t>(call + thread) % subjects.size();
            require(subjects[size]->run(call % 2 == 0 ? model : session, &bytes) == AOTBUILD_OK, "a call is well");
            require(bytes == expected[size], "the outputs stay the same");
          }
          api->destroy(session);
          made += each;
        });
      }
      threads += kThreads;
      for (std::thread& thread : running) thread.join();
      if (part == 1) early.raise(held_now());
      if (part == kParts - 1) late.raise(held_now());
    }
  }
  api->destroy(model);
  print_counts({{"calls", made},
                {"sessions", sessions},
                {"exchanges of weights", exchanges},
                {"threads", threads},
                {"early KiB", early.kib},
                {"late KiB", late.kib},
                {"early files", early.files},
                {"late files", late.files},
                {"early mappings", early.mappings},
                {"late mappings", late.mappings}});
  return 0;
}
