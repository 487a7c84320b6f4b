#include "base/mapped_file.hpp"

#include <utility>

namespace aotbuild::detail {

MappedFile::MappedFile(const std::string& path) : mapping_(os::map_file(path)) {}

MappedFile::~MappedFile() {
  if (mapping_.data != nullptr) os::unmap_file(mapping_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : mapping_(std::exchange(other.mapping_, os::Mapping{})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  return *this;
}

}  // namespace aotbuild::detail
