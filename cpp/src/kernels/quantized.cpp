#include "kernels/quantized.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/packing.hpp"
#include "kernels/quantized_kernels.hpp"
#include "tensor/copy.hpp"

namespace aotbuild::detail {

namespace {

constexpr const char* kFunction = "context_quantized_linear";

// Columns of the output and input features of one tile of dequantized weights: 32 KiB, which stay in the cache while
// all rows of the input pass.
constexpr std::int64_t kColumns = 16;
constexpr std::int64_t kDepth = 512;

// Products from which more than one thread works.
constexpr std::int64_t kMinParallel = 1 << 16;

std::int64_t rows_of(const Tensor& tensor) {
  std::int64_t rows = 1;
  for (std::int32_t d = 0; d + 1 < tensor.ndim; ++d) rows *= tensor.sizes()[d];
  return rows;
}

void check_parameter(const Tensor* tensor, const char* what, ScalarType dtype, std::int64_t count) {
  if (tensor == nullptr || (tensor->dtype == dtype && tensor->numel() == count)) return;
  fail("QuantizedLinear", "the ", what, " has sizes ", format_dims(tensor->ndim, tensor->sizes()), " and type ",
       dtype_name(tensor->dtype), "; expected ", count, " values of type ", dtype_name(dtype));
}

}  // namespace

QuantizedLinear::QuantizedLinear(const QuantizedLinearSpec& spec, const Tensor& weight, bool has_four_bits,
                                 const Tensor* scale, const Tensor* zero_point, Arena& arena)
    : has_four_bits_(has_four_bits), group_(spec.group), weight_(weight.data()) {
  if (weight.ndim == 2) {
    out_features_ = weight.sizes()[0];
    in_features_ = weight.sizes()[1];
  }
  if (weight.ndim != 2 || weight.dtype != ScalarType::kInt8 || group_ < 1 || in_features_ % group_ != 0 ||
      (has_four_bits_ && (group_ % kFourBitsBlock != 0 || spec.integers))) {
    fail("QuantizedLinear", "weights of sizes ", format_dims(weight.ndim, weight.sizes()), " and type ",
         dtype_name(weight.dtype), " in groups of ", group_, has_four_bits_ ? " with 4 bits" : "");
  }
  const std::int64_t groups = out_features_ * (in_features_ / group_);
  check_parameter(scale, "scale", ScalarType::kFloat32, groups);
  check_parameter(zero_point, "zero point", ScalarType::kInt8, groups);
  if (scale != nullptr) scale_ = scale->data_as<float>();
  if (zero_point != nullptr) {
    // Symmetric quantization has zero points too, which are all zero.
    const auto* values = zero_point->data_as<std::int8_t>();
    if (std::any_of(values, values + groups, [](std::int8_t value) { return value != 0; })) zero_point_ = values;
  }
  if (spec.integers) integers_.emplace(weight.data_as<std::int8_t>(), in_features_, out_features_, arena);
}

void QuantizedLinear::run(Workspace& workspace, Tensor& input, Tensor& output) const {
  const ScalarType input_type = integers_ ? ScalarType::kInt8 : ScalarType::kFloat32;
  const ScalarType output_type = integers_ ? ScalarType::kInt32 : ScalarType::kFloat32;
  if (input.ndim < 1 || output.ndim < 1 || input.dtype != input_type || output.dtype != output_type ||
      input.sizes()[input.ndim - 1] != in_features_ || output.sizes()[output.ndim - 1] != out_features_) {
    fail(kFunction, "expected [..., ", in_features_, "] of type ", dtype_name(input_type), " to [..., ", out_features_,
         "] of type ", dtype_name(output_type), ", got ", format_dims(input.ndim, input.sizes()), " of type ",
         dtype_name(input.dtype), " to ", format_dims(output.ndim, output.sizes()), " of type ",
         dtype_name(output.dtype));
  }
  const std::int64_t rows = rows_of(input);
  if (rows != rows_of(output)) fail(kFunction, "input has ", rows, " rows and output ", rows_of(output));
  if (rows == 0 || out_features_ == 0) return;
  if (!is_contiguous(output)) {
    const TensorPtr dense = make_tensor(output.dtype, output.ndim, output.sizes(), nullptr);
    run(workspace, input, *dense);
    return copy(output, *dense, kFunction);
  }
  if (!is_contiguous(input)) return run(workspace, *clone_contiguous(input, kFunction), output);
  if (integers_) {
    return integers_->run(workspace, input.data_as<std::int8_t>(), rows, output.data_as<std::int32_t>());
  }
  multiply_floats(workspace, input.data_as<float>(), output.data_as<float>(), rows);
}

// Input features [first, first + count) of the weights of one column of the output.
void QuantizedLinear::dequantize(std::int64_t column, std::int64_t first, std::int64_t count, float* values) const {
  const QuantizedKernels& kernels = quantized_kernels();
  const std::int64_t begin = column * in_features_;
  for (std::int64_t at = first; at < first + count;) {
    const std::int64_t group = (begin + at) / group_;
    const std::int64_t length = std::min((at / group_ + 1) * group_, first + count) - at;
    const std::int32_t zero = zero_point_ != nullptr ? zero_point_[group] : 0;
    const float scale = scale_ != nullptr ? scale_[group] : 1.0F;
    if (has_four_bits_) {
      kernels.dequantize4(static_cast<const std::uint8_t*>(weight_) + (begin + at) / 2, zero, scale, length,
                          values + at - first);
    } else {
      kernels.dequantize8(static_cast<const std::int8_t*>(weight_) + begin + at, zero, scale, length,
                          values + at - first);
    }
    at += length;
  }
}

void QuantizedLinear::multiply_floats(Workspace& workspace, const float* input, float* output,
                                      std::int64_t rows) const {
  const QuantizedKernels& kernels = quantized_kernels();
  const std::int64_t padded = (in_features_ + kTileVector - 1) / kTileVector * kTileVector;
  const std::size_t row_nbytes = static_cast<std::size_t>(in_features_) * sizeof(float);
  const ScratchBuffer copied(workspace,
                             padded == in_features_ ? 0 : static_cast<std::size_t>(rows * padded) * sizeof(float));
  if (copied.data() != nullptr) {  // whole vectors, with zeros at their ends
    auto* to = static_cast<float*>(copied.data());
    for (std::int64_t row = 0; row < rows; ++row) {
      std::memcpy(to + row * padded, input + row * in_features_, row_nbytes);
      std::fill(to + row * padded + in_features_, to + (row + 1) * padded, 0.0F);
    }
    input = to;
  }
#pragma omp parallel for if (rows * in_features_ * out_features_ > kMinParallel)
  for (std::int64_t first_column = 0; first_column < out_features_; first_column += kColumns) {
    const std::int64_t columns = std::min(kColumns, out_features_ - first_column);
    alignas(64) float values[kColumns * kDepth];
    for (std::int64_t first = 0; first == 0 || first < in_features_; first += kDepth) {
      const std::int64_t count = std::min(kDepth, in_features_ - first);
      const std::int64_t depth = std::min(kDepth, padded - first);
      // Columns to the next whole tile are computed as well, and their sums dropped.
      for (std::int64_t column = 0; column < (columns + kTileColumns - 1) / kTileColumns * kTileColumns; ++column) {
        float* at = values + column * kDepth;
        if (column < columns) dequantize(first_column + column, first, count, at);
        std::fill(at + (column < columns ? count : 0), at + depth, 0.0F);
      }
      for (std::int64_t row = 0; row < rows; row += kernels.tile_rows) {
        const std::int64_t tile_rows = std::min(kernels.tile_rows, rows - row);
        const auto multiply = kernels.multiply[tile_rows - 1];
        for (std::int64_t column = 0; column < columns; column += kTileColumns) {
          float sums[kMaxTileRows][kTileColumns];
          multiply(input + row * padded + first, padded, values + column * kDepth, kDepth, depth, sums);
          const std::int64_t tile_columns = std::min(kTileColumns, columns - column);
          for (std::int64_t r = 0; r < tile_rows; ++r) {
            float* to = output + (row + r) * out_features_ + first_column + column;
            for (std::int64_t c = 0; c < tile_columns; ++c) to[c] = first == 0 ? sums[r][c] : to[c] + sums[r][c];
          }
        }
      }
    }
  }
}

}  // namespace aotbuild::detail
