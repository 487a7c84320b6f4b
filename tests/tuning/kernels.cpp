// Kernels for aotbuild-tune over the stand-in driver: y = 2 x in float32, with a flaw each.
#include <csignal>
#include <cstdint>
#include <cstring>
#include <thread>

#include "fake_cuda.hpp"

namespace {

float* pointer(void* argument) {
  float* result = nullptr;
  std::memcpy(&result, argument, sizeof result);
  return result;
}

int twice(void** arguments, float factor, double microseconds) {
  const float* const x = pointer(arguments[0]);
  float* const y = pointer(arguments[1]);
  std::int32_t count = 0;
  std::memcpy(&count, arguments[2], sizeof count);
  for (std::int32_t i = 0; i < count; ++i) y[i] = factor * x[i];
  fake_cuda::advance(microseconds);
  return 0;
}

int at_10_us(const fake_cuda::Launch&, void** arguments) { return twice(arguments, 2, 10); }
int at_8_us(const fake_cuda::Launch&, void** arguments) { return twice(arguments, 2.00001F, 8); }
int at_30_us(const fake_cuda::Launch&, void** arguments) { return twice(arguments, 2, 30); }
int wrong(const fake_cuda::Launch&, void** arguments) { return twice(arguments, 3, 1); }
// y += x: right only where every launch finds the y that the bundle gives
int adds(const fake_cuda::Launch&, void** arguments) {
  const float* const x = pointer(arguments[0]);
  float* const y = pointer(arguments[1]);
  std::int32_t count = 0;
  std::memcpy(&count, arguments[2], sizeof count);
  for (std::int32_t i = 0; i < count; ++i) y[i] += x[i];
  fake_cuda::advance(9);
  return 0;
}
int illegal(const fake_cuda::Launch&, void**) { return 700; }
int crashes(const fake_cuda::Launch&, void**) { return std::raise(SIGSEGV); }
int hangs(const fake_cuda::Launch&, void**) {
  std::this_thread::sleep_for(std::chrono::seconds(600));
  return 0;
}

[[maybe_unused]] const bool added = [] {
  const std::pair<const char*, fake_cuda::Kernel> kernels[] = {
      {"at_10_us", at_10_us}, {"at_8_us", at_8_us}, {"at_30_us", at_30_us}, {"wrong", wrong},
      {"adds", adds},         {"illegal", illegal}, {"crashes", crashes},   {"hangs", hangs},
  };
  for (const auto& [name, kernel] : kernels) fake_cuda::add_kernel(name, kernel, {8, 8, 4, 8, 8});
  return true;
}();

}  // namespace
