// Files mapped into memory for reading.
#ifndef AOTBUILD_SRC_BASE_MAPPED_FILE_HPP_
#define AOTBUILD_SRC_BASE_MAPPED_FILE_HPP_

#include <cstddef>
#include <string>

#include "base/system.hpp"

namespace aotbuild::detail {

class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error(AOTBUILD_INVALID_WEIGHTS) that names the path.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const unsigned char* data() const { return mapping_.data; }
  std::size_t size() const { return mapping_.size; }

 private:
  os::Mapping mapping_{};
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_BASE_MAPPED_FILE_HPP_
