#include "weights/safetensors.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
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

// What the header says of a tensor, before it is known to make sense.
struct Entry {
  // A value, and whether it is what it has to be: an entry an object, a type a text, the others lists of sizes.
  template <typename T>
  struct Field {
    T value;
    bool is_there = false;
    bool is_right = false;
  };
  bool is_object = false;
  Field<std::string> dtype;
  Field<std::vector<std::int64_t>> shape;
  Field<std::vector<std::int64_t>> offsets;
};

// Takes the header as it is parsed. No tree of it is made: the destructor of one asks for memory, and ends the process
// where there is none.
class HeaderParser : public nlohmann::json_sax<Json> {
 public:
  static constexpr std::size_t kMostDepth = 8;

  std::map<std::string, Entry> entries;
  std::string repeated;  // the first name that comes again
  std::size_t error_position = 0;
  bool is_too_deep = false;

  bool null() override { return other(); }
  bool boolean(bool) override { return other(); }
  bool number_float(double, const std::string&) override { return other(); }
  bool binary(Json::binary_t&) override { return other(); }
  bool number_integer(std::int64_t value) override { return value < 0 ? other() : size(value); }
  bool number_unsigned(std::uint64_t value) override {
    return value > INT64_MAX ? other() : size(static_cast<std::int64_t>(value));
  }
  bool string(std::string& text) override {
    if (depth_ != kEntry || entry_ == nullptr || field_ != kDtype) return other();
    entry_->dtype = {std::move(text), true, true};
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ == kHeader && entry_ != nullptr) {
      entry_->is_object = true;
    } else if (depth_ != 0) {
      other();
    }
    return enter();
  }
  bool start_array(std::size_t) override {
    other();
    list_ = nullptr;
    if (depth_ == kEntry && entry_ != nullptr && (field_ == kShape || field_ == kOffsets)) {
      list_ = field_ == kShape ? &entry_->shape : &entry_->offsets;
      list_->is_right = true;
    }
    return enter();
  }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }
  bool key(std::string& name) override {
    if (depth_ == kHeader) {
      const auto [place, is_new] = entries.try_emplace(name);
      if (!is_new && repeated.empty()) repeated = name;
      entry_ = &place->second;
    } else if (depth_ == kEntry) {
      field_ = name == "dtype" ? kDtype : name == "shape" ? kShape : name == "data_offsets" ? kOffsets : kUnknown;
    }
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    error_position = position;
    return false;
  }

 private:
  // Depths at which the values of the header, of an entry and of a list in it are.
  static constexpr std::size_t kHeader = 1, kEntry = 2, kList = 3;
  enum FieldName { kUnknown, kDtype, kShape, kOffsets };

  // A value of a kind that nothing here has, or one of what is not looked at.
  bool other() {
    if (entry_ == nullptr) return true;
    if (depth_ == kHeader) entry_->is_object = false;
    if (depth_ == kEntry && field_ == kDtype) entry_->dtype = {{}, true, false};
    if (depth_ == kEntry && field_ == kShape) entry_->shape = {{}, true, false};
    if (depth_ == kEntry && field_ == kOffsets) entry_->offsets = {{}, true, false};
    if (depth_ == kList && list_ != nullptr) list_->is_right = false;
    return true;
  }
  bool size(std::int64_t value) {
    if (depth_ != kList || list_ == nullptr) return other();
    list_->value.push_back(value);
    return true;
  }
  bool enter() {
    is_too_deep = ++depth_ > kMostDepth;
    return !is_too_deep;
  }
  bool leave() {
    if (--depth_ < kList) list_ = nullptr;
    return true;
  }

  std::size_t depth_ = 0;
  Entry* entry_ = nullptr;
  Entry::Field<std::vector<std::int64_t>>* list_ = nullptr;
  FieldName field_ = kUnknown;
};

class Reader {
 public:
  Reader(const unsigned char* data, std::size_t size, const std::string& path)
      : data_(data), size_(size), path_(path) {}

  std::map<std::string, FileTensor> read() {
    HeaderParser header;
    parse_header(&header);
    std::map<std::string, FileTensor> tensors;
    std::vector<std::pair<std::pair<std::size_t, std::size_t>, std::string>> ranges;
    for (const auto& [name, entry] : header.entries) {
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

  void parse_header(HeaderParser* header) {
    if (size_ < 8) bad("it has ", size_, " bytes, too few for the length of the header");
    std::uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = (length << 8) | data_[i];
    if (length > kMaxHeader) bad("the header claims ", length, " bytes, more than the limit of ", kMaxHeader);
    if (length > size_ - 8) bad("the header claims ", length, " bytes, but only ", size_ - 8, " follow (truncated?)");
    if (length < 2 || data_[8] != '{') bad("the header is not a JSON object");
    body_ = data_ + 8 + length;
    body_size_ = size_ - 8 - static_cast<std::size_t>(length);
    if (!Json::sax_parse(data_ + 8, body_, header)) {
      if (header->is_too_deep) bad("the header is nested too deeply");
      bad("the header is not valid JSON (byte ", header->error_position, ")");
    }
    if (!header->repeated.empty()) bad("tensor '", header->repeated, "' appears twice in the header");
  }

  FileTensor read_entry(const std::string& name, const Entry& entry, std::pair<std::size_t, std::size_t>* range) const {
    if (!entry.is_object || !entry.dtype.is_there || !entry.shape.is_there || !entry.offsets.is_there) {
      bad("tensor '", name, "' lacks one of dtype, shape and data_offsets");
    }
    FileTensor tensor{};
    tensor.dtype_name = entry.dtype.value;
    const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                    [&](const NamedType& known) { return tensor.dtype_name == known.name; });
    if (type == std::end(kTypes)) bad("tensor '", name, "' has the unknown dtype '", tensor.dtype_name, "'");
    tensor.dtype = type->dtype;

    if (!entry.shape.is_right) bad("the shape of tensor '", name, "' holds something other than sizes");
    std::int64_t nbytes = type->bits / 8;
    bool overflow = false;
    for (const std::int64_t size : entry.shape.value) {
      overflow = __builtin_mul_overflow(nbytes, size, &nbytes) || overflow;
    }
    tensor.shape = entry.shape.value;
    const std::vector<std::int64_t>& offsets = entry.offsets.value;
    if (!entry.offsets.is_right || offsets.size() != 2 || offsets[0] > offsets[1]) {
      bad("the data_offsets of tensor '", name, "' are not [begin, end]");
    }
    const std::int64_t begin = offsets[0];
    const std::int64_t end = offsets[1];
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
