// What the address sanitizer has to be told. Without it nothing of this is left.
#ifndef AOTBUILD_SRC_BASE_SANITIZER_HPP_
#define AOTBUILD_SRC_BASE_SANITIZER_HPP_

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define AOTBUILD_IS_ADDRESS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AOTBUILD_IS_ADDRESS_SANITIZED 1
#endif
#endif

#ifdef AOTBUILD_IS_ADDRESS_SANITIZED
#include <sanitizer/asan_interface.h>
#endif

namespace aotbuild::detail {

#ifdef AOTBUILD_IS_ADDRESS_SANITIZED
constexpr bool kIsAddressSanitized = true;
#else
constexpr bool kIsAddressSanitized = false;
#endif

// From here to `allow_access` an access is an error: memory that is there and holds nothing.
inline void forbid_access([[maybe_unused]] const void* data, [[maybe_unused]] std::size_t nbytes) noexcept {
#ifdef AOTBUILD_IS_ADDRESS_SANITIZED
  __asan_poison_memory_region(data, nbytes);
#endif
}

inline void allow_access([[maybe_unused]] const void* data, [[maybe_unused]] std::size_t nbytes) noexcept {
#ifdef AOTBUILD_IS_ADDRESS_SANITIZED
  __asan_unpoison_memory_region(data, nbytes);
#endif
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_BASE_SANITIZER_HPP_
