// Errors: exceptions that carry a status, and the border where they become a status and the thread's last error.
#ifndef AOTBUILD_SRC_BASE_ERROR_HPP_
#define AOTBUILD_SRC_BASE_ERROR_HPP_

#include <initializer_list>
#include <ostream>
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

// A value and how it is printed. Of each type one function prints; texts are as many as there are calls.
struct Piece {
  const void* value;
  void (*print)(std::ostream& stream, const void* value);
};

template <typename Value>
Piece piece(const Value& value) {
  return {&value, [](std::ostream& stream, const void* it) { stream << *static_cast<const Value*>(it); }};
}
inline Piece piece(const char* text) {
  return {text, [](std::ostream& stream, const void* it) { stream << static_cast<const char*>(it); }};
}

std::string concat_pieces(std::initializer_list<Piece> pieces);
[[noreturn]] void fail_with(aotbuild_status status, std::initializer_list<Piece> pieces);

// The arguments printed one after the other, numbers as C++ writes them in any locale.
template <typename... Args>
std::string concat(const Args&... args) {
  return concat_pieces({piece(args)...});
}

template <typename... Args>
[[noreturn]] void fail(aotbuild_status status, const Args&... args) {
  fail_with(status, {piece(args)...});
}

// For operators: a wrong argument that only generated code can have passed, or a kernel that cannot go on.
template <typename... Args>
[[noreturn]] void fail(const char* function, const Args&... args) {
  fail_with(AOTBUILD_RUNTIME_ERROR, {piece(function), piece(": "), piece(args)...});
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
