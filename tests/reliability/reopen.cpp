// Shared model libraries that are opened, called and closed again and again, all of them in one process.
//
// Usage: reopen TIMES LIBRARY... Prints as JSON how often, the memory after a tenth of them and at the end, and a
// checksum of each library's outputs. Compiled with OpenMP, the program has threads of its own between the calls, and
// the models have two each.
#include <dlfcn.h>

#include <fstream>

#define AOTBUILD_MODELS
#include "subject.hpp"

namespace {

using namespace aotbuild::reliability;

long long resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::atoll(line.c_str() + 6);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: reopen TIMES LIBRARY...\n");
    return 2;
  }
  const int times = std::atoi(argv[1]);
  std::vector<std::string> expected(static_cast<std::size_t>(argc));
  long long early = 0, gone = 0, sum = 0;
#ifdef _OPENMP
  constexpr int kThreads = 2;
#else
  constexpr int kThreads = 1;
#endif
  for (int time = 0; time < times; ++time) {
    std::vector<void*> libraries;
    for (int i = 2; i < argc; ++i) {
      // Every other time its symbols are for all that is opened later, as those of libraries that are linked in.
      libraries.push_back(dlopen(argv[i], RTLD_NOW | (time % 2 == 0 ? RTLD_LOCAL : RTLD_GLOBAL)));
      if (libraries.back() == nullptr) broken(dlerror());
      const auto* const api = static_cast<const aotbuild_api*>(dlsym(libraries.back(), "aotbuild_model_api"));
      require(api != nullptr && api->abi_version == AOTBUILD_ABI_VERSION, "a library has its table");
      Subject subject(*api);
      aotbuild_model* model = nullptr;
      if (subject.create(&model, kThreads) != AOTBUILD_OK) broken(api->last_error());
#ifdef _OPENMP
#pragma omp parallel for reduction(+ : sum) num_threads(3)
#endif
      for (int number = 0; number < 100; ++number) sum += number;
      std::string bytes;
      require(subject.run(model, &bytes) == AOTBUILD_OK, "a call is well");
      std::string& first = expected[static_cast<std::size_t>(i)];
      if (time == 0) first = bytes;
      require(bytes == first, "the outputs stay the same");
      api->destroy(model);
    }
    for (void* library : libraries) require(dlclose(library) == 0, "a library can be closed");
    // A thread that has called attention keeps its library until it ends.
    for (int i = 2; i < argc; ++i) gone += dlopen(argv[i], RTLD_NOW | RTLD_NOLOAD) == nullptr;
    if (time == times / 10) early = resident_kib();
  }
  require(sum == 4950LL * times * (argc - 2), "the program's own sums");
  std::map<std::string, long long> counts = {{"times", times},
                                             {"libraries", argc - 2},
                                             {"unloaded", gone},
                                             {"early KiB", early},
                                             {"late KiB", resident_kib()}};
  for (int i = 2; i < argc; ++i) {
    std::uint32_t checksum = 2166136261U;  // FNV-1a
    for (const char byte : expected[static_cast<std::size_t>(i)]) {
      checksum = (checksum ^ static_cast<unsigned char>(byte)) * 16777619U;
    }
    counts["checksum " + std::to_string(i - 2)] = checksum;
  }
  print_counts(counts);
  return 0;
}
