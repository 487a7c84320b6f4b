// Memory aligned for vectors and for the cache's lines.
#ifndef AOTBUILD_SRC_BASE_ALIGNED_MEMORY_HPP_
#define AOTBUILD_SRC_BASE_ALIGNED_MEMORY_HPP_

#include <cstddef>
#include <memory>

#include "base/system.hpp"

namespace aotbuild::detail {

inline constexpr std::size_t kAlignment = 64;

// Aligned to kAlignment. Throws std::bad_alloc.
void* allocate_aligned(std::size_t nbytes);

struct FreeDeleter {
  void operator()(void* memory) const noexcept { os::free_memory(memory); }
};
using AlignedBuffer = std::unique_ptr<char, FreeDeleter>;

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_BASE_ALIGNED_MEMORY_HPP_
