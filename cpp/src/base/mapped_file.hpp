// Files mapped into memory for reading, and what is known about the program's own mapped segments.
#ifndef AOTBUILD_SRC_BASE_MAPPED_FILE_HPP_
#define AOTBUILD_SRC_BASE_MAPPED_FILE_HPP_

#include <cstddef>
#include <string>

namespace aotbuild::detail {

class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error(AOTBUILD_INVALID_WEIGHTS) that names the path.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const unsigned char* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  const unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
};

// Lets the kernel drop the pages inside of [data, data + nbytes): they are read from their file again when touched.
// Only for memory that is mapped from a file and was never written.
void release_pages(const void* data, std::size_t nbytes) noexcept;

// The shared library or program that holds an address.
struct LoadedObject {
  std::string path;
  bool is_read_only;  // the address lies in a segment that is mapped from the file without write permission
};
LoadedObject object_that_holds(const void* address);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_BASE_MAPPED_FILE_HPP_
