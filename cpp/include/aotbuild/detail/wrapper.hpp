// What generated run functions are written in, over the runtime's own implementation of the AOTInductor C shim.
// Private to generated code.
#ifndef AOTBUILD_DETAIL_WRAPPER_HPP_
#define AOTBUILD_DETAIL_WRAPPER_HPP_

#include <new>
#include <stdexcept>

#include "aotbuild/detail/runtime.hpp"
#include "aotbuild/detail/shim.h"

#define AOTBUILD_SHIM own_shim

namespace aotbuild::detail {
inline namespace AOTBUILD_SHIM {

// A shim call found no memory; the thread's last error says for what.
class ShimOutOfMemory : public std::bad_alloc {
 public:
  const char* what() const noexcept override { return aotbuild_last_error(); }
};

// Shim calls return a status and leave the message in the thread's last error.
inline void check_shim(AOTITorchError status) {
  if (status == kShimOutOfMemory) throw ShimOutOfMemory();
  if (status != 0) throw std::runtime_error(aotbuild_last_error());
}

}  // namespace AOTBUILD_SHIM
}  // namespace aotbuild::detail

#include "aotbuild/detail/handles.hpp"

#endif  // AOTBUILD_DETAIL_WRAPPER_HPP_
