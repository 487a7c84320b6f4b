// The exception that every aotbuild call throws.
#ifndef AOTBUILD_ERROR_HPP_
#define AOTBUILD_ERROR_HPP_

#include <stdexcept>
#include <string>

#include "aotbuild/c_api.h"

namespace aotbuild {

class Error : public std::runtime_error {
 public:
  Error(aotbuild_status status, const std::string& message) : std::runtime_error(message), status_(status) {}

  aotbuild_status status() const noexcept { return status_; }

 private:
  aotbuild_status status_;
};

}  // namespace aotbuild

#endif  // AOTBUILD_ERROR_HPP_
