#include "weights/safetensors.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.hpp"

namespace aotbuild::detail {

namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the limit of the reference implementation
constexpr const char* kRemedy = "; write it again with safetensors.torch.save_file or aotbuild";

struct NamedType {
  const char* name;
  aotbuild_dtype dtype;
  unsigned bits;
};
constexpr NamedType kTypes[] = {
    {"F64", {AOTBUILD_FLOAT, 64, 1}, 64},
    {"F32", {AOTBUILD_FLOAT, 32, 1}, 32},
    {"F16", {AOTBUILD_FLOAT, 16, 1}, 16},
    {"BF16", {AOTBUILD_BFLOAT, 16, 1}, 16},
    {"I64", {AOTBUILD_INT, 64, 1}, 64},
    {"I32", {AOTBUILD_INT, 32, 1}, 32},
    {"I16", {AOTBUILD_INT, 16, 1}, 16},
    {"I8", {AOTBUILD_INT, 8, 1}, 8},
    {"U64", {AOTBUILD_UINT, 64, 1}, 64},
    {"U32", {AOTBUILD_UINT, 32, 1}, 32},
    {"U16", {AOTBUILD_UINT, 16, 1}, 16},
    {"U8", {AOTBUILD_UINT, 8, 1}, 8},
    {"BOOL", {AOTBUILD_BOOL, 8, 1}, 8},
    {"C64", {AOTBUILD_COMPLEX, 64, 1}, 64},
    {"F8_E4M3", {AOTBUILD_FLOAT8_E4M3FN, 8, 1}, 8},
    {"F8_E5M2", {AOTBUILD_FLOAT8_E5M2, 8, 1}, 8},
    {"F8_E8M0", {AOTBUILD_FLOAT, 0, 1}, 8},
};

class Reader {
 public:
  Reader(const unsigned char* data, std::size_t size, const std::string& path)
      : data_(data), size_(size), path_(path) {}

  std::map<std::string, FileTensor> read() {
    const Json header = parse_header();
    std::map<std::string, FileTensor> tensors;
    std::vector<std::pair<std::pair<std::size_t, std::size_t>, std::string>> ranges;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") continue;
      std::pair<std::size_t, std::size_t> range;
      tensors.emplace(name, read_entry(name, entry, &range));
      ranges.emplace_back(range, name);
    }
    check_ranges(&ranges);
    return tensors;
  }

 private:
  template <typename... Args>
  [[noreturn]] void bad(const Args&... args) const {
    fail(AOTBUILD_INVALID_WEIGHTS, "weights file '", path_, "' is not a valid safetensors file: ", args..., kRemedy);
  }

  Json parse_header() {
    if (size_ < 8) bad("it has ", size_, " bytes, too few for the length of the header");
    std::uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = (length << 8) | data_[i];
    if (length > kMaxHeader) bad("the header claims ", length, " bytes, more than the limit of ", kMaxHeader);
    if (length > size_ - 8) bad("the header claims ", length, " bytes, but only ", size_ - 8, " follow (truncated?)");
    if (length < 2 || data_[8] != '{') bad("the header is not a JSON object");
    body_ = data_ + 8 + length;
    body_size_ = size_ - 8 - static_cast<std::size_t>(length);

    std::set<std::string> names;
    std::string repeated;
    const Json::parser_callback_t watch = [&](int depth, Json::parse_event_t event, Json& value) {
      if (depth > 8) bad("the header is nested too deeply");
      if (event == Json::parse_event_t::key && depth == 1) {
        std::string name = value.get<std::string>();
        if (!names.insert(name).second && repeated.empty()) repeated = std::move(name);
      }
      return true;
    };
    Json header;
    try {
      header = Json::parse(data_ + 8, body_, watch);
    } catch (const Json::exception& error) {
      bad("the header is not valid JSON (byte ", error_position(error), ")");
    }
    if (!repeated.empty()) bad("tensor '", repeated, "' appears twice in the header");
    return header;
  }

  static std::size_t error_position(const Json::exception& error) {
    const auto* parse_error = dynamic_cast<const Json::parse_error*>(&error);
    return parse_error != nullptr ? parse_error->byte : 0;
  }

  static bool to_size(const Json& value, std::int64_t* out) {
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX))
      return false;
    *out = value.get<std::int64_t>();
    return *out >= 0;
  }

  FileTensor read_entry(const std::string& name, const Json& entry, std::pair<std::size_t, std::size_t>* range) const {
    if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets")) {
      bad("tensor '", name, "' lacks one of dtype, shape and data_offsets");
    }
    const Json& dtype = entry["dtype"];
    const Json& shape = entry["shape"];
    const Json& offsets = entry["data_offsets"];
    FileTensor tensor{};
    if (dtype.is_string()) tensor.dtype_name = dtype.get<std::string>();
    const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                    [&](const NamedType& known) { return tensor.dtype_name == known.name; });
    if (type == std::end(kTypes)) bad("tensor '", name, "' has the unknown dtype '", tensor.dtype_name, "'");
    tensor.dtype = type->dtype;

    if (!shape.is_array()) bad("the shape of tensor '", name, "' is not a list");
    std::int64_t nbytes = type->bits / 8;
    bool overflow = false;
    for (const Json& item : shape) {
      std::int64_t size = 0;
      if (!to_size(item, &size)) bad("the shape of tensor '", name, "' holds something other than sizes");
      overflow = overflow || __builtin_mul_overflow(nbytes, size, &nbytes);
      tensor.shape.push_back(size);
    }
    std::int64_t begin = 0;
    std::int64_t end = 0;
    if (!offsets.is_array() || offsets.size() != 2 || !to_size(offsets[0], &begin) || !to_size(offsets[1], &end) ||
        begin > end) {
      bad("the data_offsets of tensor '", name, "' are not [begin, end]");
    }
    if (static_cast<std::uint64_t>(end) > body_size_) {
      bad("tensor '", name, "' ends at byte ", end, " of the data, but the file holds ", body_size_, " (truncated?)");
    }
    if (overflow || end - begin != nbytes) {
      bad("tensor '", name, "' has ", end - begin, " bytes, but its dtype and shape need ",
          overflow ? std::string("more than an address can hold") : std::to_string(nbytes));
    }
    *range = {static_cast<std::size_t>(begin), static_cast<std::size_t>(end)};
    tensor.data = body_ + begin;
    tensor.nbytes = static_cast<std::size_t>(nbytes);
    return tensor;
  }

  void check_ranges(std::vector<std::pair<std::pair<std::size_t, std::size_t>, std::string>>* ranges) const {
    std::sort(ranges->begin(), ranges->end());
    std::size_t expected = 0;
    for (const auto& [range, name] : *ranges) {
      if (range.first < expected) bad("the bytes of tensor '", name, "' overlap those of another tensor");
      if (range.first > expected)
        bad("there is a hole of ", range.first - expected, " bytes before tensor '", name, "'");
      expected = range.second;
    }
    if (expected != body_size_) bad(body_size_ - expected, " bytes after the last tensor belong to none");
  }

  const unsigned char* data_;
  std::size_t size_;
  const std::string& path_;
  const unsigned char* body_ = nullptr;
  std::size_t body_size_ = 0;
};

}  // namespace

std::map<std::string, FileTensor> read_safetensors(const unsigned char* data, std::size_t size,
                                                   const std::string& path) {
  return Reader(data, size, path).read();
}

}  // namespace aotbuild::detail
