#include "weights/candidates.hpp"

#include <algorithm>

#include "base/sha256.hpp"
#include "base/system.hpp"
#include "tensor/dtype.hpp"
#include "weights/safetensors.hpp"

namespace aotbuild::detail {

namespace {

// "a", "b", "c" and 12 more
std::string list_some(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, names.size()); ++i) text += (i == 0 ? "'" : ", '") + names[i] + "'";
  if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  return text;
}

}  // namespace

std::vector<std::int64_t> stored_shape(const ModelSpec& spec, std::size_t i) {
  const aotbuild_weight_info& info = *spec.info->weights[i];
  std::vector<std::int64_t> shape(info.shape, info.shape + info.ndim);
  if (spec.weights[i].four_bits) shape.back() /= 2;
  return shape;
}

ChosenWeights::ChosenWeights(const ModelSpec& spec, const WeightsSource& source)
    : spec_(spec), info_(*spec.info), rank_(source.rank) {
  if (source.file != nullptr) {
    description_ = concat("weights file '", source.file, "'");
    candidates_ = from_file(source.file);
  } else if (source.tensor_count != 0) {
    description_ = "the given tensors";
    if (spec_.weights_sha256 != nullptr) {
      bad("the model takes its weights from a file with the SHA-256 ", spec_.weights_sha256,
          " alone, as it was built with WEIGHTS_SHA256");
    }
    candidates_ = from_tensors(source);
  } else {
    candidates_ = built_in();
  }
  choose();
  fill_optional(source);
}

ChosenWeights::Candidates ChosenWeights::from_file(const std::string& path) {
  MappedFile file(path);
  if (spec_.weights_sha256 != nullptr) {
    const std::string sha256 = sha256_of(file.data(), file.size());
    if (sha256 != spec_.weights_sha256) {
      bad("weights file '", path, "' has the SHA-256 ", sha256, ", and the model takes only ", spec_.weights_sha256,
          ", as it was built with WEIGHTS_SHA256; use the file that was built with it");
    }
  }
  Candidates candidates;
  for (auto& [name, tensor] : read_safetensors(file.data(), file.size(), path)) {
    candidates.emplace(name,
                       Candidate{tensor.dtype, tensor.dtype_name, tensor.shape, {}, tensor.data, tensor.nbytes, true});
  }
  files_.push_back(std::move(file));
  return candidates;
}

ChosenWeights::Candidates ChosenWeights::from_tensors(const WeightsSource& source) const {
  Candidates candidates;
  for (std::size_t i = 0; i < source.tensor_count; ++i) {
    const char* name = source.tensors[i].name;
    const aotbuild_tensor& tensor = source.tensors[i].tensor;
    if (name == nullptr) bad("weight tensor ", i, " has no name");
    if (tensor.ndim < 0 || (tensor.ndim > 0 && tensor.shape == nullptr)) bad("weight '", name, "' has no shape");
    if (tensor.device.type != AOTBUILD_CPU) bad("weight '", name, "' is not in CPU memory");
    Candidate candidate{tensor.dtype, dtype_name(tensor.dtype), {}, {}, nullptr, 0, false};
    candidate.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
    if (tensor.strides != nullptr) candidate.strides.assign(tensor.strides, tensor.strides + tensor.ndim);
    for (std::size_t d = 0; d < candidate.strides.size();
         ++d) {  // where there is no second element, it may be anything
      if (candidate.shape[d] == 1) candidate.strides[d] = 1;
    }
    const bool is_empty = std::find(candidate.shape.begin(), candidate.shape.end(), 0) != candidate.shape.end();
    if (tensor.data == nullptr && !is_empty) bad("the data of weight '", name, "' is null");
    candidate.data = static_cast<const char*>(tensor.data) + tensor.byte_offset;
    if (!candidates.emplace(name, std::move(candidate)).second) bad("weight '", name, "' is given twice");
  }
  return candidates;
}

ChosenWeights::Candidates ChosenWeights::from_blob() const {
  Candidates candidates;
  const bool is_file_memory = os::object_that_holds(spec_.embedded_weights).is_read_only;
  for (std::size_t i = 0; i < info_.weight_count; ++i) {
    const WeightSpec& weight = spec_.weights[i];
    const aotbuild_weight_info& info = *info_.weights[i];
    if (weight.zeros) continue;
    // In a blob that holds only the constants, the other weights have no place.
    if (weight.offset > spec_.embedded_weights_size || weight.nbytes > spec_.embedded_weights_size - weight.offset) {
      continue;
    }
    if (spec_.weights_mode != WeightsMode::kEmbed && weight.required) continue;
    if (weight.packed) {
      const std::vector<std::int64_t> shape(info.shape, info.shape + info.ndim);
      candidates.emplace(info.name, Candidate{info.dtype, dtype_name(info.dtype), shape, {}, nullptr, 0, false});
      continue;
    }
    const aotbuild_dtype dtype = weight.four_bits ? kPackedBits : info.dtype;
    candidates.emplace(info.name, Candidate{dtype,
                                            dtype_name(dtype),
                                            stored_shape(spec_, i),
                                            {},
                                            spec_.embedded_weights + weight.offset,
                                            static_cast<std::size_t>(weight.nbytes),
                                            is_file_memory});
  }
  return candidates;
}

std::string ChosenWeights::default_file() const {
  std::string name = spec_.weights_file;
  if (info_.world_size != 0) {  // net.rank0.safetensors, as the generator names it
    const std::size_t dot = name.rfind('.');
    name.insert(dot == std::string::npos || dot == 0 ? name.size() : dot, concat(".rank", rank_));
  }
  return os::is_absolute(name) ? name : os::folder_of(os::object_that_holds(&spec_).path) + name;
}

ChosenWeights::Candidates ChosenWeights::built_in() {
  switch (spec_.weights_mode) {
    case WeightsMode::kEmbed:
      description_ = "the embedded weights";
      are_embedded_ = true;
      return from_blob();
    case WeightsMode::kFile: {
      const std::string path = default_file();
      description_ = "weights file '" + path + "'";
      return from_file(path);
    }
    case WeightsMode::kExternal:
      break;
  }
  description_ = "the library (built with WEIGHTS EXTERNAL: pass the tensors in aotbuild_options::weights)";
  return {};
}

const Candidate* ChosenWeights::find(const Candidates& candidates, std::size_t i,
                                     std::vector<std::string>* used) const {
  const Candidate* first = nullptr;
  const auto look = [&](const char* name) {
    const auto found = candidates.find(name);
    if (found == candidates.end()) return;
    used->push_back(found->first);
    if (first == nullptr) first = &found->second;
  };
  look(info_.weights[i]->name);
  const char* const* alias = spec_.weights[i].aliases;
  while (alias != nullptr && *alias != nullptr) look(*alias++);
  return first;
}

void ChosenWeights::choose() {
  std::vector<std::string> missing;
  std::vector<std::string> used;
  for (std::size_t i = 0; i < info_.weight_count; ++i) {
    chosen_.push_back(find(candidates_, i, &used));
    if (chosen_.back() == nullptr && spec_.weights[i].required) missing.emplace_back(info_.weights[i]->name);
  }
  std::vector<std::string> extra;
  std::sort(used.begin(), used.end());
  for (const auto& [name, candidate] : candidates_) {
    if (!std::binary_search(used.begin(), used.end(), name)) extra.push_back(name);
  }
  if (!missing.empty() || !extra.empty()) {
    std::string text;
    if (!missing.empty()) text = concat(missing.size(), " missing: ", list_some(missing));
    if (!extra.empty()) {
      text += concat(text.empty() ? "" : "; ", extra.size(), " that the model does not have: ", list_some(extra));
    }
    bad(description_, " does not have the ", info_.weight_count, " weights of the model: ", text,
        ". Save the state_dict of a module of the same architecture");
  }
}

void ChosenWeights::fill_optional(const WeightsSource& source) {
  bool is_complete = true;
  for (std::size_t i = 0; i < chosen_.size(); ++i) {
    is_complete = is_complete && (chosen_[i] != nullptr || spec_.weights[i].zeros);
  }
  if (is_complete) return;
  if (spec_.embedded_weights != nullptr) {
    optional_ = from_blob();
  } else if (spec_.weights_mode == WeightsMode::kFile && source.file != default_file()) {
    optional_ = from_file(default_file());
  }
  for (std::size_t i = 0; i < chosen_.size(); ++i) {
    if (spec_.weights[i].zeros) continue;
    std::vector<std::string> ignored;
    if (chosen_[i] == nullptr) chosen_[i] = find(optional_, i, &ignored);
    if (chosen_[i] == nullptr) bad("constant '", info_.weights[i]->name, "' is missing in ", description_);
  }
}

}  // namespace aotbuild::detail
