#include "base/arithmetic.hpp"

#include <omp.h>

#include <cstddef>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace aotbuild::detail {

namespace {

#if defined(__x86_64__)
constexpr std::uint64_t kDefault = 0x1F80;  // MXCSR: every exception masked
constexpr std::uint64_t kControl = 0xFFC0;  // the bits that are no flags of past operations

std::uint64_t control() { return _mm_getcsr(); }
void set_control(std::uint64_t value) { _mm_setcsr(static_cast<unsigned int>(value)); }
#elif defined(__aarch64__)
constexpr std::uint64_t kDefault = 0;  // FPCR
constexpr std::uint64_t kControl = ~std::uint64_t{0};

std::uint64_t control() {
  std::uint64_t value = 0;
  __asm__ volatile("mrs %0, fpcr" : "=r"(value));
  return value;
}
void set_control(std::uint64_t value) { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }
#else
constexpr std::uint64_t kDefault = 0;
constexpr std::uint64_t kControl = 0;

std::uint64_t control() { return 0; }
void set_control(std::uint64_t) {}
#endif

}  // namespace

DefaultArithmetic::DefaultArithmetic() {
  if ((control() & kControl) == kDefault) return;
  previous_.assign(static_cast<std::size_t>(omp_get_max_threads()), kDefault);
#pragma omp parallel
  {
    previous_[static_cast<std::size_t>(omp_get_thread_num())] = control();
    set_control(kDefault);
  }
  set_control(kDefault);  // Clang's OpenMP has put this thread's back at the end of the region
}

DefaultArithmetic::~DefaultArithmetic() {
  if (previous_.empty()) return;
#pragma omp parallel
  set_control(previous_[static_cast<std::size_t>(omp_get_thread_num())]);
  set_control(previous_[0]);
}

}  // namespace aotbuild::detail
