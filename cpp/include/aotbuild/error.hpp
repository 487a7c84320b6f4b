// How calls fail: a status with its message, a value or the status of why there is none, and the exception of both.
#ifndef AOTBUILD_ERROR_HPP_
#define AOTBUILD_ERROR_HPP_

#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "aotbuild/c_api.h"
#include "aotbuild/detail/version.h"

// Whether the code that includes this is compiled with exceptions. Without them the functions that throw are not
// declared; those that begin with `try_` are always there.
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#define AOTBUILD_EXCEPTIONS true
#else
#define AOTBUILD_EXCEPTIONS false
#endif

// Variables in headers: no library exports them, and so a plugin that includes them can be unloaded. GCC makes exported
// ones unique in the process, and keeps their library for ever.
#define AOTBUILD_HIDDEN __attribute__((visibility("hidden")))

namespace aotbuild {
namespace detail {
inline namespace AOTBUILD_NAMESPACE {

// As std::to_string, whose table is such a variable.
inline std::string number_text(long long number) {
  char text[24];
  std::snprintf(text, sizeof(text), "%lld", number);
  return text;
}

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail

inline namespace AOTBUILD_NAMESPACE {

// How a call ended.
class [[nodiscard]] Status {
 public:
  Status() = default;  // well
  Status(aotbuild_status code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const noexcept { return code_ == AOTBUILD_OK; }
  explicit operator bool() const noexcept { return ok(); }
  aotbuild_status code() const noexcept { return code_; }
  // What is wrong, and with what; empty when the call ended well.
  const std::string& message() const noexcept { return message_; }

 private:
  aotbuild_status code_ = AOTBUILD_OK;
  std::string message_;
};

// What a call returns: a value, or a status that says why there is none.
template <typename T>
class [[nodiscard]] Expected {
 public:
  Expected(T value) : value_(std::move(value)) {}
  Expected(Status why) : status_(std::move(why)) {}

  bool ok() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  const Status& status() const noexcept { return status_; }

  // The value, which has to be there.
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

#if AOTBUILD_EXCEPTIONS
// The exception that every aotbuild call throws.
class Error : public std::runtime_error {
 public:
  Error(aotbuild_status status, const std::string& message) : std::runtime_error(message), status_(status) {}

  aotbuild_status status() const noexcept { return status_; }

 private:
  aotbuild_status status_;
};

#endif

}  // namespace AOTBUILD_NAMESPACE

#if AOTBUILD_EXCEPTIONS
namespace detail {
inline namespace AOTBUILD_NAMESPACE {

inline void throw_unless_ok(const Status& status) {
  if (!status.ok()) throw Error(status.code(), status.message());
}

template <typename T>
T value_or_throw(Expected<T> expected) {
  throw_unless_ok(expected.status());
  return *std::move(expected);
}

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail
#endif

}  // namespace aotbuild

#endif  // AOTBUILD_ERROR_HPP_
