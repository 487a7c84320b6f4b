#include "base/error.hpp"

#include <cstring>
#include <locale>
#include <new>
#include <sstream>

#include "aotbuild/detail/spec.h"
#include "aotbuild/kernel.h"

namespace aotbuild::detail {

namespace {

// Of this thread. No object with a destructor: one would keep a library in memory until its threads end, whatever
// dlclose() says; and a text that needs no memory can say that there is none.
constexpr std::size_t kLongestMessage = 4096;
thread_local char last_message[kLongestMessage] = "";

}  // namespace

std::string concat_pieces(std::initializer_list<Piece> pieces) {
  std::ostringstream stream;
  stream.imbue(std::locale::classic());
  for (const Piece& piece : pieces) piece.print(stream, piece.value);
  return stream.str();
}

void fail_with(aotbuild_status status, std::initializer_list<Piece> pieces) {
  throw Error(status, concat_pieces(pieces));
}

const char* last_error() noexcept { return last_message; }

void set_last_error(const char* message) noexcept {
  constexpr char kMore[] = " ...";
  const std::size_t length = std::strlen(message);
  const bool fits = length < kLongestMessage;
  std::memmove(last_message, message, fits ? length + 1 : kLongestMessage - sizeof kMore);
  if (!fits) std::memcpy(last_message + kLongestMessage - sizeof kMore, kMore, sizeof kMore);
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

const char* aotbuild_last_error(void) { return aotbuild::detail::last_error(); }

void aotbuild_set_last_error(const char* message) {
  aotbuild::detail::set_last_error(message == nullptr ? "a registered kernel failed" : message);
}
