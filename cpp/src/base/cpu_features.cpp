// Which instruction sets this machine has.
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <string_view>

#include "aotbuild/detail/runtime.hpp"
#include "base/system.hpp"

namespace aotbuild::detail {

#if defined(__x86_64__)
namespace {

// Bits of the third register of CPUID (Intel's manual, volume 2, "CPUID"). Clang knows F16C and LZCNT by name only from
// version 19 on.
bool cpuid_has(unsigned int leaf, unsigned int bit) {
  unsigned int a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(leaf, &a, &b, &c, &d) != 0 && (c >> bit & 1U) != 0;
}
// Bits of the first register of leaf 7, subleaf 1: AVX_VNNI and AVX512_BF16.
bool cpuid_has_extra(unsigned int bit) {
  unsigned int a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> bit & 1U) != 0;
}
bool has_f16c() { return cpuid_has(1, 29); }
bool has_lzcnt() { return cpuid_has(0x80000001U, 5); }

}  // namespace
#endif

bool cpu_supports(const char* isa) {
  const std::string_view name = isa;
#if defined(__x86_64__)
  const auto v2 = [] {
    return __builtin_cpu_supports("sse3") && __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1") &&
           __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  };
  const auto v3 = [&] {
    return v2() && __builtin_cpu_supports("avx") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") && has_f16c() && has_lzcnt();
  };
  const auto v4 = [&] {
    return v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
  };
  if (name == "x86-64") return true;
  if (name == "x86-64-v2") return v2();
  if (name == "x86-64-v3" || name == "avx2") return v3();
  if (name == "x86-64-v4" || name == "avx512") return v4();
  if (name == "avx512bf16") return v4() && cpuid_has_extra(5);
  if (name == "avx512vnni") return v4() && __builtin_cpu_supports("avx512vnni");
  if (name == "avxvnni") return v3() && cpuid_has_extra(4);
  return false;
#elif defined(__aarch64__)
  if (name == "dotprod") return os::has_dot_products();
  return name == "aarch64";
#elif defined(__riscv) && __riscv_xlen == 64
  return name == "riscv64";
#elif defined(__arm__)
  return name == "armv7";
#elif defined(__wasm__)
  return name == "wasm32";  // browsers refuse a module with vectors that they do not have
#else
  return false;
#endif
}

}  // namespace aotbuild::detail
