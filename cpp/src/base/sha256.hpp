// SHA-256 of FIPS 180-4.
#ifndef AOTBUILD_SRC_BASE_SHA256_HPP_
#define AOTBUILD_SRC_BASE_SHA256_HPP_

#include <cstddef>
#include <string>

namespace aotbuild::detail {

// 64 hexadecimal digits, in small letters.
std::string sha256_of(const unsigned char* data, std::size_t size);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_BASE_SHA256_HPP_
