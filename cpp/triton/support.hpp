// Errors between exceptions, the C ABI of models and the server; time; the server's log.
#ifndef AOTBUILD_TRITON_SUPPORT_HPP_
#define AOTBUILD_TRITON_SUPPORT_HPP_

#include <chrono>
#include <cstdint>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>

#include "aotbuild/c_api.h"
#include "triton_api.h"

namespace aotbuild::triton {

// What a request or a model is refused with.
struct Failure : std::runtime_error {
  Failure(TRITONSERVER_Error_Code of, const std::string& message) : std::runtime_error(message), code(of) {}
  TRITONSERVER_Error_Code code;
};

// Throws what a function of the server returned, if that is an error.
inline void check(TRITONSERVER_Error* error) {
  if (error == nullptr) return;
  const Failure failure(TRITONSERVER_ErrorCode(error), TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
  throw failure;
}

// For what cannot be undone, such as sending: an error is deleted.
inline bool succeeded(TRITONSERVER_Error* error) {
  if (error == nullptr) return true;
  TRITONSERVER_LogMessage(TRITONSERVER_LOG_ERROR, "aotbuild", 0, TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
  return false;
}

// The error for the server of the exception that is being handled.
inline TRITONSERVER_Error* current_error() noexcept {
  try {
    throw;
  } catch (const Failure& failure) {
    return TRITONSERVER_ErrorNew(failure.code, failure.what());
  } catch (const std::bad_alloc&) {
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNAVAILABLE, "aotbuild: out of memory");
  } catch (const std::exception& exception) {
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, exception.what());
  } catch (...) {
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, "aotbuild: an unknown exception");
  }
}

// Runs a function that the server called, which no exception leaves.
template <typename Body>
TRITONSERVER_Error* reported(Body&& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (...) {
    return current_error();
  }
}

inline TRITONSERVER_Error_Code code_of(aotbuild_status status) {
  switch (status) {
    case AOTBUILD_INVALID_ARGUMENT:
    case AOTBUILD_INVALID_WEIGHTS:
      return TRITONSERVER_ERROR_INVALID_ARG;
    case AOTBUILD_UNSUPPORTED_HARDWARE:
      return TRITONSERVER_ERROR_UNSUPPORTED;
    case AOTBUILD_OUT_OF_MEMORY:
      return TRITONSERVER_ERROR_UNAVAILABLE;
    default:
      return TRITONSERVER_ERROR_INTERNAL;
  }
}

// Throws the message of a call of a model that failed.
inline void check(const aotbuild_api& api, aotbuild_status status) {
  if (status != AOTBUILD_OK) throw Failure(code_of(status), api.last_error());
}

// The parts of a message one after the other.
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

inline std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

template <typename... Parts>
[[noreturn]] void fail(TRITONSERVER_Error_Code code, const Parts&... parts) {
  throw Failure(code, concat(parts...));
}

inline void log(TRITONSERVER_LogLevel level, const std::string& message) {
  succeeded(TRITONSERVER_LogMessage(level, "aotbuild", 0, message.c_str()));
}

}  // namespace aotbuild::triton

#endif  // AOTBUILD_TRITON_SUPPORT_HPP_
