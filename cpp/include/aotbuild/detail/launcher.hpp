// What the generated launcher of a hand-written kernel hands to the runtime and asks of it.
// Private: generated sources and the runtime are always of the same aotbuild version.
#ifndef AOTBUILD_DETAIL_LAUNCHER_HPP_
#define AOTBUILD_DETAIL_LAUNCHER_HPP_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "aotbuild/detail/cuda_spec.hpp"

namespace aotbuild::detail {

struct KernelParameterSpec {
  const char* name;
  bool is_pointer;
  unsigned size;       // bytes; that of integers matters where `alignment` does
  unsigned alignment;  // what its value has to be a multiple of, 1 for anything
};

// The number of blocks in x, y and z for the arguments, which are given as for cuLaunchKernel.
using GridFunction = void (*)(const void* const* arguments, std::int64_t* blocks);

struct LauncherSpec {
  std::uint32_t release;        // as in ModelSpec
  const char* name;             // the CMake target
  std::size_t parameter_count;  // without Triton's pointers to scratch memory
  const KernelParameterSpec* parameters;
  const char* const* grid;  // three expressions, as they were written
  std::size_t variant_count;
  const VariantSpec* variants;  // without `run`; each has one kernel
  const GridFunction* grids;    // parallel to `variants`
};

// What expressions of a grid are written with: integers as in Python.
inline std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  if (b == 0) throw std::domain_error("divides by 0");
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}
inline std::int64_t modulo(std::int64_t a, std::int64_t b) { return a - floor_div(a, b) * b; }
inline std::int64_t cdiv(std::int64_t a, std::int64_t b) { return -floor_div(-a, b); }

// The value of an argument of a launch.
template <typename T>
T argument_value(const void* argument) {
  T value;
  std::memcpy(&value, argument, sizeof value);
  return value;
}

}  // namespace aotbuild::detail

// The functions behind a launcher's C ABI. Every one catches all exceptions and sets the thread's last error.
extern "C" {
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_kernel_create(const aotbuild::detail::LauncherSpec* spec,
                                                            std::int32_t device, aotbuild_kernel** kernel);
// `arguments` hold two null pointers after the values of the parameters, for Triton's scratch memory.
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_kernel_launch(const aotbuild_kernel* kernel, void* stream,
                                                            void** arguments);
AOTBUILD_RUNTIME_API void aotbuild_kernel_destroy(aotbuild_kernel* kernel);
}

#endif  // AOTBUILD_DETAIL_LAUNCHER_HPP_
