// Errors: exceptions that carry a status, and the border where they become a status and the thread's last error.
#ifndef AOTBUILD_SRC_BASE_ERROR_HPP_
#define AOTBUILD_SRC_BASE_ERROR_HPP_

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "aotbuild/c_api.h"
#include "aotbuild/detail/runtime.hpp"

namespace aotbuild::detail {

class Error : public std::runtime_error {
 public:
  Error(aotbuild_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  aotbuild_status status() const { return status_; }

 private:
  aotbuild_status status_;
};

// The arguments printed one after the other.
template <typename... Args>
std::string concat(const Args&... args) {
  std::ostringstream stream;
  (stream << ... << args);
  return stream.str();
}

template <typename... Args>
[[noreturn]] void fail(aotbuild_status status, const Args&... args) {
  throw Error(status, concat(args...));
}

// For operators: a wrong argument that only generated code can have passed, or a kernel that cannot go on.
template <typename... Args>
[[noreturn]] void fail(const char* function, const Args&... args) {
  throw Error(AOTBUILD_RUNTIME_ERROR, concat(function, ": ", args...));
}

// The thread's last error, of at most 4095 bytes.
const char* last_error() noexcept;
void set_last_error(const char* message) noexcept;

// The status and the thread's last error for the exception that is being handled.
aotbuild_status report_current_exception() noexcept;

// Runs `body` of a function of the C ABI, which no exception leaves.
template <typename Body>
aotbuild_status reported(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return AOTBUILD_OK;
  } catch (...) {
    return report_current_exception();
  }
}

// The same of a shim function, which returns 0, 1 or kShimOutOfMemory.
template <typename Body>
int guarded(Body&& body) noexcept {
  const aotbuild_status status = reported(std::forward<Body>(body));
  if (status == AOTBUILD_OUT_OF_MEMORY) return kShimOutOfMemory;
  return status == AOTBUILD_OK ? 0 : 1;
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_BASE_ERROR_HPP_
