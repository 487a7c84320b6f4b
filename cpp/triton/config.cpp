#include "config.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "support.hpp"

namespace aotbuild::triton {

namespace {

using nlohmann::json;

// The server writes 64-bit numbers as numbers or as text.
std::int64_t whole_number(const json& value) {
  return value.is_string() ? std::stoll(value.get<std::string>()) : value.get<std::int64_t>();
}

// A member of an object; what the server left out, or wrote as null, is `fallback`.
json member(const json& object, const char* name, json fallback) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() && !found->is_null() ? *found : std::move(fallback);
}

std::vector<ConfigTensor> tensors(const json& list) {
  std::vector<ConfigTensor> found;
  for (const json& entry : list) {
    ConfigTensor tensor{entry.at("name").get<std::string>(), entry.at("data_type").get<std::string>(), {}};
    for (const json& dim : entry.at("dims")) tensor.dims.push_back(whole_number(dim));
    found.push_back(std::move(tensor));
  }
  return found;
}

struct TypeRow {
  std::uint8_t code;
  std::uint8_t bits;
  TRITONSERVER_DataType type;
  const char* name;
};

constexpr TypeRow kTypes[] = {
    {AOTBUILD_BOOL, 8, TRITONSERVER_TYPE_BOOL, "TYPE_BOOL"},
    {AOTBUILD_UINT, 8, TRITONSERVER_TYPE_UINT8, "TYPE_UINT8"},
    {AOTBUILD_UINT, 16, TRITONSERVER_TYPE_UINT16, "TYPE_UINT16"},
    {AOTBUILD_UINT, 32, TRITONSERVER_TYPE_UINT32, "TYPE_UINT32"},
    {AOTBUILD_UINT, 64, TRITONSERVER_TYPE_UINT64, "TYPE_UINT64"},
    {AOTBUILD_INT, 8, TRITONSERVER_TYPE_INT8, "TYPE_INT8"},
    {AOTBUILD_INT, 16, TRITONSERVER_TYPE_INT16, "TYPE_INT16"},
    {AOTBUILD_INT, 32, TRITONSERVER_TYPE_INT32, "TYPE_INT32"},
    {AOTBUILD_INT, 64, TRITONSERVER_TYPE_INT64, "TYPE_INT64"},
    {AOTBUILD_FLOAT, 16, TRITONSERVER_TYPE_FP16, "TYPE_FP16"},
    {AOTBUILD_FLOAT, 32, TRITONSERVER_TYPE_FP32, "TYPE_FP32"},
    {AOTBUILD_FLOAT, 64, TRITONSERVER_TYPE_FP64, "TYPE_FP64"},
    {AOTBUILD_BFLOAT, 16, TRITONSERVER_TYPE_BF16, "TYPE_BF16"},
};

const TypeRow* row_of(aotbuild_dtype dtype) {
  const auto* const row = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeRow& candidate) {
    return candidate.code == dtype.code && candidate.bits == dtype.bits;
  });
  return row == std::end(kTypes) ? nullptr : row;
}

const aotbuild_tensor_info* find(const aotbuild_tensor_info* const* infos, std::size_t count, const std::string& name) {
  for (std::size_t i = 0; i < count; ++i) {
    if (name == infos[i]->name) return infos[i];
  }
  return nullptr;
}

template <typename... Args>
[[noreturn]] void bad(const Config& config, const Args&... args) {
  fail(TRITONSERVER_ERROR_INVALID_ARG, config.name, ": config.pbtxt: ", args...,
       "; aotbuild_add_triton_model() writes a file that fits");
}

void check_tensor(const Config& config, const char* kind, const ConfigTensor& tensor,
                  const aotbuild_tensor_info& info) {
  if (tensor.type != type_name_of(info.dtype)) {
    bad(config, kind, " '", tensor.name, "' is ", tensor.type, ", the library has ", type_name_of(info.dtype));
  }
  const std::size_t first = config.max_batch_size > 0 ? 1 : 0;
  std::size_t rank = static_cast<std::size_t>(info.ndim);
  if (rank < first) bad(config, kind, " '", tensor.name, "' has no dimension, so max_batch_size has to be 0");
  rank -= first;
  const bool is_scalar = rank == 0 && tensor.dims.size() == 1 && tensor.dims[0] == 1;
  if (!is_scalar && tensor.dims.size() != rank) {
    bad(config, kind, " '", tensor.name, "' has ", tensor.dims.size(), " dims, the library has ", rank,
        first == 1 ? " beside the batch" : "");
  }
  for (std::size_t d = 0; !is_scalar && d < rank; ++d) {
    const aotbuild_dim_info& dim = *info.dims[d + first];
    const std::int64_t size = tensor.dims[d];
    if (size != -1 && (size < dim.min || size > dim.max)) {
      bad(config, kind, " '", tensor.name, "' has ", size, " in dims[", d, "], the library takes ", dim.min, "..",
          dim.max);
    }
  }
  if (first == 1 && config.max_batch_size > info.dims[0]->max) {
    bad(config, "max_batch_size is ", config.max_batch_size, ", but the batch of ", kind, " '", tensor.name,
        "' is at most ", info.dims[0]->max);
  }
}

}  // namespace

std::int64_t Config::number(const std::string& key, std::int64_t fallback, std::int64_t most) const {
  const auto found = parameters.find(key);
  if (found == parameters.end()) return fallback;
  char* end = nullptr;
  const long long value = std::strtoll(found->second.c_str(), &end, 10);
  if (found->second.empty() || *end != '\0' || value < 0 || value > most) {
    bad(*this, "the parameter ", key, " is \"", found->second, "\", which is no number from 0 to ", most);
  }
  return value;
}

Config parse_config(const std::string& name, const char* text, std::size_t size) {
  const json document = json::parse(text, text + size);
  Config config;
  config.name = name;
  config.library = member(document, "default_model_filename", "");
  config.max_batch_size = whole_number(member(document, "max_batch_size", 0));
  config.decoupled = member(member(document, "model_transaction_policy", json::object()), "decoupled", false);
  if (const json sequences = member(document, "sequence_batching", nullptr); !sequences.is_null()) {
    config.has_sequences = true;
    const std::int64_t idle = whole_number(member(sequences, "max_sequence_idle_microseconds", 1000000));
    config.idle_ns = 1000 * static_cast<std::uint64_t>(idle);
  }
  config.inputs = tensors(member(document, "input", json::array()));
  config.outputs = tensors(member(document, "output", json::array()));
  std::int64_t instances = 0;
  for (const json& group : member(document, "instance_group", json::array())) {
    instances += whole_number(member(group, "count", 1));
  }
  config.instances = static_cast<std::uint64_t>(std::max<std::int64_t>(instances, 1));
  const json parameters = member(document, "parameters", json::object());
  for (const auto& [key, value] : parameters.items()) config.parameters[key] = member(value, "string_value", "");
  return config;
}

TRITONSERVER_DataType data_type_of(aotbuild_dtype dtype) {
  const TypeRow* const row = row_of(dtype);
  return row == nullptr ? TRITONSERVER_TYPE_INVALID : row->type;
}

std::string type_name_of(aotbuild_dtype dtype) {
  const TypeRow* const row = row_of(dtype);
  return row == nullptr ? "a type that Triton lacks" : row->name;
}

void check_config(const Config& config, const aotbuild_model_info& info) {
  for (std::size_t m = 0; m < info.method_count; ++m) {
    const aotbuild_method_info& method = *info.methods[m];
    const auto check_all = [&](const char* kind, const std::vector<ConfigTensor>& given,
                               const aotbuild_tensor_info* const* infos, std::size_t count) {
      for (std::size_t i = 0; i < count; ++i) {
        const auto found = std::find_if(given.begin(), given.end(),
                                        [&](const ConfigTensor& tensor) { return tensor.name == infos[i]->name; });
        if (found == given.end()) bad(config, kind, " '", infos[i]->name, "' of the library is missing");
        if (info.method_count == 1) check_tensor(config, kind, *found, *infos[i]);
      }
    };
    check_all("input", config.inputs, method.inputs, method.input_count);
    check_all("output", config.outputs, method.outputs, method.output_count);
  }
  const auto is_known = [&](const std::string& name, bool is_input) {
    for (std::size_t m = 0; m < info.method_count; ++m) {
      const aotbuild_method_info& method = *info.methods[m];
      if (is_input ? find(method.inputs, method.input_count, name) : find(method.outputs, method.output_count, name)) {
        return true;
      }
    }
    return false;
  };
  for (const ConfigTensor& input : config.inputs) {
    if (!is_known(input.name, true)) bad(config, "the library has no input '", input.name, "'");
  }
  for (const ConfigTensor& output : config.outputs) {
    if (!is_known(output.name, false)) bad(config, "the library has no output '", output.name, "'");
  }
}

std::vector<std::int64_t> model_shape(const std::string& model, const aotbuild_tensor_info& info,
                                      const std::int64_t* shape, std::size_t count) {
  const std::size_t rank = static_cast<std::size_t>(info.ndim);
  if (count == rank + 1 && shape[rank] == 1) --count;
  if (count != rank) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, model, ": input '", info.name, "' has ", count, " dimensions, expected ",
         rank);
  }
  return std::vector<std::int64_t>(shape, shape + count);
}

std::vector<std::int64_t> server_shape(const Config& config, const aotbuild_tensor& tensor) {
  std::vector<std::int64_t> shape(tensor.shape, tensor.shape + tensor.ndim);
  if (shape.size() == (config.max_batch_size > 0 ? 1 : 0)) shape.push_back(1);
  return shape;
}

}  // namespace aotbuild::triton
