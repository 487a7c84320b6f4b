// Any options for `create`, and any named tensors for `set_weights`: what is taken gives a model that computes with
// those weights, everything else is refused with a message, and no byte beyond what the caller says is read.
#include <array>
#include <deque>
#include <memory>

#include "fuzz_model.hpp"

namespace {

using namespace aotbuild::fuzz;

constexpr std::size_t kMostTensors = 7;
constexpr std::size_t kLargestOptions = 4096;  // that a structure may have

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<void, Free>;

// Memory of exactly this size, so that a sanitizer sees every byte besides.
Memory exactly(std::size_t size) { return Memory(std::calloc(std::max<std::size_t>(size, 1), 1)); }

struct Weight {
  const char* name;
  std::vector<std::int64_t> shape;
};

const std::array<Weight, 7>& weights() {
  static const std::array<Weight, 7> all = {{{"weight", {kUnits, kFeatures}},
                                             {"bias", {kUnits}},
                                             {"scale", {}},
                                             {"state", {4}},
                                             {"tied.weight", {kUnits, kFeatures}},
                                             {"unknown", {2}},
                                             {"", {1}}}};
  return all;
}

// An array of named tensors whose elements are as long as they say, and what they point to.
class Tensors {
 public:
  Tensors(Bytes& bytes, std::size_t count) {
    // All elements are as long as the caller's header has them, of whatever version that is.
    constexpr std::size_t kKnown = sizeof(aotbuild_named_tensor);
    std::size_t length = kKnown;
    if (bytes.choose(8) == 0) length += bytes.choose(40);
    memory_ = exactly(length * count);
    auto* const array = static_cast<unsigned char*>(memory_.get());
    for (std::size_t i = 0; i < count; ++i) {
      aotbuild_named_tensor tensor{};
      make(bytes, i, &tensor);
      tensor.struct_size = static_cast<std::uint32_t>(length);
      if (bytes.choose(32) == 0) tensor.struct_size = bytes.take<std::uint32_t>() % kKnown;
      std::memcpy(array + i * length, static_cast<const void*>(&tensor), kKnown);
      if (length > kKnown && bytes.choose(4) == 0) array[(i + 1) * length - 1] = bytes.take<std::uint8_t>();
    }
  }

  const aotbuild_named_tensor* data() const { return static_cast<const aotbuild_named_tensor*>(memory_.get()); }

 private:
  void make(Bytes& bytes, std::size_t number, aotbuild_named_tensor* made) {
    // In the model's order, unless the bytes say otherwise.
    const std::uint8_t wrong = bytes.take<std::uint8_t>();
    const Weight& weight = weights()[(wrong & 1U) != 0 ? bytes.choose(weights().size()) : number % weights().size()];
    names_.emplace_back(weight.name);
    made->name = (wrong & 2U) != 0 && bytes.choose(4) == 0 ? nullptr : names_.back().c_str();
    shapes_.push_back(weight.shape);
    std::vector<std::int64_t>& shape = shapes_.back();
    if ((wrong & 4U) != 0) {
      shape.resize(bytes.choose(5));
      for (std::int64_t& size : shape)
        size = bytes.choose(4) == 0 ? bytes.take<std::int64_t>() : bytes.take<std::int8_t>() % 9;
    }
    aotbuild_tensor& tensor = made->tensor;
    tensor.device = {AOTBUILD_CPU, 0};
    tensor.dtype = (wrong & 8U) != 0 ? bytes.take<aotbuild_dtype>() : kFloat;
    tensor.ndim = static_cast<std::int32_t>(shape.size());
    tensor.shape = shape.data();
    std::vector<std::int64_t> strides(shape.size(), 1);
    for (std::size_t d = shape.size(); d-- > 1;) {
      if (__builtin_mul_overflow(strides[d], shape[d], &strides[d - 1])) strides[d - 1] = 0;
    }
    if ((wrong & 32U) != 0 && !shape.empty()) strides[bytes.choose(shape.size())] = bytes.take<std::int8_t>();
    // As many elements as a tensor of the model's shape reaches; nobody may read one of another shape.
    std::size_t count = 1;
    for (std::size_t d = 0; d < weight.shape.size() && shape == weight.shape; ++d) {
      count += static_cast<std::size_t>((shape[d] - 1) * std::max<std::int64_t>(strides[d], 0));
    }
    const std::size_t misplaced = (wrong & 16U) != 0 ? bytes.choose(8) : 0;
    data_.push_back(exactly(count * sizeof(float) + misplaced));
    auto* const begin = static_cast<unsigned char*>(data_.back().get());
    for (std::size_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(bytes.take<std::int8_t>()) / 4;
      std::memcpy(begin + misplaced + i * sizeof value, &value, sizeof value);
    }
    tensor.data = begin + misplaced;
    strides_.push_back(std::move(strides));
    if ((wrong & 32U) != 0) tensor.strides = strides_.back().data();
    if ((wrong & 64U) == 0) return;
    switch (bytes.choose(5)) {
      case 0:
        tensor.device = bytes.take<aotbuild_device>();
        break;
      case 1:
        tensor.ndim = -1;
        break;
      case 2:
        tensor.shape = nullptr;
        break;
      case 3:
        tensor.data = nullptr;
        break;
      default:  // the address of the first element is the same
        tensor.byte_offset = misplaced;
        tensor.data = begin;
        break;
    }
  }

  std::deque<std::string> names_;
  std::deque<std::vector<std::int64_t>> shapes_, strides_;
  std::vector<Memory> data_;
  Memory memory_;
};

// The options in memory that is exactly as long as they say.
Memory chosen(Bytes& bytes, const aotbuild_options& known) {
  aotbuild_options options = known;
  std::size_t size = sizeof options;
  if (bytes.choose(8) == 0)
    size = bytes.choose(2) == 0 ? bytes.choose(sizeof options) : sizeof options + bytes.choose(99);
  if (size < sizeof options.struct_size) size = sizeof options.struct_size;
  Memory memory = exactly(size);
  options.struct_size = static_cast<std::uint32_t>(size);
  std::memcpy(memory.get(), &options, std::min(size, sizeof options));
  if (size > sizeof options && bytes.choose(2) == 0) {
    static_cast<unsigned char*>(memory.get())[size - 1] = bytes.take<std::uint8_t>();
  }
  // A size that was not set; nothing of the rest is read.
  if (bytes.choose(64) == 0) {
    const std::uint32_t wrong = bytes.take<std::uint32_t>() | kLargestOptions << 1;
    std::memcpy(memory.get(), &wrong, sizeof wrong);
  }
  return memory;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ModelBuilder embedded_builder = make_builder();
  static ModelBuilder external_builder = make_builder();
  external_builder.mode(aotbuild::detail::WeightsMode::kExternal);
  Bytes bytes(data, size);
  const bool is_external = bytes.choose(2) == 0;
  aotbuild_options options = default_options();
  const std::uint8_t wrong = bytes.take<std::uint8_t>();
  if ((wrong & 1U) != 0) options.num_threads = bytes.take<std::int32_t>();
  if ((wrong & 2U) != 0) options.device = bytes.take<aotbuild_device>();
  if ((wrong & 4U) != 0) options.cuda_graphs = bytes.take<std::int32_t>();
  static const char* const files[] = {"/nowhere/model.safetensors", "", "/", "/dev/null", "\xff"};
  if ((wrong & 8U) != 0) options.weights_file = files[bytes.choose(std::size(files))];
  const std::size_t count = (wrong & 16U) != 0 ? bytes.choose(kMostTensors + 1) : is_external ? 4 : 0;
  const Tensors tensors(bytes, count);
  options.weights = (wrong & 32U) != 0 && bytes.choose(4) == 0 ? nullptr : tensors.data();
  options.weight_count = count;
  const Memory given = chosen(bytes, options);
  const aotbuild::detail::ModelSpec& spec = (is_external ? external_builder : embedded_builder).spec();
  aotbuild_model* made = nullptr;
  const aotbuild_status status = aotbuild_model_create(&spec, static_cast<const aotbuild_options*>(given.get()), &made);
  require(status == AOTBUILD_OK || status == AOTBUILD_INVALID_ARGUMENT || status == AOTBUILD_INVALID_WEIGHTS,
          std::string("options are taken or refused: ") + aotbuild_last_error());
  require((status == AOTBUILD_OK) == (made != nullptr), "refused options give no model");
  if (status != AOTBUILD_OK) require(std::strlen(aotbuild_last_error()) > 10, "a refusal says why");
  const Model used(embedded_builder.spec());  // ends before the tensors do
  static const std::vector<float> before = outputs_of(used.handle);
  const aotbuild_status set = aotbuild_model_set_weights(used.handle, tensors.data(), count);
  require(set == AOTBUILD_OK || set == AOTBUILD_INVALID_ARGUMENT || set == AOTBUILD_INVALID_WEIGHTS,
          std::string("tensors are taken or refused: ") + aotbuild_last_error());
  const std::vector<float> after = outputs_of(used.handle);
  if (set != AOTBUILD_OK) {
    require(std::strlen(aotbuild_last_error()) > 10, "a refusal says why");
    require(same(after, before), "a model goes on with the weights that it had");
  }
  if (made != nullptr) {
    const std::vector<float> outputs = outputs_of(made);
    if (count != 0) require(set == AOTBUILD_OK && same(outputs, after), "both ways to give tensors agree");
    aotbuild_model_destroy(made);
  }
  return 0;
}
