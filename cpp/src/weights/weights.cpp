#include "weights/weights.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/system.hpp"
#include "kernels/packing.hpp"
#include "tensor/copy.hpp"
#include "weights/candidates.hpp"
#include "weights/device_weights.hpp"

namespace aotbuild::detail {

class WeightSet::Loader {
 public:
  Loader(const ModelSpec& spec, const WeightsSource& source, DeviceWeights* device, WeightSet* set)
      : spec_(spec), info_(*spec.info), device_(device), set_(*set), chosen_(spec, source) {}

  void load() {
    set_.files_ = chosen_.take_files();
    const std::size_t derived_count = device_ == nullptr ? 0 : device_->derived_count();
    set_.storages_ = std::make_unique<Storage[]>(info_.weight_count + derived_count);
    set_.tensors_ = std::make_unique<Tensor[]>(info_.weight_count + derived_count);
    file_memory_.resize(info_.weight_count);
    for (std::size_t i = 0; i < info_.weight_count; ++i) {
      if (spec_.weights[i].zeros) {
        describe(i);
      } else {
        place(i, *chosen_[i]);
      }
    }
    if (device_ != nullptr) upload();
    pack();
  }

 private:
  template <typename... Args>
  [[noreturn]] void bad(const Args&... args) const {
    fail(AOTBUILD_INVALID_WEIGHTS, info_.name, ": ", args...);
  }

  // A weight of four bits: two values to a byte already, or as a state_dict has it, a value to a byte.
  void place_four_bits(std::size_t i, const Candidate& candidate) {
    const aotbuild_weight_info& info = *info_.weights[i];
    const std::size_t nbytes = spec_.weights[i].nbytes;
    Storage& storage = *describe(i).storage;
    storage.nbytes = nbytes;
    storage.data = const_cast<void*>(candidate.data);
    file_memory_[i] = candidate.is_file_memory;
    const auto ndim = static_cast<std::int64_t>(candidate.shape.size());
    const bool is_dense =
        candidate.strides.empty() || is_contiguous(ndim, candidate.shape.data(), candidate.strides.data());
    if (candidate.dtype == kPackedBits && candidate.shape == stored_shape(spec_, i) && is_dense) return;
    const bool has_shape = ndim == info.ndim && std::equal(candidate.shape.begin(), candidate.shape.end(), info.shape);
    if (candidate.dtype != info.dtype || !has_shape || !is_dense) {
      const std::vector<std::int64_t> stored = stored_shape(spec_, i);
      bad("weight '", info.name, "' in ", chosen_.description(), " has type ", candidate.dtype_text, " and shape ",
          format_dims(ndim, candidate.shape.data()), ", expected contiguous ", dtype_name(info.dtype), " ",
          format_dims(info.ndim, info.shape), ", or two values to a byte as uint8 ",
          format_dims(info.ndim, stored.data()));
    }
    set_.copies_.emplace_back(static_cast<char*>(allocate_aligned(std::max<std::size_t>(nbytes, 1))));
    storage.data = set_.copies_.back().get();
    file_memory_[i] = false;
    const auto* from = static_cast<const std::int8_t*>(candidate.data);
    auto* to = static_cast<std::uint8_t*>(storage.data);
    for (std::size_t k = 0; k < 2 * nbytes; ++k) {
      if (from[k] >= -8 && from[k] <= 7) continue;
      bad("weight '", info.name, "' in ", chosen_.description(), " has the value ", static_cast<int>(from[k]),
          ", but the model was built with weights of 4 bits, from -8 to 7; quantize the checkpoint as the model");
    }
    constexpr auto half = static_cast<std::size_t>(kFourBitsBlock / 2);
    for (std::size_t k = 0; k < nbytes; ++k) {
      const std::int8_t* block = from + k / half * kFourBitsBlock + k % half;
      to[k] = static_cast<std::uint8_t>((block[0] & 15) | (block[half] & 15) << 4);
    }
  }

  // The tensor of a weight, without data.
  Tensor& describe(std::size_t i) {
    const aotbuild_weight_info& info = *info_.weights[i];
    ScalarType dtype;
    if (!scalar_type_of(info.dtype, &dtype)) bad("weight '", info.name, "' has an unknown element type");
    std::vector<std::int64_t> dense(static_cast<std::size_t>(info.ndim));
    contiguous_strides(info.ndim, info.shape, dense.data());
    Storage& storage = set_.storages_[i];
    storage.references = Storage::kImmortal;
    storage.nbytes = extent_bytes(dtype, info.ndim, info.shape, dense.data());
    Tensor& tensor = set_.tensors_[i];
    tensor.storage = &storage;
    tensor.dtype = dtype;
    tensor.set_dims(info.ndim, info.shape, nullptr);
    return tensor;
  }

  void place(std::size_t i, const Candidate& candidate) {
    if (spec_.weights[i].four_bits) return place_four_bits(i, candidate);
    const aotbuild_weight_info& info = *info_.weights[i];
    const bool is_wide = spec_.weights[i].rounded && candidate.dtype == kFloat32Type;
    if (candidate.dtype != info.dtype && !is_wide) {
      bad("weight '", info.name, "' in ", chosen_.description(), " has type ", candidate.dtype_text, ", expected ",
          dtype_name(info.dtype), spec_.weights[i].rounded ? " or float32" : "", "; convert it before saving");
    }
    const auto ndim = static_cast<std::int64_t>(candidate.shape.size());
    if (ndim != info.ndim || !std::equal(candidate.shape.begin(), candidate.shape.end(), info.shape)) {
      bad("weight '", info.name, "' in ", chosen_.description(), " has shape ",
          format_dims(ndim, candidate.shape.data()), ", expected ", format_dims(info.ndim, info.shape),
          "; the model's architecture must be the same");
    }
    const bool contiguous = candidate.strides.empty() || is_contiguous(ndim, info.shape, candidate.strides.data());
    Tensor& tensor = describe(i);
    std::size_t extent = 0;
    const ScalarType given = is_wide ? ScalarType::kFloat32 : tensor.dtype;
    if (!contiguous && !find_extent(given, ndim, info.shape, candidate.strides.data(), &extent)) {
      bad("weight '", info.name, "' in ", chosen_.description(), " has strides ",
          format_dims(ndim, candidate.strides.data()), ", which must not be negative or reach further than memory; ",
          "copy it");
    }
    if (is_wide) return round(candidate, tensor);
    Storage& storage = *tensor.storage;
    const ScalarType dtype = tensor.dtype;
    const std::size_t nbytes = storage.nbytes;
    storage.data = const_cast<void*>(candidate.data);
    const bool aligned = reinterpret_cast<std::uintptr_t>(candidate.data) % component_size(dtype) == 0;
    // What goes to a device is copied from where it lies, byte by byte.
    const bool must_copy = !contiguous || (device_ == nullptr && !aligned);
    file_memory_[i] = candidate.is_file_memory && !must_copy;
    if (!must_copy) return;
    set_.copies_.emplace_back(static_cast<char*>(allocate_aligned(std::max<std::size_t>(nbytes, 1))));
    storage.data = set_.copies_.back().get();
    if (contiguous) {
      if (nbytes != 0) std::memcpy(storage.data, candidate.data, nbytes);
    } else {
      const TensorPtr source =
          make_borrowed(const_cast<void*>(candidate.data), extent, dtype, ndim, info.shape, candidate.strides.data());
      copy(tensor, *source, "weights");
    }
  }

  // A weight of float32 for one of a 16-bit type. A file may have it at any place.
  void round(const Candidate& candidate, Tensor& tensor) {
    const std::size_t nbytes = tensor.storage->nbytes;
    set_.copies_.emplace_back(static_cast<char*>(allocate_aligned(std::max<std::size_t>(nbytes, 1))));
    tensor.storage->data = set_.copies_.back().get();
    if (nbytes == 0) return;
    const std::int64_t* const strides = candidate.strides.empty() ? nullptr : candidate.strides.data();
    const std::size_t extent = extent_bytes(ScalarType::kFloat32, tensor.ndim, tensor.sizes(),
                                            strides != nullptr ? strides : tensor.strides());
    std::vector<float> aligned;
    const void* data = candidate.data;
    if (reinterpret_cast<std::uintptr_t>(data) % alignof(float) != 0) {
      aligned.resize(extent / sizeof(float));
      std::memcpy(aligned.data(), data, extent);
      data = aligned.data();
    }
    const TensorPtr source =
        make_borrowed(const_cast<void*>(data), extent, ScalarType::kFloat32, tensor.ndim, tensor.sizes(), strides);
    copy(tensor, *source, "weights");
  }

  // The weights that calls read in one block on the device, with what is derived from all of them in another; nothing
  // of them stays in host memory.
  void upload() {
    set_.device_memory_ = upload_those(true);
    std::shared_ptr<void> others = upload_those(false);
    set_.files_.clear();
    set_.copies_.clear();
    set_.derived_memory_ =
        device_->derive(set_, set_.storages_.get() + info_.weight_count, set_.tensors_.get() + info_.weight_count);
    set_.count_ += device_->derived_count();
    for (std::size_t i = 0; i < info_.weight_count; ++i) {
      if (!device_->reads_weight(i)) set_.storages_[i].data = nullptr;
    }
  }

  std::shared_ptr<void> upload_those(bool that_calls_read) {
    constexpr std::size_t kDeviceAlignment = 256;  // of cuMemAlloc, which kernels may count on
    std::vector<UploadRegion> regions;
    std::vector<std::size_t> indices;
    std::size_t end = 0;
    for (std::size_t i = 0; i < info_.weight_count; ++i) {
      if (device_->reads_weight(i) != that_calls_read || spec_.weights[i].zeros) continue;
      const Storage& storage = set_.storages_[i];
      indices.push_back(i);
      regions.push_back({storage.data, storage.nbytes, end});
      end += (storage.nbytes + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment;
    }
    if (indices.empty() && !that_calls_read) return nullptr;
    std::shared_ptr<void> memory = device_->upload(regions, end);
    for (std::size_t k = 0; k < indices.size(); ++k) {
      Storage& storage = set_.storages_[indices[k]];
      if (file_memory_[indices[k]]) os::release_pages(storage.data, storage.nbytes);
      storage.data = static_cast<char*>(memory.get()) + regions[k].offset;
      storage.device = device_->device();
    }
    return memory;
  }

  const Tensor* constant(int index) const {
    if (index < 0) return nullptr;
    if (static_cast<std::size_t>(index) >= info_.weight_count) bad("a packed layer refers to weight ", index);
    if (spec_.weights[index].mutated) {
      bad("weight '", info_.weights[index]->name, "' is packed, so the model cannot write to it");
    }
    return &set_.tensors_[static_cast<std::size_t>(index)];
  }

  // The original of packed weights is not read any more: its pages need not stay in memory.
  void release(int index) const {
    const Tensor& tensor = set_.tensors_[static_cast<std::size_t>(index)];
    if (file_memory_[static_cast<std::size_t>(index)]) os::release_pages(tensor.storage->data, tensor.storage->nbytes);
  }

  struct Operands {
    std::vector<const Tensor*> weights;
    std::vector<const Tensor*> biases;
  };

  // Where the layer's weights are in the library's packed matrices; null: its tensors have them.
  PackedMatrices* embedded(const LinearSpec& linear) {
    return chosen_.are_embedded() && spec_.weights[linear.weights[0]].packed ? &packed_ : nullptr;
  }

  Operands operands(const LinearSpec& linear) const {
    Operands result;
    for (int part = 0; part < linear.part_count; ++part) {
      result.weights.push_back(constant(linear.weights[part]));
      result.biases.push_back(linear.biases != nullptr ? constant(linear.biases[part]) : nullptr);
    }
    return result;
  }

  void release_parts(const LinearSpec& linear) const {
    for (int part = 0; part < linear.part_count; ++part) release(linear.weights[part]);
  }

  void pack() {
    set_.linears_.reserve(spec_.linear_count);
    for (std::size_t slot = 0; slot < spec_.linear_count; ++slot) {
      const LinearSpec& linear = spec_.linears[slot];
      const auto [weights, biases] = operands(linear);
      set_.linears_.emplace_back(linear, weights, biases, set_.arena_, embedded(linear));
      release_parts(linear);
    }
    set_.mlps_.reserve(spec_.mlp_count);
    for (std::size_t slot = 0; slot < spec_.mlp_count; ++slot) {
      const MlpSpec& mlp = spec_.mlps[slot];
      const auto [first_weights, first_biases] = operands(mlp.first);
      const auto [second_weights, second_biases] = operands(mlp.second);
      set_.mlps_.emplace_back(mlp, *first_weights.at(0), first_biases.at(0), *second_weights.at(0), second_biases.at(0),
                              set_.arena_, embedded(mlp.first));
      release_parts(mlp.first);
      release_parts(mlp.second);
    }
    set_.convolutions_.reserve(spec_.convolution_count);
    for (std::size_t slot = 0; slot < spec_.convolution_count; ++slot) {
      const ConvolutionSpec& convolution = spec_.convolutions[slot];
      const BatchNorm norm{constant(convolution.norm_mean), constant(convolution.norm_variance),
                           constant(convolution.norm_weight), constant(convolution.norm_bias),
                           convolution.norm_epsilon};
      set_.convolutions_.emplace_back(convolution, *constant(convolution.weight), constant(convolution.bias), norm,
                                      set_.arena_);
      if (set_.convolutions_.back().is_packed()) release(convolution.weight);
    }
    set_.quantized_.reserve(spec_.quantized_count);
    for (std::size_t slot = 0; slot < spec_.quantized_count; ++slot) {
      const QuantizedLinearSpec& layer = spec_.quantized[slot];
      set_.quantized_.emplace_back(layer, *constant(layer.weight), spec_.weights[layer.weight].four_bits,
                                   constant(layer.scale), constant(layer.zero_point), set_.arena_);
      if (set_.quantized_.back().is_packed()) release(layer.weight);
    }
    pack_recurrent();
  }

  void pack_recurrent() {
    set_.recurrent_.reserve(spec_.recurrent_count);
    for (std::size_t slot = 0; slot < spec_.recurrent_count; ++slot) {
      const RecurrentSpec& layer = spec_.recurrent[slot];
      std::vector<const Tensor*> weights;
      for (int i = 0; i < layer.weight_count; ++i) weights.push_back(constant(layer.weights[i]));
      set_.recurrent_.emplace_back(layer, weights, set_.arena_, "PackedRecurrent");
      for (int i = 0; i < layer.weight_count; ++i) release(layer.weights[i]);
    }
  }

  const ModelSpec& spec_;
  const aotbuild_model_info& info_;
  DeviceWeights* const device_;
  WeightSet& set_;
  ChosenWeights chosen_;
  PackedMatrices packed_{spec_};
  std::vector<bool> file_memory_;
};

WeightSet::WeightSet(const ModelSpec& spec, const WeightsSource& source, DeviceWeights* device)
    : count_(spec.info->weight_count) {
  Loader(spec, source, device, this).load();
}

}  // namespace aotbuild::detail
