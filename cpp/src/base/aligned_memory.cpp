#include "base/aligned_memory.hpp"

#include <cstdint>
#include <new>

#include "base/system.hpp"

namespace aotbuild::detail {

void* allocate_aligned(std::size_t nbytes) {
  if (nbytes > SIZE_MAX - kAlignment) throw std::bad_alloc();
  void* memory = os::allocate_memory(kAlignment, (nbytes + kAlignment - 1) / kAlignment * kAlignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace aotbuild::detail
