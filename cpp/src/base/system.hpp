// What the runtime asks of the operating system. Each system has one file that answers: system_posix.cpp,
// system_windows.cpp. Paths and texts are UTF-8.
#ifndef AOTBUILD_SRC_BASE_SYSTEM_HPP_
#define AOTBUILD_SRC_BASE_SYSTEM_HPP_

#include <array>
#include <cstddef>
#include <string>

namespace aotbuild::detail::os {

// Memory for free_memory(). `alignment` is a power of 2, and `nbytes` a multiple of it. Null where there is none.
void* allocate_memory(std::size_t alignment, std::size_t nbytes) noexcept;
void free_memory(void* memory) noexcept;
// Asks for huge pages, where programs may ask for some memory of theirs.
void prefer_huge_pages(void* memory, std::size_t nbytes) noexcept;

struct Mapping {
  const unsigned char* data;
  std::size_t size;
};
// A file of weights, for unmap_file(). Throws Error(AOTBUILD_INVALID_WEIGHTS) that names the path.
Mapping map_file(const std::string& path);
void unmap_file(const Mapping& mapping) noexcept;
// Lets the system drop the pages inside of [data, data + nbytes): they are read from their file again when touched.
// Only for memory that is mapped from a file and was never written.
void release_pages(const void* data, std::size_t nbytes) noexcept;

// The shared library or program that holds an address.
struct LoadedObject {
  std::string path;
  bool is_read_only;  // the address lies in a segment that is mapped from the file without write permission
};
LoadedObject object_that_holds(const void* address);

bool is_absolute(const std::string& path) noexcept;
// The folder in which a file lies, with its last separator; empty of a name alone.
std::string folder_of(const std::string& path);

// A library for the rest of the process, whose symbols nobody else finds. Null, with the system's reason in `why`,
// where it cannot be had.
void* open_library(const char* path, std::string* why);
void* find_symbol(void* library, const char* name) noexcept;

// The NVIDIA driver's library, NCCL's, and those of cuBLASLt by name, the newest first.
const char* cuda_driver() noexcept;
const char* nccl_library() noexcept;
std::array<const char*, 2> cublaslt_libraries() noexcept;

// A variable of the environment, null where it is not set; and where the program has rights that its caller lacks.
const char* trusted_variable(const char* name) noexcept;

// Whether the process may use the tiles of AMX, which it asks for; the processor has them.
bool allows_tiles() noexcept;
// Whether an Arm processor multiplies bytes (the feature DotProd).
bool has_dot_products() noexcept;

}  // namespace aotbuild::detail::os

#endif  // AOTBUILD_SRC_BASE_SYSTEM_HPP_
