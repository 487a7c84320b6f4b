#include "base/mapped_file.hpp"

#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace aotbuild::detail {

namespace {
struct FileDescriptor {
  int value;
  ~FileDescriptor() {
    if (value >= 0) close(value);
  }
};
}  // namespace

MappedFile::MappedFile(const std::string& path) {
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
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (data == MAP_FAILED) {
    fail(AOTBUILD_INVALID_WEIGHTS, "cannot map weights file '", path, "': ", std::strerror(errno));
  }
  madvise(data, size, MADV_WILLNEED);
  data_ = static_cast<const unsigned char*>(data);
  size_ = size;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<unsigned char*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
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

}  // namespace aotbuild::detail
