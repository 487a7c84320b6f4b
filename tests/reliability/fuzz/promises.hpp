// What the fuzz targets share. A target is LLVMFuzzerTestOneInput; whatever its bytes ask for, the answer is a result
// or an error.
#ifndef AOTBUILD_TESTS_RELIABILITY_FUZZ_PROMISES_HPP_
#define AOTBUILD_TESTS_RELIABILITY_FUZZ_PROMISES_HPP_

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace aotbuild::fuzz {

// A broken promise: the fuzzer keeps the input.
[[noreturn]] inline void broken(const std::string& promise) {
  std::fprintf(stderr, "broken promise: %s\n", promise.c_str());
  std::abort();
}

inline void require(bool holds, const std::string& promise) {
  if (!holds) broken(promise);
}

// The fuzzer's bytes, taken from the front; zeros once they have come to an end.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : at_(data), left_(size) {}

  template <typename T>
  T take() {
    T value{};
    const std::size_t count = std::min(left_, sizeof value);
    if (count != 0) std::memcpy(&value, at_, count);
    at_ += count;
    left_ -= count;
    return value;
  }
  // One of `count` choices.
  std::size_t choose(std::size_t count) { return take<std::uint8_t>() % count; }
  bool is_empty() const { return left_ == 0; }

 private:
  const std::uint8_t* at_;
  std::size_t left_;
};

// A file in memory, by a path.
class File {
 public:
  File(const std::uint8_t* data, std::size_t size) : descriptor_(memfd_create("input", MFD_CLOEXEC)) {
    require(descriptor_ >= 0 && write(descriptor_, data, size) == static_cast<ssize_t>(size), "a file can be made");
    path_ = "/proc/self/fd/" + std::to_string(descriptor_);
  }
  ~File() { close(descriptor_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const std::string& path() const { return path_; }

 private:
  int descriptor_;
  std::string path_;
};

}  // namespace aotbuild::fuzz

#endif  // AOTBUILD_TESTS_RELIABILITY_FUZZ_PROMISES_HPP_
