#include "kernels/linear.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/activation.hpp"
#include "kernels/matmul.hpp"
#include "kernels/onednn.hpp"
#include "kernels/packing.hpp"
#include "kernels/row_product.hpp"
#include "tensor/copy.hpp"

namespace aotbuild::detail {

namespace {

dnnl::matmul::primitive_desc describe(const dnnl::memory::desc& source, const dnnl::memory::desc& weights,
                                      const dnnl::memory::desc& destination, bool has_bias, bool accumulate,
                                      Activation activation, double alpha) {
  dnnl::primitive_attr attributes = user_scratchpad();
  dnnl::post_ops post_ops;
  if (accumulate) post_ops.append_sum(1.0f);
  append_activation(&post_ops, activation, alpha);
  attributes.set_post_ops(post_ops);
  const std::int64_t columns = destination.get_dims()[1];
  const dnnl::memory::desc bias =
      has_bias ? dnnl::memory::desc({1, columns}, destination.get_data_type(), dnnl::memory::dims{columns, 1})
               : dnnl::memory::desc();
  return {cpu_engine(), source, weights, bias, destination, attributes, /*allow_empty=*/true};
}

// The distance of rows when all dimensions but the last are one. False when they are not evenly spaced.
bool even_rows(const Tensor& tensor, std::int64_t* row_stride, std::int64_t* rows) {
  const std::int32_t last = tensor.ndim - 1;
  *rows = 1;
  *row_stride = tensor.sizes()[last];
  bool first = true;
  for (std::int32_t d = last - 1; d >= 0; --d) {
    const std::int64_t size = tensor.sizes()[d];
    if (size != 1) {
      if (first) {
        *row_stride = tensor.strides()[d];
        first = false;
      } else if (tensor.strides()[d] != *row_stride * *rows) {
        return false;
      }
    }
    *rows *= size;
  }
  return *row_stride >= tensor.sizes()[last] && (tensor.strides()[last] == 1 || tensor.sizes()[last] == 1);
}

dnnl::memory::desc embedded_layout(std::int64_t rows, std::int64_t columns) {
  return {{rows, columns}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::BA16a32b};
}

// What oneDNN 3 chooses for AVX-512. Its kernels take blocks of 32 columns as well, which need fewer zeros.
dnnl::memory::desc avx512_layout(std::int64_t rows, std::int64_t columns) {
  return {{rows, columns}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::BA16a64b};
}

// The weights [columns, rows] of a PackedMatrix, row-major.
TensorPtr unpack(const char* data, std::int64_t rows, std::int64_t columns) {
  const std::int64_t sizes[] = {columns, rows};
  TensorPtr weights = make_tensor(ScalarType::kFloat32, 2, sizes, nullptr);
  const auto* from = reinterpret_cast<const float*>(data);
  auto* to = weights->data_as<float>();
  const std::int64_t row_blocks = (rows + kPanelRows - 1) / kPanelRows;
  for (std::int64_t column = 0; column < columns; ++column) {
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t block = column / kPanelColumns * row_blocks + row / kPanelRows;
      const std::int64_t place = row % kPanelRows * kPanelColumns + column % kPanelColumns;
      to[column * rows + row] = from[block * kPanelRows * kPanelColumns + place];
    }
  }
  return weights;
}

}  // namespace

const char* PackedMatrices::take(std::int64_t rows, std::int64_t columns) {
  const PackedMatrix* matrix = next_ < spec_.packed_count ? &spec_.packed[next_] : nullptr;
  if (matrix == nullptr || matrix->rows != rows || matrix->columns != columns) {
    fail("PackedMatrices", "packed matrix ", next_, " of ", spec_.packed_count, " is not [", rows, ", ", columns, "]");
  }
  ++next_;
  return reinterpret_cast<const char*>(spec_.embedded_weights) + matrix->offset;
}

PackedLinear::PackedLinear(const LinearSpec& spec, const std::vector<const Tensor*>& weights,
                           const std::vector<const Tensor*>& biases, bool accumulate, Arena& arena,
                           PackedMatrices* embedded)
    : dtype_(weights.at(0)->dtype),
      accumulate_(accumulate),
      activation_(spec.activation),
      alpha_(spec.alpha),
      in_features_(weights[0]->ndim == 2 ? weights[0]->sizes()[1] : 0) {
  bool has_bias = false;
  for (std::size_t part = 0; part < weights.size(); ++part) {
    const Tensor& weight = *weights[part];
    if (weight.ndim != 2 || weight.sizes()[1] != in_features_ || weight.dtype != dtype_) {
      fail("PackedLinear", "part ", part, " has weights of sizes ", format_dims(weight.ndim, weight.sizes()),
           " and type ", dtype_name(weight.dtype), "; expected [N, ", in_features_, "] of type ", dtype_name(dtype_));
    }
    const Tensor* bias = biases[part];
    if (bias != nullptr && (bias->numel() != weight.sizes()[0] || bias->dtype != dtype_)) {
      fail("PackedLinear", "part ", part, " has a bias of sizes ", format_dims(bias->ndim, bias->sizes()), " and type ",
           dtype_name(bias->dtype), "; expected [", weight.sizes()[0], "] of type ", dtype_name(dtype_));
    }
    has_bias = has_bias || bias != nullptr;
    out_features_ += weight.sizes()[0];
  }
  const std::size_t width = element_size(dtype_);
  if (has_bias) {
    const std::size_t nbytes = static_cast<std::size_t>(out_features_) * width;
    bias_.reset(static_cast<char*>(allocate_aligned(std::max<std::size_t>(nbytes, 1))));
    std::memset(bias_.get(), 0, nbytes);
    char* at = bias_.get();
    for (std::size_t part = 0; part < weights.size(); ++part) {
      const std::size_t part_nbytes = static_cast<std::size_t>(weights[part]->sizes()[0]) * width;
      if (biases[part] != nullptr) std::memcpy(at, biases[part]->data(), part_nbytes);
      at += part_nbytes;
    }
  }
  const bool has_layout = choose_layout(spec);
  std::vector<const Tensor*> parts = weights;
  if (embedded != nullptr) {
    const char* data = embedded->take(in_features_, out_features_);
    if (has_layout && layout_ == embedded_layout(in_features_, out_features_)) {
      packed_ = const_cast<char*>(data);
      has_run_row_ = has_row_product();
      return;
    }
    unpacked_ = unpack(data, in_features_, out_features_);
    parts = {unpacked_.get()};
  }
  if (has_layout) {
    pack(parts, arena);
    unpacked_ = nullptr;
    has_run_row_ = has_row_product() && layout_ == embedded_layout(in_features_, out_features_);
    return;
  }
  for (const Tensor* part : parts) {
    parts_.push_back({part->data(), part->sizes()[0], part->strides()[0], part->strides()[1]});
  }
}

// Asks oneDNN for the layout of the weights. False: it has no implementation.
bool PackedLinear::choose_layout(const LinearSpec& spec) {
  dnnl::memory::data_type type;
  if (!onednn_dtype(dtype_, &type) || in_features_ == 0 || out_features_ == 0) return false;
  const std::int64_t rows = std::max<std::int64_t>(spec.m_hint, 1);
  // The layers of a transformer's blocks are alike: oneDNN is asked once for all of them.
  PrimitiveKey key(kLinearLayoutKey);
  add_to(&key);
  key.add(rows);
  if (const auto known = PrimitiveCache::instance().find(key)) {
    if (known->arguments.empty()) return false;
    layout_ = known->arguments[0].second;
    layout_id_ = layout_id(layout_);
    return true;
  }
  auto answer = std::make_shared<Primitive>();
  const dnnl::memory::desc source({rows, in_features_}, type, dnnl::memory::dims{in_features_, 1});
  const dnnl::memory::desc destination({rows, out_features_}, type, dnnl::memory::dims{out_features_, 1});
  const dnnl::memory::desc any({in_features_, out_features_}, type, dnnl::memory::format_tag::any);
  const auto ask = [&](const dnnl::memory::desc& weights) {
    return describe(source, weights, destination, bias_ != nullptr, accumulate_, activation_, alpha_);
  };
  const auto description = ask(any);
  if (description) {
    layout_ = description.weights_desc();
    const bool is_avx512 = layout_ == avx512_layout(in_features_, out_features_);
    const dnnl::memory::desc embedded = embedded_layout(in_features_, out_features_);
    if (is_avx512 && ask(embedded)) layout_ = embedded;
    layout_id_ = layout_id(layout_);
    answer->arguments = {{DNNL_ARG_WEIGHTS, layout_}};
  }
  PrimitiveCache::instance().insert(key, answer);
  return static_cast<bool>(description);
}

// All that the primitives of the layer depend on, beside its rows and the layouts of its matrices.
void PackedLinear::add_to(PrimitiveKey* key) const {
  key->add(static_cast<std::int64_t>(dtype_));
  key->add(static_cast<std::int64_t>(activation_));
  key->add(alpha_);
  key->add(std::int64_t{bias_ != nullptr});
  key->add(std::int64_t{accumulate_});
  key->add(in_features_);
  key->add(out_features_);
}

void PackedLinear::pack(const std::vector<const Tensor*>& weights, Arena& arena) {
  const dnnl::memory::data_type type = layout_.get_data_type();
  char* packed = arena.allocate(layout_.get_size());
  const std::size_t dense_size =
      static_cast<std::size_t>(in_features_) * static_cast<std::size_t>(out_features_) * element_size(dtype_);
  if (weights.size() > 1 && layout_.get_size() != dense_size) {
    std::memset(packed, 0, layout_.get_size());  // padding between parts
  }

  // [N_i, K] row-major is [K, N_i] column-major.
  const auto part_layout = [&](const Tensor& weight) {
    return dnnl::memory::desc({in_features_, weight.sizes()[0]}, type,
                              dnnl::memory::dims{weight.strides()[1], weight.strides()[0]});
  };
  dnnl::stream stream(cpu_engine());
  const auto reorder = [&](const dnnl::memory::desc& from, void* data, const dnnl::memory::desc& to) {
    dnnl::memory from_memory(from, cpu_engine(), data);
    dnnl::memory to_memory(to, cpu_engine(), packed);
    dnnl::reorder(from_memory, to_memory).execute(stream, from_memory, to_memory);
    stream.wait();
  };
  // Parts go straight to their columns of the packed matrix where its blocks allow that.
  std::vector<dnnl::memory::desc> columns_of_part;
  std::int64_t first_column = 0;
  for (const Tensor* weight : weights) {
    const std::int64_t columns = weight->sizes()[0];
    const dnnl::memory::desc submemory = layout_.submemory_desc({in_features_, columns}, {0, first_column}, true);
    if (!submemory) break;
    columns_of_part.push_back(submemory);
    first_column += columns;
  }
  if (columns_of_part.size() == weights.size()) {
    for (std::size_t part = 0; part < weights.size(); ++part) {
      reorder(part_layout(*weights[part]), weights[part]->data(), columns_of_part[part]);
    }
  } else {
    const std::size_t row_nbytes = static_cast<std::size_t>(in_features_) * element_size(dtype_);
    const AlignedBuffer joined(
        static_cast<char*>(allocate_aligned(row_nbytes * static_cast<std::size_t>(out_features_))));
    char* at = joined.get();
    for (const Tensor* weight : weights) {
      const std::int64_t stride = weight->strides()[0] * static_cast<std::int64_t>(element_size(dtype_));
      for (std::int64_t row = 0; row < weight->sizes()[0]; ++row, at += row_nbytes) {
        std::memcpy(at, static_cast<const char*>(weight->data()) + row * stride, row_nbytes);
      }
    }
    const dnnl::memory::desc dense({in_features_, out_features_}, type, dnnl::memory::dims{1, in_features_});
    reorder(dense, joined.get(), layout_);
  }
  packed_ = packed;
}

void PackedLinear::run(Workspace& workspace, Tensor& input, Tensor& output) const {
  const char* const function = "context_linear";
  if (input.ndim < 1 || output.ndim < 1 || input.dtype != dtype_ || output.dtype != dtype_ ||
      input.sizes()[input.ndim - 1] != in_features_ || output.sizes()[output.ndim - 1] != out_features_) {
    fail(function, "expected [..., ", in_features_, "] to [..., ", out_features_, "] of type ", dtype_name(dtype_),
         ", got ", format_dims(input.ndim, input.sizes()), " to ", format_dims(output.ndim, output.sizes()));
  }
  std::int64_t input_stride = 0;
  std::int64_t output_stride = 0;
  std::int64_t rows = 0;
  std::int64_t output_rows = 0;
  if (!even_rows(output, &output_stride, &output_rows)) {
    const TensorPtr even = make_tensor(dtype_, output.ndim, output.sizes(), nullptr);
    run(workspace, input, *even);
    return copy(output, *even, function);
  }
  if (!even_rows(input, &input_stride, &rows)) return run(workspace, *clone_contiguous(input, function), output);
  if (rows != output_rows) {
    fail(function, "input has ", rows, " rows and output ", output_rows);
  }
  if (rows == 0 || out_features_ == 0) return;
  run_rows(workspace, input.data(), input_stride, output.data(), output_stride, rows);
}

void PackedLinear::run_rows(Workspace& workspace, void* input, std::int64_t input_stride, void* output,
                            std::int64_t output_stride, std::int64_t rows) const {
  if (!is_packed()) {
    const auto width = static_cast<std::int64_t>(element_size(dtype_));
    std::int64_t column = 0;
    for (const Part& part : parts_) {
      const Matrices out{static_cast<char*>(output) + column * width, {1, rows, part.columns}, {0, output_stride, 1}};
      const Matrices a{input, {1, rows, in_features_}, {0, input_stride, 1}};
      const Matrices b{part.data, {1, in_features_, part.columns}, {0, part.row_stride, part.column_stride}};
      plain_matmul(out, a, b, bias_ != nullptr ? bias_.get() + column * width : nullptr, accumulate_, dtype_,
                   activation_, alpha_, "context_linear");
      column += part.columns;
    }
    return;
  }
  PrimitiveKey key(kLinearKey);
  add_to(&key);
  key.add(layout_id_);
  key.add(rows);
  key.add(input_stride);
  key.add(output_stride);
  BoundPrimitive& primitive = BoundPrimitives::of(workspace).get(key, [&] {
    const dnnl::memory::data_type type = layout_.get_data_type();
    const dnnl::memory::desc source({rows, in_features_}, type, dnnl::memory::dims{input_stride, 1});
    const dnnl::memory::desc destination({rows, out_features_}, type, dnnl::memory::dims{output_stride, 1});
    auto description = describe(source, layout_, destination, bias_ != nullptr, accumulate_, activation_, alpha_);
    auto made = std::make_shared<Primitive>();
    dnnl::memory::desc wanted = layout_;
    if (!description) {
      // oneDNN does not take this layout for this number of rows: it is repacked on each call.
      const dnnl::memory::desc any({in_features_, out_features_}, type, dnnl::memory::format_tag::any);
      description = describe(source, any, destination, bias_ != nullptr, accumulate_, activation_, alpha_);
      if (!description) return made;
      wanted = description.weights_desc();
    }
    made->primitive = dnnl::matmul(description);
    made->arguments = {{DNNL_ARG_WEIGHTS, wanted}, {DNNL_ARG_SRC, source}};
    if (bias_ != nullptr) {
      made->arguments.emplace_back(DNNL_ARG_BIAS,
                                   dnnl::memory::desc({1, out_features_}, type, dnnl::memory::dims{out_features_, 1}));
    }
    made->arguments.emplace_back(DNNL_ARG_DST, destination);
    made->scratchpad = description.scratchpad_desc();
    made->reorder_first = make_reorder(layout_, wanted);
    return made;
  });
  if (!primitive.is_supported()) {
    fail("context_linear", "oneDNN has no implementation for ", rows, " rows of ", in_features_, " features");
  }
  void* const with_bias[] = {packed_, input, bias_.get(), output};
  void* const without_bias[] = {packed_, input, output};
  primitive.execute(workspace, bias_ != nullptr ? with_bias : without_bias);
  finish_activation(output, dtype_, rows, out_features_, output_stride, activation_, alpha_);
}

void PackedLinear::run_row(const float* input, float* output) const {
  const auto* bias = reinterpret_cast<const float*>(bias_.get());
  row_product(input, reinterpret_cast<const float*>(packed_), in_features_, out_features_, bias, accumulate_, output);
  activate(output, out_features_, activation_, alpha_);
}

TensorPtr slice(const Tensor& tensor, int dim, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> sizes(tensor.sizes(), tensor.sizes() + tensor.ndim);
  sizes.at(static_cast<std::size_t>(dim)) = count;
  const auto width = static_cast<std::int64_t>(tensor.element_size());
  // Null: the values are a PackedMatrix.
  char* data = static_cast<char*>(tensor.data());
  if (data != nullptr) data += first * tensor.strides()[dim] * width;
  const std::size_t extent = extent_bytes(tensor.dtype, tensor.ndim, sizes.data(), tensor.strides());
  return make_borrowed(data, extent, tensor.dtype, tensor.ndim, sizes.data(), tensor.strides());
}

BlockedLinear::BlockedLinear(const LinearSpec& spec, const std::vector<const Tensor*>& weights,
                             const std::vector<const Tensor*>& biases, Arena& arena, PackedMatrices* embedded) {
  const Tensor& first_weight = *weights.at(0);
  const std::int64_t features = first_weight.ndim == 2 ? first_weight.sizes()[1] : 0;
  if (features < kMinHalvedFeatures || first_weight.dtype != ScalarType::kFloat32) {
    features_ = {features};
    blocks_.emplace_back(spec, weights, biases, /*accumulate=*/false, arena, embedded);
    return;
  }
  const std::int64_t half = features / 2 / kHalfMultiple * kHalfMultiple;
  features_ = {half, features - half};
  std::int64_t first = 0;
  for (std::size_t block = 0; block < features_.size(); ++block) {
    std::vector<TensorPtr> slices;
    std::vector<const Tensor*> operands;
    for (const Tensor* weight : weights) {
      if (weight->ndim != 2 || weight->sizes()[1] != features) {
        fail("BlockedLinear", "a part has weights of sizes ", format_dims(weight->ndim, weight->sizes()),
             "; expected [N, ", features, "]");
      }
      slices.push_back(slice(*weight, 1, first, features_[block]));
      operands.push_back(slices.back().get());
    }
    const bool is_last = block + 1 == features_.size();
    LinearSpec part = spec;
    if (!is_last) part.activation = Activation::kNone;
    const std::vector<const Tensor*> none(weights.size(), nullptr);
    blocks_.emplace_back(part, operands, block == 0 ? biases : none, /*accumulate=*/block != 0, arena, embedded);
    first += features_[block];
  }
}

bool BlockedLinear::is_packed() const {
  return std::all_of(blocks_.begin(), blocks_.end(), [](const PackedLinear& block) { return block.is_packed(); });
}

std::vector<TensorPtr> BlockedLinear::split(Tensor& input) const {
  std::vector<TensorPtr> parts;
  if (blocks_.size() == 1) return parts;
  const std::int64_t features = std::accumulate(features_.begin(), features_.end(), std::int64_t{0});
  if (input.ndim < 1 || input.sizes()[input.ndim - 1] != features || input.dtype != ScalarType::kFloat32) {
    fail("context_linear", "expected an input [..., ", features, "] of type float32, got ",
         format_dims(input.ndim, input.sizes()), " of type ", dtype_name(input.dtype));
  }
  std::int64_t stride = 0;
  std::int64_t rows = 0;
  if (!even_rows(input, &stride, &rows)) return split(*clone_contiguous(input, "context_linear"));
  std::vector<std::int64_t> sizes(input.sizes(), input.sizes() + input.ndim);
  const float* from = input.data_as<float>();
  for (const std::int64_t count : features_) {
    sizes.back() = count;
    parts.push_back(make_tensor(input.dtype, input.ndim, sizes.data(), nullptr));
    float* to = parts.back()->data_as<float>();
    const std::size_t nbytes = static_cast<std::size_t>(count) * sizeof(float);
#pragma omp parallel for if (rows * count > 1 << 16)
    for (std::int64_t row = 0; row < rows; ++row) std::memcpy(to + row * count, from + row * stride, nbytes);
    from += count;
  }
  return parts;
}

// False where the call is not one row of contiguous numbers that all blocks have a kernel for.
bool BlockedLinear::run_row(const Tensor& input, Tensor& output) const {
  const std::int64_t features = std::accumulate(features_.begin(), features_.end(), std::int64_t{0});
  if (input.numel() != features || input.ndim < 1 || input.sizes()[input.ndim - 1] != features ||
      input.dtype != ScalarType::kFloat32 || output.dtype != ScalarType::kFloat32 || !is_contiguous(input) ||
      !is_contiguous(output) || output.numel() != blocks_[0].out_features()) {
    return false;
  }
  for (const PackedLinear& block : blocks_) {
    if (!block.has_run_row()) return false;
  }
  const float* from = input.data_as<float>();
  for (std::size_t block = 0; block < blocks_.size(); ++block) {
    blocks_[block].run_row(from, output.data_as<float>());
    from += features_[block];
  }
  return true;
}

void BlockedLinear::run(Workspace& workspace, Tensor& input, Tensor& output) const {
  if (run_row(input, output)) return;
  run_split(workspace, input, split(input), output);
}

void BlockedLinear::run_split(Workspace& workspace, Tensor& input, const std::vector<TensorPtr>& parts,
                              Tensor& output) const {
  if (parts.empty()) return blocks_[0].run(workspace, input, output);
  for (std::size_t block = 0; block < blocks_.size(); ++block) blocks_[block].run(workspace, *parts[block], output);
}

}  // namespace aotbuild::detail
