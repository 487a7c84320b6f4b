// The stopwatch that kernel_timer.cpp puts between a model and the driver.
#ifndef AOTBUILD_TESTS_GPU_KERNEL_TIMER_HPP_
#define AOTBUILD_TESTS_GPU_KERNEL_TIMER_HPP_

#include <cstddef>

// One launch. `name` is the driver's.
struct KernelTime {
  const char* name;
  unsigned grid[3];
  unsigned threads;
  unsigned shared_bytes;
  double microseconds;
};

extern "C" {
// From here until `kernel_timer_stop`, every kernel is launched several times more, so what it writes in place is
// wrong.
void kernel_timer_start(void);
// The launches in their order, valid until the next start.
std::size_t kernel_timer_stop(const KernelTime** times);
}

#endif  // AOTBUILD_TESTS_GPU_KERNEL_TIMER_HPP_
