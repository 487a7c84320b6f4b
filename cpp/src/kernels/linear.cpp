#include "kernels/linear.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/packing.hpp"

namespace aotbuild::detail {

const float* PackedMatrices::take(std::int64_t rows, std::int64_t columns) {
  const PackedMatrix* matrix = next_ < spec_.packed_count ? &spec_.packed[next_] : nullptr;
  if (matrix == nullptr || matrix->rows != rows || matrix->columns != columns) {
    fail("PackedMatrices", "packed matrix ", next_, " of ", spec_.packed_count, " is not [", rows, ", ", columns, "]");
  }
  ++next_;
  return reinterpret_cast<const float*>(spec_.embedded_weights + matrix->offset);
}

bool even_rows(const Tensor& tensor, Rows* rows) {
  const std::int32_t last = tensor.ndim - 1;
  *rows = {tensor.data_as<float>(), tensor.sizes()[last], 1};
  bool first = true;
  for (std::int32_t d = last - 1; d >= 0; --d) {
    const std::int64_t size = tensor.sizes()[d];
    if (size != 1) {
      if (first) {
        rows->stride = tensor.strides()[d];
        first = false;
      } else if (tensor.strides()[d] != rows->stride * rows->count) {
        return false;
      }
    }
    rows->count *= size;
  }
  return rows->stride >= tensor.sizes()[last] && (tensor.strides()[last] == 1 || tensor.sizes()[last] == 1);
}

PackedLinear::PackedLinear(const LinearSpec& spec, const std::vector<const Tensor*>& weights,
                           const std::vector<const Tensor*>& biases, Arena& arena, PackedMatrices* embedded)
    : transposed_(spec.transposed), activation_(spec.activation), alpha_(spec.alpha) {
  if (weights.at(0)->ndim == 2) in_features_ = weights[0]->sizes()[1 - column_dim()];
  check(weights, biases);
  for (const Tensor* weight : weights) out_features_ += weight->sizes()[column_dim()];
  const std::int64_t padded = (out_features_ + kPanelColumns - 1) / kPanelColumns * kPanelColumns;
  const std::size_t nbytes = static_cast<std::size_t>(padded) * sizeof(float);
  bias_ = reinterpret_cast<float*>(arena.allocate(nbytes));
  std::memset(bias_, 0, nbytes);
  float* at = bias_;
  for (std::size_t part = 0; part < weights.size(); ++part) {
    const std::int64_t columns = weights[part]->sizes()[column_dim()];
    if (biases[part] != nullptr) {
      std::memcpy(at, biases[part]->data(), static_cast<std::size_t>(columns) * sizeof(float));
    }
    at += columns;
  }
  packed_ = embedded != nullptr ? embedded->take(in_features_, out_features_) : pack(weights, arena);
}

void PackedLinear::check(const std::vector<const Tensor*>& weights, const std::vector<const Tensor*>& biases) const {
  for (std::size_t part = 0; part < weights.size(); ++part) {
    const Tensor& weight = *weights[part];
    if (weight.ndim != 2 || weight.sizes()[1 - column_dim()] != in_features_ || weight.dtype != ScalarType::kFloat32) {
      fail("PackedLinear", "part ", part, " has weights of sizes ", format_dims(weight.ndim, weight.sizes()),
           " and type ", dtype_name(weight.dtype), "; expected ", in_features_, transposed_ ? " rows" : " columns",
           " of type float32");
    }
    const Tensor* bias = biases[part];
    if (bias != nullptr && (bias->numel() != weight.sizes()[column_dim()] || bias->dtype != ScalarType::kFloat32)) {
      fail("PackedLinear", "part ", part, " has a bias of sizes ", format_dims(bias->ndim, bias->sizes()), " and type ",
           dtype_name(bias->dtype), "; expected [", weight.sizes()[column_dim()], "] of type float32");
    }
  }
}

float* PackedLinear::pack(const std::vector<const Tensor*>& weights, Arena& arena) const {
  const std::int64_t values = packed_values(in_features_, out_features_);
  auto* const packed = reinterpret_cast<float*>(arena.allocate(static_cast<std::size_t>(values) * sizeof(float)));
  std::vector<Column> columns;
  for (const Tensor* weight : weights) {
    const int dim = column_dim();
    for (std::int64_t column = 0; column < weight->sizes()[dim]; ++column) {
      columns.push_back({weight->data_as<float>() + column * weight->strides()[dim], weight->strides()[1 - dim]});
    }
  }
  pack_panels(columns, in_features_, packed);
  return packed;
}

void PackedLinear::run(Workspace& workspace, Tensor& input, Tensor& output) const {
  run_on_rows(input, output, in_features_, out_features_, "context_linear",
              [&](const Rows& from, const Rows& to) { run_rows(workspace, from, to); });
}

void PackedLinear::run_rows(Workspace& workspace, const Rows& input, const Rows& output) const {
  multiply_panels(workspace, input, {packed_, bias_, in_features_, out_features_}, activation_, alpha_, output);
}

}  // namespace aotbuild::detail
