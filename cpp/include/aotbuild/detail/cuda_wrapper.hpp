// What generated run functions of CUDA models are written in, beside wrapper.hpp: kernel launches on one line.
// Private to generated code.
#ifndef AOTBUILD_DETAIL_CUDA_WRAPPER_HPP_
#define AOTBUILD_DETAIL_CUDA_WRAPPER_HPP_

#include <cstdint>
#include <stdexcept>

#include "aotbuild/detail/cuda_spec.hpp"
#include "aotbuild/detail/wrapper.hpp"

namespace aotbuild::detail {

inline constexpr std::int32_t kCuda = 1;

// Blocks in each dimension.
struct Grid {
  std::int64_t x, y, z;
};

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// A value as a kernel takes it: a tensor by its device pointer, numbers as they are.
inline void* kernel_argument(const BorrowedTensor& tensor) { return tensor.data_ptr(); }
inline void* kernel_argument(std::nullptr_t) { return nullptr; }
inline void* kernel_argument(void* pointer) { return pointer; }
inline std::int32_t kernel_argument(std::int32_t value) { return value; }
inline std::int64_t kernel_argument(std::int64_t value) { return value; }
inline float kernel_argument(float value) { return value; }
inline double kernel_argument(double value) { return value; }
inline bool kernel_argument(bool value) { return value; }

inline unsigned grid_size(std::int64_t size) {
  if (size < 0 || size > INT32_MAX) throw std::runtime_error("a kernel needs more blocks than CUDA allows");
  return static_cast<unsigned>(size);
}

template <typename... Values>
void launch_values(CallContext& context, int kernel, Grid grid, Values... values) {
  void* arguments[] = {static_cast<void*>(&values)...};
  context_launch(context, kernel, grid_size(grid.x), grid_size(grid.y), grid_size(grid.z), arguments);
}

// Launches a Triton kernel. After its own parameters Triton's kernels have two pointers to scratch memory: for
// descriptors made on the device, which the runtime puts in where a kernel needs it, and for profiling, which none
// does.
template <typename... Arguments>
void launch(CallContext& context, int kernel, Grid grid, const Arguments&... arguments) {
  void* const no_scratch = nullptr;
  launch_values(context, kernel, grid, kernel_argument(arguments)..., no_scratch, no_scratch);
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_DETAIL_CUDA_WRAPPER_HPP_
