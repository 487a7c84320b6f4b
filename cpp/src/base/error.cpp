#include "base/error.hpp"

#include <cstring>
#include <new>

#include "aotbuild/detail/spec.h"
#include "aotbuild/kernel.h"

namespace aotbuild::detail {

namespace {
std::string& message_of_this_thread() {
  thread_local std::string message;
  return message;
}
}  // namespace

const std::string& last_error() { return message_of_this_thread(); }

void set_last_error(const char* message) noexcept {
  try {
    message_of_this_thread() = message;
  } catch (...) {
    message_of_this_thread().clear();  // no memory for the text: the status still tells
  }
}

aotbuild_status report_current_exception() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    set_last_error(error.what());
    return error.status();
  } catch (const std::bad_alloc& error) {
    set_last_error(std::strcmp(error.what(), std::bad_alloc().what()) == 0 ? "out of memory" : error.what());
    return AOTBUILD_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    set_last_error(error.what());
  } catch (...) {
    set_last_error("unknown exception");
  }
  return AOTBUILD_RUNTIME_ERROR;
}

}  // namespace aotbuild::detail

const char* aotbuild_last_error(void) { return aotbuild::detail::last_error().c_str(); }

void aotbuild_set_last_error(const char* message) {
  aotbuild::detail::set_last_error(message == nullptr ? "a registered kernel failed" : message);
}
