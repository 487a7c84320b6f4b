#include "bundle.hpp"

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace aotbuild::tune {

namespace {

using detail::fail;
using Json = nlohmann::json;

constexpr const char* kRemedy = "; make the bundle again with `aotbuild tune bundle`";

std::vector<unsigned char> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(AOTBUILD_INVALID_ARGUMENT, path, ": cannot be read", kRemedy);
  return {std::istreambuf_iterator<char>(file), {}};
}

Range range_of(const Json& json, const std::vector<unsigned char>& file) {
  const Range range{json.at(0).get<std::size_t>(), json.at(1).get<std::size_t>()};
  if (range.offset > file.size() || range.size > file.size() - range.offset) {
    throw std::out_of_range("a range lies outside its file");
  }
  return range;
}

Argument argument_of(const Json& json, const std::vector<unsigned char>& data) {
  Argument argument;
  argument.is_buffer = json.is_object();
  if (argument.is_buffer) {
    argument.nbytes = json.at("nbytes").get<std::size_t>();
    argument.dtype = json.at("dtype").get<std::string>();
    argument.rotates = json.at("rotates").get<bool>();
    argument.has_data = json.contains("data");
    if (argument.has_data) {
      argument.data = range_of(json.at("data"), data);
      if (argument.data.size != argument.nbytes) throw std::out_of_range("data of another size than its buffer");
    }
  } else {
    argument.number = json.get<double>();
    argument.integer = json.is_number_integer() ? json.get<std::int64_t>() : static_cast<std::int64_t>(argument.number);
  }
  return argument;
}

Candidate candidate_of(const Json& json, const std::vector<unsigned char>& images) {
  Candidate candidate;
  candidate.config = json.at("config").dump();
  candidate.image = range_of(json.at("image"), images);
  candidate.symbol = json.at("symbol").get<std::string>();
  candidate.threads = json.at("threads").get<unsigned>();
  candidate.shared_bytes = json.at("shared_bytes").get<unsigned>();
  candidate.cluster_blocks = json.at("cluster_blocks").get<unsigned>();
  candidate.cooperative = json.at("cooperative").get<bool>();
  candidate.scratch_bytes = json.value("scratch_bytes", std::size_t{0});
  for (const Json& grid : json.at("grids")) {
    candidate.grids.push_back({grid.at(0).get<unsigned>(), grid.at(1).get<unsigned>(), grid.at(2).get<unsigned>()});
  }
  return candidate;
}

Kernel kernel_of(const Json& json, const Bundle& bundle) {
  Kernel kernel;
  kernel.key = json.at("key").get<std::string>();
  kernel.name = json.at("name").get<std::string>();
  kernel.parameters = json.at("parameters").get<std::vector<std::string>>();
  for (const Json& values : json.at("cases")) {
    std::vector<Argument> arguments;
    for (const Json& value : values) arguments.push_back(argument_of(value, bundle.data));
    std::size_t expected = 0;
    for (const std::string& parameter : kernel.parameters) {
      if (parameter == "null") continue;
      if (expected >= arguments.size() || arguments[expected].is_buffer != (parameter == "pointer")) {
        throw std::out_of_range("arguments that are not those of its parameters");
      }
      ++expected;
    }
    if (expected != arguments.size()) throw std::out_of_range("arguments that are not those of its parameters");
    kernel.cases.push_back(std::move(arguments));
  }
  for (const Json& candidate : json.at("candidates")) {
    kernel.candidates.push_back(candidate_of(candidate, bundle.images));
    if (kernel.candidates.back().grids.size() != kernel.cases.size()) {
      throw std::out_of_range("another number of grids than of cases");
    }
  }
  return kernel;
}

}  // namespace

Bundle read_bundle(const std::string& folder) {
  const std::string path = folder + "/bundle.json";
  const std::vector<unsigned char> text = read_file(path);
  Bundle bundle;
  try {
    const Json json = Json::parse(text);
    const int format = json.at("format").get<int>();
    if (format != kFormat) {
      fail(AOTBUILD_INVALID_ARGUMENT, path, ": has format ", format, ", and this program reads ", kFormat, kRemedy);
    }
    bundle.id = json.at("id").get<std::string>();
    bundle.target = json.at("target").get<std::string>();
    bundle.architecture = json.at("architecture").get<std::string>();
    bundle.versions = json.at("versions").get<std::string>();
    bundle.images = read_file(folder + "/images.bin");
    bundle.data = read_file(folder + "/data.bin");
    for (const Json& kernel : json.at("kernels")) bundle.kernels.push_back(kernel_of(kernel, bundle));
  } catch (const detail::Error&) {
    throw;
  } catch (const std::exception& error) {
    fail(AOTBUILD_INVALID_ARGUMENT, path, ": ", error.what(), kRemedy);
  }
  return bundle;
}

}  // namespace aotbuild::tune
