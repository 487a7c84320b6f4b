// WebAssembly by Emscripten, in browsers and Node: one program in one memory, and files that are copied into it.
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/error.hpp"
#include "base/system.hpp"

namespace aotbuild::detail::os {

void* allocate_memory(std::size_t alignment, std::size_t nbytes) noexcept {
  // aligned_alloc takes multiples of the alignment alone, and sizes are exact, so that checkers see the end of each.
  void* memory = nullptr;
  return posix_memalign(&memory, alignment, nbytes) == 0 ? memory : nullptr;
}

void free_memory(void* memory) noexcept { std::free(memory); }

void prefer_huge_pages(void*, std::size_t) noexcept {}

namespace {
struct Close {
  void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};
constexpr std::size_t kAlignment = 64;
}  // namespace

Mapping map_file(const std::string& path) {
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) {
    fail(AOTBUILD_INVALID_WEIGHTS, "cannot open weights file '", path, "': ", std::strerror(errno));
  }
  std::fseek(file.get(), 0, SEEK_END);
  const long size = std::ftell(file.get());
  if (size < 0) fail(AOTBUILD_INVALID_WEIGHTS, "weights file '", path, "' is not a regular file");
  if (size == 0) fail(AOTBUILD_INVALID_WEIGHTS, "weights file '", path, "' is empty");
  std::rewind(file.get());
  const auto nbytes = static_cast<std::size_t>(size);
  void* data = std::aligned_alloc(kAlignment, (nbytes + kAlignment - 1) / kAlignment * kAlignment);
  if (data == nullptr) throw std::bad_alloc();
  if (std::fread(data, 1, nbytes, file.get()) != nbytes) {
    std::free(data);
    fail(AOTBUILD_INVALID_WEIGHTS, "cannot read weights file '", path, "': ", std::strerror(errno));
  }
  return {static_cast<const unsigned char*>(data), nbytes};
}

void unmap_file(const Mapping& mapping) noexcept { std::free(const_cast<unsigned char*>(mapping.data)); }

void release_pages(const void*, std::size_t) noexcept {}

LoadedObject object_that_holds(const void*) { return {"", false}; }

bool is_absolute(const std::string& path) noexcept { return !path.empty() && path[0] == '/'; }

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }

void* open_library(const char* path, std::string* why) {
  *why = concat(path, ": WebAssembly opens no libraries");
  return nullptr;
}

void* find_symbol(void*, const char*) noexcept { return nullptr; }

const char* cuda_driver() noexcept { return "the driver"; }

const char* nccl_library() noexcept { return "NCCL"; }

std::array<const char*, 2> cublaslt_libraries() noexcept { return {"cuBLASLt 13", "cuBLASLt 12"}; }

const char* trusted_variable(const char*) noexcept { return nullptr; }

bool allows_tiles() noexcept { return false; }

bool has_dot_products() noexcept { return false; }

}  // namespace aotbuild::detail::os
