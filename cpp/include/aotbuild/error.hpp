// How calls fail: a status with its message, a value or the status of why there is none, and the exception of both.
#ifndef AOTBUILD_ERROR_HPP_
#define AOTBUILD_ERROR_HPP_

#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <type_traits>
#include <utility>

#include "aotbuild/c_api.h"
#include "aotbuild/detail/export.h"
#include "aotbuild/detail/shared.hpp"
#include "aotbuild/detail/version.h"

// Whether the code that includes this is compiled with exceptions. Without them the functions that throw are not
// declared; those that begin with `try_` are always there.
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#define AOTBUILD_EXCEPTIONS true
#else
#define AOTBUILD_EXCEPTIONS false
#endif

namespace aotbuild {
inline namespace AOTBUILD_NAMESPACE {

// Text that does not change: of a literal, or a copy of what has c_str(), such as std::string or std::filesystem::path.
class Text {
 public:
  Text() = default;  // empty
  // A copy of a string that ends with 0.
  Text(const char* text) : characters_(text, std::strlen(text) + 1) {}
  // A copy of what c_str() gives.
  template <typename String, typename = std::enable_if_t<
                                 std::is_convertible_v<decltype(std::declval<const String&>().c_str()), const char*> &&
                                 !std::is_same_v<String, Text>>>
  Text(const String& text) : Text(static_cast<const char*>(text.c_str())) {}

  // The characters and a 0; never null, and valid as long as this object.
  const char* c_str() const noexcept { return characters_.data() == nullptr ? "" : characters_.data(); }
  // How many characters there are, without the 0.
  std::size_t size() const noexcept { return characters_.size() == 0 ? 0 : characters_.size() - 1; }
  bool empty() const noexcept { return size() == 0; }  // whether there are none
  // The same characters.
  friend bool operator==(const Text& a, const Text& b) noexcept { return std::strcmp(a.c_str(), b.c_str()) == 0; }
  // Other characters.
  friend bool operator!=(const Text& a, const Text& b) noexcept { return !(a == b); }

 private:
  detail::SharedArray<char> characters_;
};

// How a call ended.
class [[nodiscard]] Status {
 public:
  Status() = default;  // well
  // As `code` says, because of `message`.
  Status(aotbuild_status code, Text message) : code_(code), message_(std::move(message)) {}

  bool ok() const noexcept { return code_ == AOTBUILD_OK; }  // whether it ended well
  explicit operator bool() const noexcept { return ok(); }   // ok()
  aotbuild_status code() const noexcept { return code_; }    // what kind of error it was, or AOTBUILD_OK
  // What is wrong, and with what; empty when the call ended well.
  const Text& message() const noexcept { return message_; }

 private:
  aotbuild_status code_ = AOTBUILD_OK;
  Text message_;
};

// What a call returns: a value, or a status that says why there is none.
template <typename T>
class [[nodiscard]] Expected {
 public:
  // There is a value.
  Expected(T value) : value_(std::move(value)), has_value_(true) {}
  // There is none.
  Expected(Status why) : status_(std::move(why)), has_value_(false) {}
  // A copy of the value or the status.
  Expected(const Expected& other) : status_(other.status_), has_value_(other.has_value_) {
    if (has_value_) ::new (static_cast<void*>(&value_)) T(other.value_);
  }
  // Takes the value or the status.
  Expected(Expected&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
      : status_(std::move(other.status_)), has_value_(other.has_value_) {
    if (has_value_) ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
  }
  // Becomes what `other` is.
  Expected& operator=(Expected other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    this->~Expected();
    return *::new (static_cast<void*>(this)) Expected(std::move(other));
  }
  // Ends the value, if there is one.
  ~Expected() {
    if (has_value_) value_.~T();
  }

  bool ok() const noexcept { return has_value_; }                 // whether there is a value
  explicit operator bool() const noexcept { return has_value_; }  // ok()
  const Status& status() const noexcept { return status_; }       // why there is none

  T& operator*() & { return value_; }               // the value, which has to be there
  const T& operator*() const& { return value_; }    // the value, which has to be there
  T&& operator*() && { return std::move(value_); }  // the value, which has to be there
  T* operator->() { return &value_; }               // a member of the value, which has to be there
  const T* operator->() const { return &value_; }   // a member of the value, which has to be there

 private:
  union {
    T value_;
  };
  Status status_;
  bool has_value_;
};

#if AOTBUILD_EXCEPTIONS
// The exception that every aotbuild call throws.
class Error : public std::exception {
 public:
  // As of `Status`.
  Error(aotbuild_status status, Text message) : status_(status), message_(std::move(message)) {}

  const char* what() const noexcept override { return message_.c_str(); }  // what is wrong, and with what
  aotbuild_status status() const noexcept { return status_; }              // what kind of error it is

 private:
  aotbuild_status status_;
  Text message_;
};
#endif

}  // namespace AOTBUILD_NAMESPACE

namespace detail {
inline namespace AOTBUILD_NAMESPACE {

// As std::snprintf, in memory that is long enough.
[[gnu::format(printf, 1, 2)]] inline Text format(const char* pattern, ...) {
  std::va_list arguments;
  va_start(arguments, pattern);
  const int length = std::vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  const SharedArray<char> text(static_cast<std::size_t>(length < 0 ? 0 : length) + 1);
  va_start(arguments, pattern);
  std::vsnprintf(text.data(), text.size(), pattern, arguments);
  va_end(arguments);
  return text.data();
}

// A template, so that code with and code without exceptions in one program do not share one of the two.
template <bool kThrows>
[[noreturn]] void refuse(const char* why) {
#if AOTBUILD_EXCEPTIONS
  if constexpr (kThrows) throw Error(AOTBUILD_INVALID_ARGUMENT, why);
#endif
  std::fputs(why, stderr);
  std::abort();
}

#if AOTBUILD_EXCEPTIONS
// For a status that is not ok.
inline void throw_unless_ok(const Status& status) {
  if (!status.ok()) throw Error(status.code(), status.message());
}

// The value, or what its status throws.
template <typename T>
T value_or_throw(Expected<T> expected) {
  throw_unless_ok(expected.status());
  return *std::move(expected);
}
#endif

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail

}  // namespace aotbuild

#endif  // AOTBUILD_ERROR_HPP_
