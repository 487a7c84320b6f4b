#include "base/arena.hpp"

#include <algorithm>
#include <cstdint>
#include <new>

#include "base/system.hpp"

namespace aotbuild::detail {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
// Small models take no huge pages: what they do not use of one would be memory lost.
constexpr std::size_t kFirstChunk = std::size_t{64} << 10;
constexpr std::size_t kChunk = 4 * kHugePage;

}  // namespace

char* Arena::allocate(std::size_t nbytes) {
  if (nbytes > SIZE_MAX - kChunk) throw std::bad_alloc();
  const std::size_t needed = (std::max<std::size_t>(nbytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  if (needed > left_) {
    const bool is_large = !chunks_.empty() || needed > kFirstChunk;
    const std::size_t alignment = is_large ? kHugePage : kAlignment;
    const std::size_t size =
        is_large ? std::max(kChunk, (needed + kHugePage - 1) / kHugePage * kHugePage) : kFirstChunk;
    AlignedBuffer chunk(static_cast<char*>(os::allocate_memory(alignment, size)));
    if (chunk == nullptr) throw std::bad_alloc();
    if (is_large) os::prefer_huge_pages(chunk.get(), size);
    free_ = chunk.get();
    left_ = size;
    chunks_.push_back(std::move(chunk));
  }
  char* memory = free_;
  free_ += needed;
  left_ -= needed;
  return memory;
}

}  // namespace aotbuild::detail
