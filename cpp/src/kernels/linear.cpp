#include "kernels/linear.hpp"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/packing.hpp"
#include "kernels/panel_kernels.hpp"
#include "tensor/half_rows.hpp"

namespace aotbuild::detail {

namespace {

// So many numbers of one thread's rows are made at a time: they stay in its caches.
constexpr std::int64_t kHalfValues = 1 << 19;
constexpr std::int64_t kLeastHalfRows = 16;

// Numbers that a thread is woken to convert.
constexpr std::int64_t kHalfShare = 1 << 15;

// A row of 16-bit numbers as `words`, zeros at the end.
template <typename T>
void copy_words(const T* from, std::int64_t count, std::int64_t words, float* to) {
  const auto nbytes = static_cast<std::size_t>(count) * sizeof(T);
  std::memcpy(to, from, nbytes);
  std::memset(reinterpret_cast<char*>(to) + nbytes, 0, static_cast<std::size_t>(words) * sizeof(float) - nbytes);
}

// The type that weights are rounded to; `own` is theirs.
ScalarType packed_type_of(Precision precision, ScalarType own) {
  switch (precision) {
    case Precision::kBFloat16:
      return ScalarType::kBFloat16;
    case Precision::kFloat16:
      return ScalarType::kFloat16;
    default:
      return own;
  }
}

// Numbers of a row of `words` for one thread's rows at a time.
std::int64_t rows_at_a_time(std::int64_t numbers) {
  return std::max(kLeastHalfRows, kHalfValues * omp_get_max_threads() / numbers);
}

// `T`: what the weights are rounded to, `From`: what they are.
template <typename T, typename From>
void pack_column(const From* from, std::int64_t step, std::int64_t count, float* to) {
  for (std::int64_t row = 0; row < count; ++row) {
    const T value = convert<T>(from[row * step]);
    if constexpr (std::is_same_v<T, BFloat16>) {
      reinterpret_cast<std::uint16_t*>(to + row / 2 * kPanelColumns)[row % 2] = value.bits;
    } else {
      to[row * kPanelColumns] = convert<float>(value);
    }
  }
}

template <typename T>
void pack_column(const Tensor& weight, std::int64_t first, std::int64_t step, std::int64_t count, float* to) {
  if (weight.dtype == ScalarType::kFloat32) return pack_column<T>(weight.data_as<float>() + first, step, count, to);
  pack_column<T>(weight.data_as<T>() + first, step, count, to);
}

}  // namespace

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
    : dtype_(spec.precision == Precision::kOwn ? weights.at(0)->dtype : ScalarType::kFloat32),
      packed_type_(packed_type_of(spec.precision, dtype_)),
      transposed_(spec.transposed),
      activation_(spec.activation),
      alpha_(spec.alpha) {
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
      const std::int64_t stride = 1;
      const TensorPtr to = make_borrowed(at, static_cast<std::size_t>(columns) * sizeof(float), ScalarType::kFloat32, 1,
                                         &columns, &stride);
      copy(*to, *biases[part], "PackedLinear");
    }
    at += columns;
  }
  if (packed_type_ != ScalarType::kFloat32) {
    const std::int64_t values = packed_values(panels().depth, out_features_);
    auto* const packed = reinterpret_cast<float*>(arena.allocate(static_cast<std::size_t>(values) * sizeof(float)));
    pack_half(weights, packed);
    packed_ = packed;
    return;
  }
  packed_ = embedded != nullptr ? embedded->take(in_features_, out_features_) : pack(weights, arena);
}

Panels PackedLinear::panels() const {
  const bool is_bf16 = packed_type_ == ScalarType::kBFloat16;
  return {packed_,
          bias_,
          is_bf16 ? pieces(in_features_, 2) : in_features_,
          out_features_,
          is_bf16 ? PanelType::kBFloat16 : PanelType::kFloat32,
          dtype_ == ScalarType::kBFloat16};
}

void PackedLinear::check(const std::vector<const Tensor*>& weights, const std::vector<const Tensor*>& biases) const {
  for (std::size_t part = 0; part < weights.size(); ++part) {
    const Tensor& weight = *weights[part];
    const bool has_type = dtype_ == ScalarType::kFloat32 || is_half_type(dtype_);
    if (!has_type || weight.ndim != 2 || weight.sizes()[1 - column_dim()] != in_features_ ||
        (weight.dtype != dtype_ && weight.dtype != packed_type_)) {
      fail("PackedLinear", "part ", part, " has weights of sizes ", format_dims(weight.ndim, weight.sizes()),
           " and type ", dtype_name(weight.dtype), "; expected ", in_features_, transposed_ ? " rows" : " columns",
           " of type ", has_type ? dtype_name(dtype_) : "float32, float16 or bfloat16");
    }
    const Tensor* bias = biases[part];
    if (bias != nullptr && (bias->numel() != weight.sizes()[column_dim()] || bias->dtype != dtype_)) {
      fail("PackedLinear", "part ", part, " has a bias of sizes ", format_dims(bias->ndim, bias->sizes()), " and type ",
           dtype_name(bias->dtype), "; expected [", weight.sizes()[column_dim()], "] of type ", dtype_name(dtype_));
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

void PackedLinear::pack_half(const std::vector<const Tensor*>& weights, float* packed) const {
  const std::int64_t depth = panels().depth;
  const std::int64_t panel_values = packed_values(depth, kPanelColumns);
  std::memset(packed, 0, static_cast<std::size_t>(packed_values(depth, out_features_)) * sizeof(float));
  std::int64_t first = 0;
  for (const Tensor* weight : weights) {
    const int dim = column_dim();
    const std::int64_t count = weight->sizes()[dim];
    const std::int64_t step = weight->strides()[1 - dim];
#pragma omp parallel for if (count * in_features_ > 1 << 16)
    for (std::int64_t i = 0; i < count; ++i) {
      float* const to = packed + (first + i) / kPanelColumns * panel_values + (first + i) % kPanelColumns;
      const std::int64_t from = i * weight->strides()[dim];
      if (packed_type_ == ScalarType::kBFloat16) {
        pack_column<BFloat16>(*weight, from, step, in_features_, to);
      } else {
        pack_column<Half>(*weight, from, step, in_features_, to);
      }
    }
    first += count;
  }
}

void PackedLinear::run(Workspace& workspace, Tensor& input, Tensor& output) const {
  const auto run_all = [&](const Rows& from, const Rows& to) {
    switch (dtype_) {
      case ScalarType::kBFloat16:
        return panel_kernels(PanelType::kBFloat16).of(PanelType::kBFloat16).has_tiles
                   ? run_tiles(workspace, from, to)
                   : run_half<BFloat16>(workspace, from, to);
      case ScalarType::kFloat16:
        return run_half<Half>(workspace, from, to);
      default:
        return run_rows(workspace, from, to);
    }
  };
  run_on_rows(input, output, in_features_, out_features_, "context_linear", run_all, dtype_);
}

void PackedLinear::run_rows(Workspace& workspace, const Rows& input, const Rows& output) const {
  if (packed_type_ == ScalarType::kBFloat16) return run_rounded(workspace, input, output);
  multiply_panels(workspace, input, panels(), activation_, alpha_, output);
}

void PackedLinear::run_tiles(Workspace& workspace, const Rows& input, const Rows& output) const {
  // Rows are read where they lie, if they are whole words for tiles and do not share few sets of the cache.
  const std::int64_t words = pieces(in_features_, 2 * kPanelRows) * kPanelRows;
  const bool is_evil = input.stride % kEvilValues == 0 && out_features_ >= 4 * kPanelColumns && input.count > 1;
  if (in_features_ == 2 * words && input.stride % 2 == 0 && !is_evil) {
    return multiply_panels(workspace, {input.data, input.stride / 2, input.count}, panels(), activation_, alpha_,
                           output);
  }
  const std::int64_t stride = row_stride(words);
  const ScratchBuffer buffer(workspace, static_cast<std::size_t>(input.count * stride) * sizeof(float));
  const Rows from{static_cast<float*>(buffer.data()), stride, input.count};
#pragma omp parallel for if (input.count * in_features_ > kHalfShare)
  for (std::int64_t row = 0; row < input.count; ++row) {
    copy_words(reinterpret_cast<BFloat16*>(input.data) + row * input.stride, in_features_, words,
               from.data + row * stride);
  }
  multiply_panels(workspace, from, panels(), activation_, alpha_, output);
}

template <typename T>
void PackedLinear::run_half(Workspace& workspace, const Rows& input, const Rows& output) const {
  const Panels panels = this->panels();
  const std::int64_t words = panel_kernels(panels.type).of(panels.type).words;
  const bool has_words = panels.type == PanelType::kBFloat16 && words == 1;
  const std::int64_t depth = words * panels.depth;
  const std::int64_t padded = pieces(depth, kPanelRows) * kPanelRows;
  std::int64_t stride = padded + kRowGap;
  if (stride % kEvilValues == 0) stride += kRowGap;
  const std::int64_t columns = pieces(out_features_, kRowGap) * kRowGap;
  const std::int64_t blocks = pieces(input.count, rows_at_a_time(stride + columns));
  const std::int64_t longest = blocks == 0 ? 0 : pieces(input.count, blocks);
  const ScratchBuffer buffer(workspace, static_cast<std::size_t>(longest * (stride + columns)) * sizeof(float));
  auto* const numbers = static_cast<float*>(buffer.data());
  const auto row_of = [](const Rows& rows, std::int64_t row) {
    return reinterpret_cast<T*>(rows.data) + row * rows.stride;
  };
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t first = input.count * block / blocks;
    const std::int64_t rows = input.count * (block + 1) / blocks - first;
    const Rows from{numbers, stride, rows};
    const Rows to{numbers + longest * stride, columns, rows};
#pragma omp parallel for if (rows * in_features_ > kHalfShare)
    for (std::int64_t row = 0; row < rows; ++row) {
      float* const at = from.data + row * stride;
      if (has_words) {
        copy_words(row_of(input, first + row), in_features_, padded, at);
      } else {
        widen(row_of(input, first + row), in_features_, at);
        if (in_features_ < depth) at[in_features_] = 0;
      }
    }
    multiply_panels(workspace, from, panels, activation_, alpha_, to);
#pragma omp parallel for if (rows * out_features_ > kHalfShare)
    for (std::int64_t row = 0; row < rows; ++row) {
      narrow(to.data + row * columns, out_features_, row_of(output, first + row));
    }
  }
}

std::int64_t PackedLinear::row_words() const { return pieces(panels().depth, kPanelRows) * kPanelRows; }

void PackedLinear::run_words(Workspace& workspace, const Rows& input, const Rows& output) const {
  multiply_panels(workspace, input, panels(), activation_, alpha_, output);
}

void PackedLinear::run_rounded(Workspace& workspace, const Rows& input, const Rows& output) const {
  const Panels panels = this->panels();
  const bool is_widened = panel_kernels(panels.type).of(panels.type).words == 2;
  // Weights that are widened take the input as it is.
  if (is_widened && in_features_ % 2 == 0 && (input.stride % kEvilValues != 0 || input.count == 1)) {
    return multiply_panels(workspace, input, panels, activation_, alpha_, output);
  }
  const std::int64_t words = pieces(is_widened ? in_features_ : panels.depth, kPanelRows) * kPanelRows;
  const std::int64_t stride = row_stride(words);
  const std::int64_t blocks = pieces(input.count, rows_at_a_time(stride));
  if (blocks == 0) return;
  const ScratchBuffer buffer(workspace, static_cast<std::size_t>(pieces(input.count, blocks) * stride) * sizeof(float));
  auto* const copied = static_cast<float*>(buffer.data());
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t first = input.count * block / blocks;
    const std::int64_t rows = input.count * (block + 1) / blocks - first;
#pragma omp parallel for if (rows * in_features_ > kHalfShare)
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* const from = input.data + (first + row) * input.stride;
      float* const to = copied + row * stride;
      if (is_widened) {
        std::copy(from, from + in_features_, to);
        std::fill(to + in_features_, to + words, 0.0F);
      } else {
        auto* const halves = reinterpret_cast<BFloat16*>(to);
        narrow(from, in_features_, halves);
        std::fill(halves + in_features_, halves + 2 * words, BFloat16{});
      }
    }
    run_words(workspace, {copied, stride, rows}, {output.data + first * output.stride, output.stride, rows});
  }
}

}  // namespace aotbuild::detail
