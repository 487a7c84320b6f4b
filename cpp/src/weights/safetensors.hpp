// Reader of safetensors files: names, types, shapes and where the bytes lie.
#ifndef AOTBUILD_SRC_WEIGHTS_SAFETENSORS_HPP_
#define AOTBUILD_SRC_WEIGHTS_SAFETENSORS_HPP_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "aotbuild/c_api.h"

namespace aotbuild::detail {

struct FileTensor {
  std::string dtype_name;  // as in the file: "F32"
  aotbuild_dtype dtype;    // bits 0: a type that no model has
  std::vector<std::int64_t> shape;
  const unsigned char* data;
  std::size_t nbytes;
};

// `data` is the whole file. Throws Error(AOTBUILD_INVALID_WEIGHTS) that names `path`, the tensor and the remedy.
std::map<std::string, FileTensor> read_safetensors(const unsigned char* data, std::size_t size,
                                                   const std::string& path);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_WEIGHTS_SAFETENSORS_HPP_
