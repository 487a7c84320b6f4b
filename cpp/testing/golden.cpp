// The reader of golden files: safetensors, a header of JSON and the bytes of tensors.
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/testing.hpp"

namespace aotbuild::testing {
inline namespace AOTBUILD_NAMESPACE {
namespace detail {

class GoldenData {
 public:
  explicit GoldenData(const char* path) : path_(path) {
    std::ifstream stream(path_, std::ios::binary);
    if (!stream) {
      throw std::runtime_error("cannot open the golden file " + path_ +
                               "; name it in the first argument or in AOTBUILD_GOLDEN");
    }
    std::ostringstream contents;
    contents << stream.rdbuf();
    const std::string bytes = contents.str();
    std::uint64_t header_size = 0;
    if (bytes.size() < sizeof(header_size)) throw std::runtime_error(path_ + " is not a safetensors file: too short");
    for (std::size_t i = 0; i < sizeof(header_size); ++i) {
      header_size |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    }
    if (header_size > bytes.size() - sizeof(header_size)) {
      throw std::runtime_error(path_ + " is not a safetensors file: its header is longer than the file");
    }
    const std::size_t begin = sizeof(header_size) + static_cast<std::size_t>(header_size);
    header_ = nlohmann::json::parse(bytes.data() + sizeof(header_size), bytes.data() + begin, nullptr, false);
    if (!header_.is_object()) {
      throw std::runtime_error(path_ + " is not a safetensors file: its header is no JSON object");
    }
    size_ = bytes.size() - begin;
    data_.reset(static_cast<unsigned char*>(allocate_aligned(size_)));
    std::memcpy(data_.get(), bytes.data() + begin, size_);
  }

  StoredTensor find(const char* name) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto known = found_.find(name);
    if (known != found_.end()) return view_of(known->second);
    const auto found = header_.find(name);
    if (found == header_.end()) throw std::runtime_error(path_ + " has no tensor " + name);
    const std::vector<std::int64_t> offsets = integers(name, *found, "data_offsets");
    std::vector<std::int64_t> shape = integers(name, *found, "shape");
    const bool is_range = offsets.size() == 2 && offsets[0] >= 0 && offsets[0] <= offsets[1];
    if (!is_range || static_cast<std::uint64_t>(offsets[1]) > size_) {
      throw std::runtime_error(path_ + ": tensor " + name + " lies outside the file");
    }
    const auto begin = static_cast<std::size_t>(offsets[0]);
    Entry entry{data_.get() + begin, static_cast<std::size_t>(offsets[1]) - begin, std::move(shape)};
    return view_of(found_.emplace(name, std::move(entry)).first->second);
  }

 private:
  struct Entry {
    unsigned char* data;
    std::size_t size;
    std::vector<std::int64_t> shape;
  };
  struct Free {
    void operator()(unsigned char* memory) const { free_aligned(memory); }
  };

  static StoredTensor view_of(const Entry& entry) {
    return {entry.data, entry.size, entry.shape.size(), entry.shape.data()};
  }

  // A list of whole numbers of a tensor's entry.
  std::vector<std::int64_t> integers(const std::string& name, const nlohmann::json& entry, const char* key) const {
    std::vector<std::int64_t> numbers;
    const auto list = entry.is_object() ? entry.find(key) : entry.end();
    bool fits = list != entry.end() && list->is_array();
    for (std::size_t i = 0; fits && i < list->size(); ++i) {
      fits = (*list)[i].is_number_integer();  // others may have no value of the type
      if (fits) numbers.push_back((*list)[i].get<std::int64_t>());
    }
    if (!fits) throw std::runtime_error(path_ + ": tensor " + name + " is damaged: no list of whole numbers " + key);
    return numbers;
  }

  std::string path_;
  nlohmann::json header_;
  std::unique_ptr<unsigned char, Free> data_;
  std::size_t size_ = 0;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Entry> found_;  // what was asked for, whose shapes stay
};

GoldenData* read_golden(const char* path) { return new GoldenData(path); }
void free_golden(GoldenData* data) noexcept { delete data; }
StoredTensor find_golden(const GoldenData& data, const char* name) { return data.find(name); }

}  // namespace detail
}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild::testing
