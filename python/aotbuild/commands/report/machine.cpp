// What a machine can do at most, by short measurements: the roofline of `aotbuild report`. It becomes part of the run
// function that the report measures, behind `nanoseconds()`, whose clock both share.
#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace aotbuild_report {
namespace {

constexpr int kRounds = 5;
constexpr int kSums = 12;  // as many multiplications in a row as two units of a processor take up at a time
constexpr std::int64_t kSteps = 400000;
constexpr std::size_t kCached = 256 * 1024 / sizeof(float);  // of a thread: in the second level of every server's cache

// The least time of several rounds, on so many threads.
template <typename Work>
double seconds(int threads, const Work& work) {
  std::int64_t least = INT64_MAX;
  for (int round = 0; round < kRounds; ++round) {
    const std::int64_t start = nanoseconds();
#pragma omp parallel num_threads(threads)
    work(omp_get_thread_num());
    least = std::min(least, nanoseconds() - start);
  }
  return 1e-9 * static_cast<double>(std::max<std::int64_t>(least, 1));
}

volatile float seen;  // what nobody reads is not computed

#if defined(__x86_64__)
__attribute__((target("avx512f"))) std::int64_t multiply_add_512() {
  __m512 sums[kSums];
  for (__m512& sum : sums) sum = _mm512_set1_ps(1.0F);
  const __m512 factor = _mm512_set1_ps(0.999F);
  for (std::int64_t step = 0; step < kSteps; ++step) {
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, factor);
  }
  for (const __m512& sum : sums) seen = _mm512_cvtss_f32(sum);
  return 2 * 16 * kSums * kSteps;
}

__attribute__((target("avx2,fma"))) std::int64_t multiply_add_256() {
  __m256 sums[kSums];
  for (__m256& sum : sums) sum = _mm256_set1_ps(1.0F);
  const __m256 factor = _mm256_set1_ps(0.999F);
  for (std::int64_t step = 0; step < kSteps; ++step) {
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factor, factor);
  }
  for (const __m256& sum : sums) seen = _mm256_cvtss_f32(sum);
  return 2 * 8 * kSums * kSteps;
}
#endif

// Multiplies and adds float32 with the widest vectors that the machine has. Returns how many operations that took.
std::int64_t multiply_add() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return multiply_add_512();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return multiply_add_256();
#endif
  using Vector = float __attribute__((vector_size(16)));
  Vector sums[kSums];
  for (Vector& sum : sums) sum = Vector{1.0F, 1.0F, 1.0F, 1.0F};
  const Vector factor{0.999F, 0.999F, 0.999F, 0.999F};
  for (std::int64_t step = 0; step < kSteps; ++step) {
    for (Vector& sum : sums) sum = sum * factor + factor;
  }
  for (const Vector& sum : sums) seen = sum[0];
  return 2 * 4 * kSums * kSteps;
}

// Adds values up as memory gives them, in several sums at a time.
void read(const float* values, std::size_t count) {
  using Vector = float __attribute__((vector_size(32), aligned(4)));
  constexpr std::size_t kAtATime = 8;
  constexpr std::size_t kStep = kAtATime * sizeof(Vector) / sizeof(float);
  Vector sums[kAtATime] = {};
  for (std::size_t i = 0; i + kStep <= count; i += kStep) {
    for (std::size_t sum = 0; sum < kAtATime; ++sum) {
      sums[sum] += *reinterpret_cast<const Vector*>(values + i + sum * sizeof(Vector) / sizeof(float));
    }
  }
  for (const Vector& sum : sums) seen = sum[0];
}

}  // namespace
}  // namespace aotbuild_report

// Writes bytes a second from memory, bytes a second from the cache, and operations a second, on so many threads.
// `count` values are read from memory.
extern "C" __attribute__((visibility("default"))) void aotbuild_measure_machine(int threads, std::size_t count,
                                                                                double* figures) {
  using namespace aotbuild_report;  // NOLINT: the names are of this file alone
  const std::vector<float> memory(count, 1.0F);
  const std::size_t part = count / static_cast<std::size_t>(threads);
  const double from_memory =
      seconds(threads, [&](int thread) { read(memory.data() + static_cast<std::size_t>(thread) * part, part); });
  constexpr int kPasses = 400;
  const std::size_t cached = std::min(kCached, part);
  const double from_cache = seconds(threads, [&](int thread) {
    for (int pass = 0; pass < kPasses; ++pass) read(memory.data() + static_cast<std::size_t>(thread) * part, cached);
  });
  std::int64_t operations = 0;
  const double computing = seconds(threads, [&](int thread) {
    const std::int64_t done = multiply_add();
    if (thread == 0) operations = done;
  });
  figures[0] = static_cast<double>(part * sizeof(float)) * threads / from_memory;
  figures[1] = static_cast<double>(cached * sizeof(float)) * threads * kPasses / from_cache;
  figures[2] = static_cast<double>(operations) * threads / computing;
}
