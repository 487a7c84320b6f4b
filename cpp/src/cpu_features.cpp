// Which instruction sets this machine has.
#include <string_view>

#include "aotbuild/detail/runtime.hpp"

namespace aotbuild::detail {

bool cpu_supports(const char* isa) {
  const std::string_view name = isa;
#if defined(__x86_64__)
  const auto v2 = [] {
    return __builtin_cpu_supports("sse3") && __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1") &&
           __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  };
  const auto v3 = [&] {
    return v2() && __builtin_cpu_supports("avx") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
           __builtin_cpu_supports("lzcnt");
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
  return false;
#elif defined(__aarch64__)
  return name == "aarch64";
#else
  return false;
#endif
}

}  // namespace aotbuild::detail
