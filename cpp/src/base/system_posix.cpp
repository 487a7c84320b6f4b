// Linux, and what is like it.

// On 32-bit systems: of a file of 2 GiB, or with an inode number of 64 bits, nothing is known otherwise.
#if !defined(__LP64__) && !defined(_FILE_OFFSET_BITS)
#define _FILE_OFFSET_BITS 64  // NOLINT: the C library's name
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "base/error.hpp"
#include "base/sanitizer.hpp"
#include "base/system.hpp"

namespace aotbuild::detail::os {

void* allocate_memory(std::size_t alignment, std::size_t nbytes) noexcept {
  // aligned_alloc takes multiples of the alignment alone, and sizes are exact, so that checkers see the end of each.
  void* memory = nullptr;
  return posix_memalign(&memory, alignment, nbytes) == 0 ? memory : nullptr;
}

void free_memory(void* memory) noexcept { std::free(memory); }

void prefer_huge_pages(void* memory, std::size_t nbytes) noexcept { madvise(memory, nbytes, MADV_HUGEPAGE); }

namespace {
struct FileDescriptor {
  int value;
  ~FileDescriptor() {
    if (value >= 0) close(value);
  }
};

// Of the last page, which is zeros behind the file's end.
std::size_t bytes_behind(const Mapping& mapping) noexcept {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return (page - mapping.size % page) % page;
}

}  // namespace

Mapping map_file(const std::string& path) {
  const FileDescriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.value < 0) {
    fail(AOTBUILD_INVALID_WEIGHTS, "cannot open weights file '", path, "': ", std::strerror(errno));
  }
  struct stat status{};
  if (fstat(file.value, &status) != 0) {
    fail(AOTBUILD_INVALID_WEIGHTS, "cannot read weights file '", path, "': ", std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) fail(AOTBUILD_INVALID_WEIGHTS, "weights file '", path, "' is not a regular file");
  if (status.st_size == 0) fail(AOTBUILD_INVALID_WEIGHTS, "weights file '", path, "' is empty");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (static_cast<std::uintmax_t>(status.st_size) > SIZE_MAX / 2) {
    fail(AOTBUILD_INVALID_WEIGHTS, "weights file '", path, "' has ", static_cast<std::int64_t>(status.st_size),
         " bytes, more than the address space holds");
  }
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (data == MAP_FAILED) {
    fail(AOTBUILD_INVALID_WEIGHTS, "cannot map weights file '", path, "': ", std::strerror(errno));
  }
  madvise(data, size, MADV_WILLNEED);
  const Mapping mapping{static_cast<const unsigned char*>(data), size};
  forbid_access(mapping.data + size, bytes_behind(mapping));
  return mapping;
}

void unmap_file(const Mapping& mapping) noexcept {
  allow_access(mapping.data + mapping.size, bytes_behind(mapping));
  munmap(const_cast<unsigned char*>(mapping.data), mapping.size);
}

void release_pages(const void* data, std::size_t nbytes) noexcept {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(data) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + nbytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

namespace {

struct Search {
  std::uintptr_t address;
  LoadedObject found;
};

int look_at(dl_phdr_info* info, std::size_t, void* data) {
  auto* search = static_cast<Search*>(data);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    const std::uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
    if (segment.p_type != PT_LOAD || search->address < begin || search->address - begin >= segment.p_memsz) continue;
    search->found.path = info->dlpi_name;
    search->found.is_read_only = (segment.p_flags & PF_W) == 0 && search->address - begin < segment.p_filesz;
    return 1;
  }
  return 0;
}

}  // namespace

LoadedObject object_that_holds(const void* address) {
  Search search{reinterpret_cast<std::uintptr_t>(address), {"", false}};
  dl_iterate_phdr(look_at, &search);
  if (search.found.path.empty()) {  // the program itself has no name there
    std::array<char, 4096> path;
    const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
    if (length > 0) search.found.path.assign(path.data(), static_cast<std::size_t>(length));
  }
  return search.found;
}

bool is_absolute(const std::string& path) noexcept { return !path.empty() && path[0] == '/'; }

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }

void* open_library(const char* path, std::string* why) {
  void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) *why = dlerror();
  return library;
}

void* find_symbol(void* library, const char* name) noexcept { return dlsym(library, name); }

const char* cuda_driver() noexcept { return "libcuda.so.1"; }

const char* nccl_library() noexcept { return "libnccl.so.2"; }

std::array<const char*, 2> cublaslt_libraries() noexcept { return {"libcublasLt.so.13", "libcublasLt.so.12"}; }

const char* trusted_variable(const char* name) noexcept { return secure_getenv(name); }

bool allows_tiles() noexcept {
#if defined(__x86_64__)
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
#else
  return false;
#endif
}

bool has_dot_products() noexcept {
#if defined(__aarch64__)
  return (getauxval(AT_HWCAP) >> 20 & 1U) != 0;  // HWCAP_ASIMDDP
#else
  return false;
#endif
}

}  // namespace aotbuild::detail::os
