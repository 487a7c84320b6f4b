// Every allocation and every system call of a model's life fails once: create, run, exchange of weights, a session.
// Each time the call has to say so, the model has to go on or be whole, and nothing may be left behind.
//
// Usage: faults MODEL [WEIGHTS]. Prints as JSON how many failures each step was given. The linker sends the calls of
// what is linked here to the functions below (--wrap); operator new is replaced for all.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "subject.hpp"

namespace {

using namespace aotbuild::reliability;

// Of each kind the call that fails: the number of those before it; -1: none.
struct Fault {
  long countdown = -1;
  bool has_failed = false;
};
enum Kind { kAllocation, kSystemCall, kKinds };
Fault faults[kKinds];
long live_blocks = 0;
long live_mappings = 0;
long live_files = 0;
bool is_counted = false;  // between begin() and end(): what the program itself does stays out

bool fails(Kind kind) {
  if (!is_counted || faults[kind].countdown < 0) return false;
  if (faults[kind].countdown-- != 0) return false;
  return faults[kind].has_failed = true;
}

}  // namespace

extern "C" {
void* __real_malloc(std::size_t size);
void __real_free(void* memory);
int __real_posix_memalign(void** memory, std::size_t alignment, std::size_t size);
void* __real_mmap(void* address, std::size_t size, int protection, int flags, int file, off_t offset);
int __real_munmap(void* address, std::size_t size);
int __real_open(const char* path, int flags, ...);
int __real_close(int file);
int __real_fstat(int file, struct stat* status);

void* __wrap_malloc(std::size_t size) {
  if (fails(kAllocation)) return nullptr;
  live_blocks += is_counted;
  return __real_malloc(size);
}
void __wrap_free(void* memory) {
  if (is_counted && memory != nullptr) --live_blocks;
  __real_free(memory);
}
int __wrap_posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  if (fails(kAllocation)) return ENOMEM;
  live_blocks += is_counted;
  return __real_posix_memalign(memory, alignment, size);
}
void* __wrap_mmap(void* address, std::size_t size, int protection, int flags, int file, off_t offset) {
  if (fails(kSystemCall)) return errno = ENOMEM, MAP_FAILED;
  live_mappings += is_counted;
  return __real_mmap(address, size, protection, flags, file, offset);
}
int __wrap_munmap(void* address, std::size_t size) {
  live_mappings -= is_counted;
  return __real_munmap(address, size);
}
int __wrap_open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const auto mode = (flags & O_CREAT) != 0 ? va_arg(arguments, unsigned) : 0U;
  va_end(arguments);
  if (fails(kSystemCall)) return errno = EMFILE, -1;
  live_files += is_counted;
  return __real_open(path, flags, mode);
}
int __wrap_close(int file) {
  live_files -= is_counted;
  return __real_close(file);
}
int __wrap_fstat(int file, struct stat* status) {
  if (fails(kSystemCall)) return errno = EIO, -1;
  return __real_fstat(file, status);
}
}

void* operator new(std::size_t size) {
  void* const memory = __wrap_malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return __wrap_malloc(size == 0 ? 1 : size); }
void operator delete(void* memory) noexcept { __wrap_free(memory); }
void operator delete(void* memory, std::size_t) noexcept { __wrap_free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { __wrap_free(memory); }
void* operator new[](std::size_t size) { return operator new(size); }
void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept { return operator new(size, tag); }
void operator delete[](void* memory) noexcept { __wrap_free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { __wrap_free(memory); }

namespace {

void check_refusal(const aotbuild_api& api, aotbuild_status status, Kind kind) {
  require(status == AOTBUILD_OUT_OF_MEMORY || kind == kSystemCall, "no memory is the status of an allocation");
  require(kind == kAllocation || status == AOTBUILD_INVALID_WEIGHTS, "weights are what system calls are for");
  require(std::strlen(api.last_error()) != 0 || kind == kAllocation, "a failure says why");
}

// One life of a model in which one call fails. False once there is no such call.
bool live_with(Subject& subject, Kind kind, const std::string& step, long number, const std::string& expected) {
  const aotbuild_api& api = subject.api();
  std::string bytes;
  bytes.reserve(expected.size());  // not counted
  const auto arm = [&](const char* name) {
    if (step == name) faults[kind] = {number, false};
  };
  const auto disarm = [&] { faults[kind].countdown = -1; };
  const auto check = [&](aotbuild_status status) {
    disarm();
    if (status != AOTBUILD_OK) check_refusal(api, status, kind);
    require(status == AOTBUILD_OK || faults[kind].has_failed, "nothing fails by itself");
    return status == AOTBUILD_OK;
  };
  faults[kind] = {};
  is_counted = true;
  aotbuild_model* model = nullptr;
  arm("create");
  if (!check(subject.create(&model))) {
    require(model == nullptr, "no model where its creation fails");
  } else {
    arm("run");
    if (!check(subject.run(model, &bytes))) require(subject.run(model, &bytes) == AOTBUILD_OK, "the next call is well");
    require(bytes == expected, "the outputs are those of a life without failures");
    if (subject.weights() != nullptr) {
      arm("load weights");
      check(api.load_weights(model, subject.weights()));
      require(subject.run(model, &bytes) == AOTBUILD_OK && bytes == expected, "the model is whole after an exchange");
    }
    aotbuild_model* session = nullptr;
    arm("session");
    if (check(api.new_session(model, &session))) {
      require(subject.run(session, &bytes) == AOTBUILD_OK && bytes == expected, "a session is a model");
      api.destroy(session);
    } else {
      require(session == nullptr, "no session where its creation fails");
    }
    require(subject.run(model, &bytes) == AOTBUILD_OK && bytes == expected, "the model goes on");
    api.destroy(model);
  }
  is_counted = false;
  return faults[kind].has_failed;
}

}  // namespace

int main(int argc, char** argv) {
  const aotbuild_api* const api = find_model(argc > 1 ? argv[1] : "");
  if (api == nullptr) {
    std::fprintf(stderr, "usage: faults MODEL [WEIGHTS]\n");
    return 2;
  }
  Subject subject(*api, argc > 2 ? argv[2] : nullptr);
  aotbuild_model* model = nullptr;
  std::string expected;
  if (subject.create(&model) != AOTBUILD_OK || subject.run(model, &expected) != AOTBUILD_OK) broken(api->last_error());
  api->destroy(model);
  const char* const kinds[] = {"allocations", "system calls"};
  std::map<std::string, long long> survived;
  // The first life makes what a process keeps: the text of the last error, OpenMP's threads.
  live_with(subject, kAllocation, "", 0, expected);
  live_blocks = live_mappings = live_files = 0;
  for (const char* step : {"create", "run", "load weights", "session"}) {
    for (const Kind kind : {kAllocation, kSystemCall}) {
      long number = 0;
      while (live_with(subject, kind, step, number, expected)) {
        ++number;
        // The text of the last error is this thread's, and may have grown.
        if (live_blocks < 0 || live_blocks > 1 || live_mappings != 0 || live_files != 0) {
          broken(std::string(step) + ": " + std::to_string(live_blocks) + " blocks, " + std::to_string(live_mappings) +
                 " mappings and " + std::to_string(live_files) + " files are left by failure " +
                 std::to_string(number) + " of " + kinds[kind]);
        }
      }
      survived[std::string(step) + ": " + kinds[kind]] = number;
    }
  }
  print_counts(survived);
  return 0;
}
