// What generated kernels are written in: at::vec from the torch package's headers, and errors that leave OpenMP loops.
// Private to generated kernel sources, compiled as C++20 with one instruction set each, which AOTBUILD_ISA names.
#ifndef AOTBUILD_DETAIL_KERNEL_HPP_
#define AOTBUILD_DETAIL_KERNEL_HPP_

#include <torch/csrc/inductor/cpp_prefix.h>

#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>

#include "aotbuild/detail/eager_math.hpp"
#include "aotbuild/detail/shim.h"

#undef AOTI_TORCH_CHECK
#define AOTI_TORCH_CHECK(condition, message)             \
  do {                                                   \
    if (!(condition)) throw std::runtime_error(message); \
  } while (0)

// A program may hold kernels for several instruction sets, and the linker keeps one copy of an inline function of one
// name: each set has names of its own, or the code of one would run on processors without it.
namespace aotbuild::detail::inline AOTBUILD_ISA {

// The first exception thrown in a parallel loop, carried to the end of the kernel.
class KernelError {
 public:
  void capture() noexcept {
    if (!taken_.exchange(true)) error_ = std::current_exception();
  }
  void rethrow() {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::atomic<bool> taken_{false};
  std::exception_ptr error_;
};

[[noreturn, gnu::cold]] inline void fail_division(const char* place) {
  throw std::runtime_error(std::string("ZeroDivisionError: an integer is divided by zero (") + place + ")");
}

// The value of a division of integers. Its error, which in torch's headers names one of these, says where the division
// is in the model.
template <typename Divide>
auto divided(const char* place, Divide&& divide) {
  try {
    return divide();
  } catch (const std::exception&) {
    fail_division(place);
  }
}

}  // namespace aotbuild::detail::inline AOTBUILD_ISA

#endif  // AOTBUILD_DETAIL_KERNEL_HPP_
