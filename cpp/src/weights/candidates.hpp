// What a weights file, given tensors or the library itself offer for the weights of a model.
#ifndef AOTBUILD_SRC_WEIGHTS_CANDIDATES_HPP_
#define AOTBUILD_SRC_WEIGHTS_CANDIDATES_HPP_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "base/error.hpp"
#include "base/mapped_file.hpp"

namespace aotbuild::detail {

// Where to take weights from. With neither a file nor tensors: from where the model was built to have them.
struct WeightsSource {
  const char* file = nullptr;
  const aotbuild_named_tensor* tensors = nullptr;
  std::size_t tensor_count = 0;
  int rank = 0;  // of a model with WORLD_SIZE
};

// Of weights with four bits as they are stored.
constexpr aotbuild_dtype kPackedBits = {AOTBUILD_UINT, 8, 1};
// Of a state_dict, for weights that are stored rounded.
constexpr aotbuild_dtype kFloat32Type = {AOTBUILD_FLOAT, 32, 1};

// The shape of a weight as the library and its weights file have it; with four bits of type uint8.
std::vector<std::int64_t> stored_shape(const ModelSpec& spec, std::size_t i);

// A weight as a source offers it.
struct Candidate {
  aotbuild_dtype dtype;
  std::string dtype_text;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // empty: contiguous
  const void* data;
  std::size_t nbytes;
  bool is_file_memory;  // pages can be dropped and are read again from their file
};

// One candidate for each weight of a model.
class ChosenWeights {
 public:
  // Throws Error(AOTBUILD_INVALID_WEIGHTS) for a weight that is missing, or that the model does not have.
  ChosenWeights(const ModelSpec& spec, const WeightsSource& source);

  // Null for zeros.
  const Candidate* operator[](std::size_t i) const { return chosen_[i]; }
  // Of the source, for errors.
  const std::string& description() const { return description_; }
  bool are_embedded() const { return are_embedded_; }
  // The files that candidates lie in, for as long as their data is used.
  std::vector<MappedFile> take_files() { return std::move(files_); }

 private:
  using Candidates = std::map<std::string, Candidate>;

  template <typename... Args>
  [[noreturn]] void bad(const Args&... args) const {
    fail(AOTBUILD_INVALID_WEIGHTS, info_.name, ": ", args...);
  }

  Candidates from_file(const std::string& path);
  Candidates from_tensors(const WeightsSource& source) const;
  Candidates from_blob() const;
  Candidates built_in();
  std::string default_file() const;
  const Candidate* find(const Candidates& candidates, std::size_t i, std::vector<std::string>* used) const;
  // Null for zeros, and for a constant that the source leaves out.
  void choose();
  // Constants have no name in a state_dict: those come from where the model was built to have them.
  void fill_optional(const WeightsSource& source);

  const ModelSpec& spec_;
  const aotbuild_model_info& info_;
  const int rank_;
  std::string description_;
  bool are_embedded_ = false;
  std::vector<MappedFile> files_;
  Candidates candidates_;
  Candidates optional_;
  std::vector<const Candidate*> chosen_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_WEIGHTS_CANDIDATES_HPP_
