// Parallel regions as the runtime and generated kernels have them, over cpp/src/base/openmp_wasm.cpp: prints "ok", or
// what went wrong. Clang compiles it for the machine at hand, where that file works as in WebAssembly.
#include <omp.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

namespace {

using Counts = std::vector<std::atomic<int>>;

int failures = 0;

void expect(bool is_so, const char* what, std::int64_t size) {
  if (is_so || ++failures > 10) return;
  std::printf("%s, %lld iterations\n", what, static_cast<long long>(size));
}

bool are_all(const Counts& counts, int value) {
  bool result = true;
#pragma omp parallel for reduction(&& : result)
  for (std::size_t i = 0; i < counts.size(); ++i) result = result && counts[i] == value;
  return result;
}

// `is_alone`: no other thread has regions, which would leave those of this one without threads.
void count_loops(std::int64_t size, bool is_alone) {
  Counts counts(static_cast<std::size_t>(size));
  const auto at = [&](std::int64_t i) -> std::atomic<int>& { return counts[static_cast<std::size_t>(i)]; };
#pragma omp parallel for schedule(static, 1) if (size > 3)
  for (std::int64_t i = 0; i < size; ++i) ++at(i);
  expect(are_all(counts, 1), "chunks of one", size);
#pragma omp parallel for collapse(2) num_threads(3)
  for (std::int64_t i = 0; i < size; ++i) {
    for (std::int64_t j = 0; j < 2; ++j) at(i) += !is_alone || omp_get_num_threads() == 3 ? 1 : 100;
  }
  expect(are_all(counts, 3), "two loops as one", size);
  std::atomic<unsigned int> sum{0};
#pragma omp parallel for
  for (unsigned int i = 0; i < static_cast<unsigned int>(size); ++i) sum += i;
  expect(sum == static_cast<unsigned int>(size * (size - 1) / 2), "whole numbers without signs", size);
}

void meet(std::int64_t size) {
  std::vector<int> made(static_cast<std::size_t>(size));
  std::atomic<int> wrong{0};
  std::atomic<int> threads{0};
  int singles = 0;
#pragma omp parallel
  {
    const int number = omp_get_thread_num();
    ++threads;
    wrong += omp_in_parallel() == 1 && omp_get_num_threads() == 4 ? 0 : 1;
#pragma omp for
    for (std::int64_t i = 0; i < size; ++i) made[static_cast<std::size_t>(i)] = 1;
#pragma omp for
    for (std::int64_t i = 0; i < size; ++i) wrong += made[static_cast<std::size_t>(size - 1 - i)] == 1 ? 0 : 1;
#pragma omp parallel for
    for (int i = 0; i < 3; ++i) wrong += omp_get_thread_num() == 0 && omp_get_num_threads() == 1 ? 0 : 1;
    wrong += omp_get_thread_num() == number ? 0 : 1;
#pragma omp single
    ++singles;
    wrong += singles == 1 ? 0 : 1;
#pragma omp for
    for (std::int64_t i = 0; i < size; ++i) made[static_cast<std::size_t>(i)] = 2;
#pragma omp single
    singles += 10;
    wrong += singles == 11 ? 0 : 1;
  }
  expect(wrong == 0 && threads == 4, "a region of four threads", size);
}

}  // namespace

int main() {
  omp_set_num_threads(4);
  expect(omp_get_max_threads() == 4 && omp_in_parallel() == 0, "outside of regions", 0);
  for (std::int64_t size = 0; size < 600; ++size) {
    count_loops(size, true);
    meet(size);
  }
  // Regions of two threads at a time: one of them is alone in its own.
  std::thread other([] {
    for (std::int64_t size = 0; size < 300; ++size) {
      Counts counts(static_cast<std::size_t>(size));
#pragma omp parallel for
      for (std::int64_t i = 0; i < size; ++i) ++counts[static_cast<std::size_t>(i)];
      for (const std::atomic<int>& count : counts) expect(count == 1, "beside another region", size);
    }
  });
  for (std::int64_t size = 0; size < 300; ++size) count_loops(size, false);
  other.join();
  if (failures == 0) std::puts("ok");
  return failures == 0 ? 0 : 1;
}
