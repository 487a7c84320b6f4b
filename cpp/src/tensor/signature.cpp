#include "tensor/signature.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {

TensorChecker::TensorChecker(const char* model, const char* kind, const aotbuild_tensor_info& info,
                             aotbuild_device device, std::vector<std::string>* symbols)
    : model_(model),
      kind_(kind),
      info_(&info),
      device_(info.device.type == AOTBUILD_CPU ? aotbuild_device{AOTBUILD_CPU, 0} : device) {
  if (!scalar_type_of(info.dtype, &dtype_)) {
    fail(AOTBUILD_RUNTIME_ERROR, model, ": ", kind, " '", info.name, "' has an unknown element type");
  }
  alignment_mask_ = component_size(dtype_) - 1;
  for (std::int32_t d = 0; d < info.ndim; ++d) {
    const aotbuild_dim_info& dim = *info.dims[d];
    int symbol = -1;
    if (dim.symbol != nullptr && std::string(dim.symbol) != "?") {
      const auto found = std::find(symbols->begin(), symbols->end(), dim.symbol);
      symbol = static_cast<int>(found - symbols->begin());
      if (found == symbols->end()) symbols->emplace_back(dim.symbol);
    }
    dims_.push_back({dim.min, dim.max, dim.multiplier, dim.offset, symbol});
  }
}

template <typename... Args>
void TensorChecker::bad(const Args&... args) const {
  fail(AOTBUILD_INVALID_ARGUMENT, model_, ": ", kind_, " '", info_->name, "' ", args...);
}

void TensorChecker::bad_device(aotbuild_device device) const {
  if (device_.type == AOTBUILD_CPU) bad("is on device type ", device.type, ", expected ", AOTBUILD_CPU, " (CPU)");
  if (device.type != device_.type) {
    bad("is on device type ", device.type, ", expected ", device_.type, " (CUDA) or ", AOTBUILD_CPU, " (CPU)");
  }
  bad("is on CUDA device ", device.index, ", but the model is on device ", device_.index,
      "; copy it there, or set aotbuild_options::device when creating the model");
}

void TensorChecker::bad_size(std::int32_t d, std::int64_t size) const {
  const aotbuild_dim_info& dim = *info_->dims[d];
  if (dim.symbol == nullptr) bad("dimension ", d, " is ", size, ", expected ", dim.min);
  bad("dimension ", d, " is ", size, ", allowed range is ", dim.min, "..", dim.max, " (symbol '", dim.symbol, "')");
}

void TensorChecker::bad_symbol(std::int32_t d, std::int64_t size, std::int64_t value) const {
  const aotbuild_dim_info& dim = *info_->dims[d];
  if (value < 0) {
    bad("dimension ", d, " is ", size, ", expected ", dim.multiplier, " * ", dim.symbol, dim.offset < 0 ? " - " : " + ",
        dim.offset < 0 ? -dim.offset : dim.offset, " for a whole number ", dim.symbol);
  }
  bad("dimension ", d, " is ", size, ", expected ", dim.multiplier * value + dim.offset,
      " to agree with the dimensions before it (symbol '", dim.symbol, "' is ", value, ")");
}

void TensorChecker::check(const aotbuild_tensor& tensor, SymbolValues* symbols) const {
  if (tensor.device.type != AOTBUILD_CPU &&
      (tensor.device.type != device_.type || tensor.device.index != device_.index)) {
    bad_device(tensor.device);
  }
  if (tensor.dtype != info_->dtype) bad("has type ", dtype_name(tensor.dtype), ", expected ", dtype_name(info_->dtype));
  if (tensor.ndim != info_->ndim) bad("has ", tensor.ndim, " dimensions, expected ", info_->ndim);
  if (tensor.shape == nullptr && tensor.ndim > 0) bad("has a null shape");
  bool is_empty = false;
  for (std::int32_t d = 0; d < tensor.ndim; ++d) {
    const Dim& dim = dims_[static_cast<std::size_t>(d)];
    const std::int64_t size = tensor.shape[d];
    if (size < dim.min || size > dim.max) bad_size(d, size);
    is_empty = is_empty || size == 0;
    if (dim.symbol < 0) continue;
    std::int64_t& value = symbols->values[static_cast<std::size_t>(dim.symbol)];
    if (value >= 0) {
      if (size != dim.multiplier * value + dim.offset) bad_symbol(d, size, value);
    } else if (dim.multiplier == 1) {
      value = size - dim.offset;
    } else {
      if (dim.multiplier == 0 || (size - dim.offset) % dim.multiplier != 0) bad_symbol(d, size, -1);
      value = (size - dim.offset) / dim.multiplier;
    }
  }
  if (is_empty) return;
  if (tensor.data == nullptr) bad("has a null data pointer");
  if (((reinterpret_cast<std::uintptr_t>(tensor.data) + tensor.byte_offset) & alignment_mask_) != 0) {
    bad("has data that is not aligned to ", alignment_mask_ + 1, " bytes, the size of one ", dtype_name(dtype_));
  }
  if (tensor.strides != nullptr || info_->strides != nullptr) check_strides(tensor);
}

void TensorChecker::check_strides(const aotbuild_tensor& tensor) const {
  bool match = true;
  std::int64_t expected = 1;
  std::int64_t contiguous = 1;
  for (std::int32_t d = tensor.ndim - 1; d >= 0; --d) {
    const std::int64_t size = tensor.shape[d];
    const std::int64_t stride = tensor.strides != nullptr ? tensor.strides[d] : contiguous;
    if (stride < 0) bad("has the negative stride ", stride, " in dimension ", d, "; copy it");
    const std::int64_t wanted = info_->strides != nullptr ? info_->strides[d] : expected;
    match = match && (size == 1 || wanted == -1 || stride == wanted);
    expected *= size;
    contiguous *= size;
  }
  if (match) return;
  std::vector<std::int64_t> given(static_cast<std::size_t>(tensor.ndim));
  std::vector<std::int64_t> required(given.size());
  contiguous_strides(tensor.ndim, tensor.shape, given.data());
  required = given;
  if (tensor.strides != nullptr) given.assign(tensor.strides, tensor.strides + tensor.ndim);
  if (info_->strides != nullptr) required.assign(info_->strides, info_->strides + tensor.ndim);
  bad("has strides ", format_dims(tensor.ndim, given.data()), ", expected ", format_dims(tensor.ndim, required.data()),
      info_->strides == nullptr ? " (contiguous)" : "", "; copy it to that layout");
}

Signature::Signature(const char* name, const aotbuild_method_info& info, aotbuild_device device) : name_(name) {
  std::vector<std::string> symbols;
  for (std::size_t i = 0; i < info.input_count; ++i) {
    inputs.emplace_back(name, "input", *info.inputs[i], device, &symbols);
  }
  for (std::size_t i = 0; i < info.output_count; ++i) {
    outputs.emplace_back(name, "output", *info.outputs[i], device, &symbols);
  }
  symbol_count_ = symbols.size();
  if (symbol_count_ > SymbolValues::kMaxSymbols) {
    fail(AOTBUILD_RUNTIME_ERROR, name, ": ", symbol_count_, " symbols of dynamic dimensions, at most ",
         SymbolValues::kMaxSymbols, " are supported");
  }
}

void Signature::reset(SymbolValues* symbols) const { std::fill_n(symbols->values.begin(), symbol_count_, -1); }

void Signature::check_conditions(const VariantSpec& variant, const aotbuild_tensor* given,
                                 const SymbolValues& symbols) const {
  if (variant.broken_condition == nullptr) return;
  const char* const broken = variant.broken_condition(symbols.values.data());
  if (broken == nullptr) return;
  std::string shapes;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    shapes += concat(i == 0 ? "" : ", ", inputs[i].info().name, " ", format_dims(given[i].ndim, given[i].shape));
  }
  fail(AOTBUILD_INVALID_ARGUMENT, name_, ": the inputs' sizes do not fit: the model needs ", broken, ", and they are ",
       shapes);
}

}  // namespace aotbuild::detail
