// Millions of calls with changing sizes, while sessions are made and destroyed, weights exchanged, and threads come and
// go: memory, files and mappings of the process stay what they are, and so do the outputs.
//
// Usage: soak MODEL WEIGHTS CALLS [SIZES]. CALLS with an s behind it is seconds. Prints as JSON what was done, and the
// most that was held in the second and in the last tenth; of a model for CUDA also of the device's memory, which
// nothing may use then but another soak that begins and ends with this one.
#include <dirent.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <optional>
#include <thread>

#include "../gpu/driver.hpp"
#include "subject.hpp"

namespace {

using namespace aotbuild::reliability;

constexpr int kThreads = 4;
constexpr int kParts = 10;

struct Held {
  long long kib = 0, files = 0, mappings = 0, device_kib = 0;
  std::string maps;  // where there were the most
  void raise(const Held& other) {
    device_kib = std::max(device_kib, other.device_kib);
    kib = std::max(kib, other.kib);
    files = std::max(files, other.files);
    if (other.mappings <= mappings) return;
    mappings = other.mappings;
    maps = other.maps;
  }
};

// `device`: of a model for CUDA.
Held held_now(const std::optional<Driver>& device) {
  Held held;
  if (device) held.device_kib = static_cast<long long>(device->used_bytes() / 1024);
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) held.kib = std::atoll(line.c_str() + 6);
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line); ++held.mappings) held.maps += line + "\n";
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
  using Clock = std::chrono::steady_clock;
  const long long number = std::atoll(argv[3]);
  const bool is_timed = argv[3][std::strlen(argv[3]) - 1] == 's';
  const auto seconds_each = std::chrono::duration<double>(is_timed ? static_cast<double>(number) / (kParts * 10) : 0);
  const int sizes = argc > 4 ? std::atoi(argv[4]) : 5;
  std::vector<std::string> expected(static_cast<std::size_t>(sizes));
  aotbuild_model* model = nullptr;
  if (Subject(*api, weights).create(&model) != AOTBUILD_OK) broken(api->last_error());
  for (int size = 0; size < sizes; ++size) {
    if (Subject(*api, weights, size).run(model, &expected[static_cast<std::size_t>(size)]) != AOTBUILD_OK) {
      broken(api->last_error());
    }
  }
  std::optional<Driver> device;
  if (api->describe()->methods[0]->inputs[0]->device.type == AOTBUILD_CUDA) device.emplace();
  std::atomic<long long> made{0}, sessions{0}, exchanges{0};
  long long threads = 0;
  Held early, late;
  for (int part = 0; part < kParts; ++part) {
    // Threads live for a hundredth of all calls.
    for (int round = 0; round < 10; ++round) {
      const long long each = number / (kParts * 10 * kThreads) + 1;
      const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(seconds_each);
      std::vector<std::thread> running;
      for (int thread = 0; thread < kThreads; ++thread) {
        running.emplace_back([&, thread] {
          std::vector<std::unique_ptr<Subject>> subjects;
          for (int size = 0; size < sizes; ++size) subjects.push_back(std::make_unique<Subject>(*api, weights, size));
          std::string bytes;
          aotbuild_model* session = nullptr;
          long long call = 0;
          for (; is_timed ? Clock::now() < end : call < each; ++call) {
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
          made += call;
        });
      }
      threads += kThreads;
      for (std::thread& thread : running) thread.join();
      if (part == 1) early.raise(held_now(device));
      if (part == kParts - 1) late.raise(held_now(device));
    }
  }
  api->destroy(model);
  std::map<std::string, long long> counts = {{"calls", made},
                                             {"sessions", sessions},
                                             {"exchanges of weights", exchanges},
                                             {"threads", threads},
                                             {"early KiB", early.kib},
                                             {"late KiB", late.kib},
                                             {"early files", early.files},
                                             {"late files", late.files},
                                             {"early mappings", early.mappings},
                                             {"late mappings", late.mappings}};
  if (device) {
    counts["early device KiB"] = early.device_kib;
    counts["late device KiB"] = late.device_kib;
  }
  if (late.mappings > early.mappings) {
    std::fprintf(stderr, "mappings before:\n%s\nand after:\n%s\n", early.maps.c_str(), late.maps.c_str());
  }
  print_counts(counts);
  return 0;
}
