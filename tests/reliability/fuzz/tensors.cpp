// Calls of the C ABI with any tensors: what a call takes it computes right, reading and writing no byte besides its
// tensors' own; everything else is refused.
#include <memory>

#include "fuzz_model.hpp"

namespace {

using namespace aotbuild::fuzz;

constexpr std::size_t kMostBytes = 1U << 16;
constexpr std::size_t kMostDims = 5;
constexpr std::int64_t kFarthest = std::int64_t{1} << 40;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

// A tensor with memory of exactly what its sizes and strides reach, so that a sanitizer sees every other byte.
struct Given {
  aotbuild_tensor tensor{};
  std::vector<std::int64_t> shape, strides;
  std::unique_ptr<unsigned char, Free> memory;
  std::size_t first = 0;  // of the first element in the memory, in bytes
};

struct Expected {
  aotbuild_dtype dtype;
  std::vector<std::int64_t> shape;
};

std::int64_t any_number(Bytes& bytes) {
  switch (bytes.choose(4)) {
    case 0:
      return bytes.take<std::int64_t>();
    case 1:
      return bytes.take<std::int32_t>();
    default:
      return bytes.take<std::int8_t>();
  }
}

// The bytes before and behind the first element that the tensor's elements lie in; false where that is too much, or
// more than a number can hold.
bool reach(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides, std::size_t width,
           std::size_t* before, std::size_t* behind) {
  __extension__ using Wide = __int128;
  Wide low = 0, high = 0;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 0) return *before = *behind = 0, true;
    if (shape[d] < 0) return false;
    if (shape[d] == 1) continue;
    if (shape[d] > kFarthest || std::abs(strides[d] / 2) > kFarthest) return false;
    const Wide span = (Wide{shape[d]} - 1) * strides[d] * static_cast<Wide>(width);
    (span < 0 ? low : high) += span;
  }
  high += static_cast<Wide>(width);
  if (-low > Wide{kMostBytes} || high > Wide{kMostBytes}) return false;
  *before = static_cast<std::size_t>(-low);
  *behind = static_cast<std::size_t>(high);
  return true;
}

void make(Bytes& bytes, const Expected& expected, Given* given) {
  aotbuild_tensor& tensor = given->tensor;
  tensor.device = {AOTBUILD_CPU, 0};
  tensor.dtype = expected.dtype;
  given->shape = expected.shape;
  const std::uint8_t wrong = bytes.take<std::uint8_t>();  // what is not as the model wants it, a bit each
  if ((wrong & 1U) != 0) tensor.dtype = bytes.take<aotbuild_dtype>();
  if ((wrong & 2U) != 0) {
    given->shape.resize(bytes.choose(kMostDims + 1));
    for (std::int64_t& size : given->shape) size = any_number(bytes);
  }
  given->strides.resize(given->shape.size());
  std::int64_t contiguous = 1;
  for (std::size_t d = given->shape.size(); d-- > 0;) {
    given->strides[d] = contiguous;
    if (__builtin_mul_overflow(contiguous, given->shape[d], &contiguous)) contiguous = 0;
  }
  const bool are_null = (wrong & 12U) == 0;
  if ((wrong & 4U) != 0) {
    for (std::int64_t& stride : given->strides) stride = any_number(bytes);
  }
  const std::size_t width = std::max<std::size_t>(1, expected.dtype.bits / 8);
  std::size_t before = 0, behind = 0;
  if (!reach(given->shape, given->strides, width, &before, &behind)) {
    // Nobody may read it, so one byte is enough; but strides that reach too far would be a caller's lie.
    if (given->shape == expected.shape) {
      given->strides.assign(given->shape.size(), 0);
      reach(given->shape, given->strides, width, &before, &behind);
    } else {
      before = 0, behind = 1;
    }
  }
  const std::size_t misplaced = (wrong & 16U) != 0 ? bytes.choose(8) : 0;
  const std::size_t total = before + behind + misplaced;
  given->memory.reset(static_cast<unsigned char*>(std::malloc(std::max<std::size_t>(total, 1))));
  for (std::size_t i = 0; i < total; ++i) given->memory.get()[i] = 0;
  given->first = before + misplaced;
  if ((wrong & 32U) != 0) tensor.byte_offset = bytes.take<std::uint16_t>();
  tensor.data = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(given->memory.get()) + given->first -
                                        tensor.byte_offset);
  if ((wrong & 64U) != 0) tensor.data = nullptr, tensor.byte_offset = 0;
  tensor.ndim = static_cast<std::int32_t>(given->shape.size());
  tensor.shape = given->shape.data();
  tensor.strides = are_null ? nullptr : given->strides.data();
  if ((wrong & 128U) != 0) {
    switch (bytes.choose(4)) {
      case 0:
        tensor.device = bytes.take<aotbuild_device>();
        break;
      case 1:
        tensor.ndim = -1 - bytes.take<std::int8_t>();
        if (tensor.ndim > 0) tensor.ndim = -1;
        break;
      case 2:
        tensor.shape = nullptr;
        break;
      default:
        break;
    }
  }
}

// The element at row i, column j of a tensor that the model has taken.
template <typename T>
T at(const Given& given, std::int64_t i, std::int64_t j) {
  const std::int64_t offset = i * given.strides[0] + (given.strides.size() > 1 ? j * given.strides[1] : 0);
  T value{};
  std::memcpy(&value, given.memory.get() + given.first + offset * static_cast<std::int64_t>(sizeof(T)), sizeof value);
  return value;
}

void fill(Bytes& bytes, Given* given, std::size_t width) {
  std::size_t before = 0, behind = 0;
  if (!reach(given->shape, given->strides, width, &before, &behind)) return;
  std::uint32_t seed = bytes.take<std::uint8_t>();
  for (std::size_t i = given->first - before; i + width <= given->first + behind; i += width) {
    seed = seed * 1664525U + 1013904223U;
    const auto value = static_cast<std::int64_t>(seed >> 28);
    const auto real = static_cast<float>(value);
    std::memcpy(given->memory.get() + i, width == sizeof value ? static_cast<const void*>(&value) : &real, width);
  }
}

void check_outputs(const Given* inputs, const aotbuild_tensor* outputs) {
  const std::int64_t rows = inputs[0].shape[0];
  float sum_of_index = 0, sum_of_z = 0;
  for (std::int64_t i = 0; i < inputs[1].shape[0]; ++i)
    sum_of_index += static_cast<float>(at<std::int64_t>(inputs[1], i, 0));
  for (std::int64_t i = 0; i < 6; ++i) sum_of_z += at<float>(inputs[2], i / 3, i % 3);
  const auto* const sums =
      reinterpret_cast<const float*>(static_cast<const char*>(outputs[1].data) + outputs[1].byte_offset);
  require(sums[0] == sum_of_index && sums[1] == sum_of_z, "the sums of what was given");
  static const std::vector<float> weight = random_values(kUnits * kFeatures, 1), bias = random_values(kUnits, 2);
  if (rows == 0) return;
  const auto* const y =
      reinterpret_cast<const float*>(static_cast<const char*>(outputs[0].data) + outputs[0].byte_offset);
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < kUnits; ++n) {
      double sum = double{bias[static_cast<std::size_t>(n)]};
      for (std::int64_t k = 0; k < kFeatures; ++k) {
        sum += double{at<float>(inputs[0], m, k)} * double{weight[static_cast<std::size_t>(n * kFeatures + k)]};
      }
      require(std::fabs(double{y[m * kUnits + n]} - sum) < 1e-3, "the layer's outputs");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ModelBuilder builder = make_builder();
  static Model model(builder.spec());
  Bytes bytes(data, size);
  while (!bytes.is_empty()) {
    const std::int64_t rows = static_cast<std::int64_t>(bytes.choose(kMostRows + 3)) - 1;
    const Expected expected_inputs[] = {{kFloat, {rows, kFeatures}}, {kLong, {2 * rows + 1}}, {kFloat, {2, 3}}};
    const Expected expected_outputs[] = {{kFloat, {rows, kUnits}}, {kFloat, {3}}};
    Given inputs[3], outputs[2];
    aotbuild_tensor input_tensors[4] = {}, output_tensors[3] = {};
    for (std::size_t i = 0; i < 3; ++i) {
      make(bytes, expected_inputs[i], &inputs[i]);
      if (inputs[i].shape == expected_inputs[i].shape && rows >= 0)
        fill(bytes, &inputs[i], expected_inputs[i].dtype.bits / 8);
      input_tensors[i] = inputs[i].tensor;
    }
    const std::uint8_t how = bytes.take<std::uint8_t>();
    for (std::size_t i = 0; i < 2; ++i) {
      output_tensors[i] = to_allocate();
      if ((how >> i & 1U) == 0) continue;
      make(bytes, expected_outputs[i], &outputs[i]);
      output_tensors[i] = outputs[i].tensor;
    }
    std::size_t input_count = 3, output_count = 2;
    if ((how & 4U) != 0) input_count = bytes.take<std::uint8_t>();
    if ((how & 8U) != 0) output_count = bytes.take<std::uint8_t>();
    const std::size_t method = (how & 16U) != 0 ? bytes.take<std::uint64_t>() : 0;
    aotbuild_result* result = nullptr;
    void* const stream = (how & 64U) != 0 ? &result : nullptr;
    const aotbuild_status status =
        aotbuild_model_run(model.handle, method, stream, (how & 128U) != 0 ? nullptr : input_tensors, input_count,
                           output_tensors, output_count, (how & 32U) != 0 ? nullptr : &result);
    require(status == AOTBUILD_OK || status == AOTBUILD_INVALID_ARGUMENT, "a call is computed or refused");
    if (status == AOTBUILD_OK) {
      check_outputs(inputs, output_tensors);
    } else {
      require(result == nullptr, "no result of a refused call");
      require(std::strlen(aotbuild_last_error()) > 10, "a refusal says why");
    }
    if (result != nullptr) aotbuild_result_destroy(result);
  }
  return 0;
}
