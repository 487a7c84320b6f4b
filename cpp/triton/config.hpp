// What config.pbtxt says of a model, as the server hands it over, and whether that is the library's signature.
#ifndef AOTBUILD_TRITON_CONFIG_HPP_
#define AOTBUILD_TRITON_CONFIG_HPP_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "aotbuild/c_api.h"
#include "triton_api.h"

namespace aotbuild::triton {

struct ConfigTensor {
  std::string name;
  std::string type;  // "TYPE_FP32"
  std::vector<std::int64_t> dims;
};

struct Config {
  std::string name;
  std::string library;  // default_model_filename
  std::int64_t max_batch_size = 0;
  bool decoupled = false;
  bool has_sequences = false;
  std::uint64_t idle_ns = 0;  // after which the server has forgotten a sequence
  std::uint64_t instances = 1;
  std::vector<ConfigTensor> inputs;
  std::vector<ConfigTensor> outputs;
  std::map<std::string, std::string> parameters;

  // A parameter that is a whole number from 0 to `most`.
  std::int64_t number(const std::string& key, std::int64_t fallback, std::int64_t most) const;
};

Config parse_config(const std::string& name, const char* json, std::size_t size);

// The server's element type, TRITONSERVER_TYPE_INVALID for one that it lacks, and what config.pbtxt calls it.
TRITONSERVER_DataType data_type_of(aotbuild_dtype dtype);
std::string type_name_of(aotbuild_dtype dtype);

// Throws what is wrong with a configuration for a library that is not generating text.
void check_config(const Config& config, const aotbuild_model_info& info);

// The sizes of a tensor in a request or response, without the server's last 1 where the model has no dimension left, or
// with it.
std::vector<std::int64_t> model_shape(const std::string& model, const aotbuild_tensor_info& info,
                                      const std::int64_t* shape, std::size_t count);
std::vector<std::int64_t> server_shape(const Config& config, const aotbuild_tensor& tensor);

}  // namespace aotbuild::triton

#endif  // AOTBUILD_TRITON_CONFIG_HPP_
