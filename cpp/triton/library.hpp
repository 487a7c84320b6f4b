// A model's shared library, and where the files of a version of a model lie.
#ifndef AOTBUILD_TRITON_LIBRARY_HPP_
#define AOTBUILD_TRITON_LIBRARY_HPP_

#include <cstdint>
#include <memory>
#include <string>

#include "aotbuild/c_api.h"

namespace aotbuild::triton {

// An open library; it is closed with the last copy.
class Library {
 public:
  Library(const std::string& model, const std::string& path);

  const aotbuild_api& api() const { return *api_; }
  const aotbuild_model_info& info() const { return *api_->describe(); }

 private:
  std::shared_ptr<void> handle_;
  const aotbuild_api* api_;
};

// The files that a version is loaded from. A version folder with a weights file alone takes the library of the nearest
// version before it that has one.
struct VersionFiles {
  std::string library;
  std::string weights;  // empty: those of the library
};

// `folder`: of the model, with version folders. `library_name`: empty for the only lib*.so.
VersionFiles find_files(const std::string& model, const std::string& folder, std::uint64_t version,
                        const std::string& library_name);

}  // namespace aotbuild::triton

#endif  // AOTBUILD_TRITON_LIBRARY_HPP_
