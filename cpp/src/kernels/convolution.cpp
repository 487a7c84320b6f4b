#include "kernels/convolution.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/activation.hpp"
#include "kernels/onednn.hpp"
#include "kernels/plain_convolution.hpp"
#include "tensor/copy.hpp"

namespace aotbuild::detail {

namespace {

using Dims = dnnl::memory::dims;

Dims sizes_of(const Tensor& tensor) { return {tensor.sizes(), tensor.sizes() + tensor.ndim}; }
Dims strides_of(const Tensor& tensor) { return {tensor.strides(), tensor.strides() + tensor.ndim}; }

// The weights as oneDNN numbers their dimensions: [O, I, k...], or [G, O/G, I/G, k...].
dnnl::memory::desc weight_layout(const ConvolutionShape& shape, const Tensor& weight, dnnl::memory::data_type type) {
  Dims sizes = sizes_of(weight);
  Dims strides = strides_of(weight);
  if (shape.groups > 1) {
    sizes[0] /= shape.groups;
    sizes.insert(sizes.begin(), shape.groups);
    strides.insert(strides.begin(), sizes[1] * strides[0]);
  }
  if (shape.transposed) {  // torch has [I, O/G, k...]
    const std::size_t first = shape.groups > 1 ? 1 : 0;
    std::swap(sizes[first], sizes[first + 1]);
    std::swap(strides[first], strides[first + 1]);
  }
  return {sizes, type, strides};
}

dnnl::memory::desc with_any_format(const dnnl::memory::desc& layout) {
  return {layout.get_dims(), layout.get_data_type(), dnnl::memory::format_tag::any};
}

// A description of either of oneDNN's two kinds, as far as they are alike.
struct Description {
  bool exists = false;
  dnnl::primitive primitive;
  dnnl::memory::desc source;
  dnnl::memory::desc weights;
  dnnl::memory::desc destination;
  dnnl::memory::desc scratchpad;
};

template <typename Primitive>
Description examine(const typename Primitive::primitive_desc& description, bool create) {
  Description result;
  result.exists = static_cast<bool>(description);
  if (!result.exists) return result;
  if (create) result.primitive = Primitive(description);
  result.source = description.src_desc();
  result.weights = description.weights_desc();
  result.destination = description.dst_desc();
  result.scratchpad = description.scratchpad_desc();
  return result;
}

Description describe(const ConvolutionShape& shape, const dnnl::memory::desc& source, const dnnl::memory::desc& weights,
                     bool has_bias, const dnnl::memory::desc& destination, bool create) {
  dnnl::primitive_attr attributes = user_scratchpad();
  dnnl::post_ops post_ops;
  append_activation(&post_ops, shape.activation, shape.alpha);
  attributes.set_post_ops(post_ops);
  const Dims source_sizes = source.get_dims();
  const Dims weight_sizes = weights.get_dims();
  const Dims destination_sizes = destination.get_dims();
  Dims stride;
  Dims dilation;
  Dims padding_left;
  Dims padding_right;
  for (int d = 0; d < shape.spatial_rank; ++d) {
    const auto i = static_cast<std::size_t>(d);
    const std::int64_t kernel = weight_sizes[weight_sizes.size() - static_cast<std::size_t>(shape.spatial_rank) + i];
    const std::int64_t reach = shape.dilation[i] * (kernel - 1) + 1;
    const std::int64_t large = shape.transposed ? destination_sizes[i + 2] : source_sizes[i + 2];
    const std::int64_t small = shape.transposed ? source_sizes[i + 2] : destination_sizes[i + 2];
    stride.push_back(shape.stride[i]);
    dilation.push_back(shape.dilation[i] - 1);
    padding_left.push_back(shape.padding[i]);
    padding_right.push_back((small - 1) * shape.stride[i] + reach - large - shape.padding[i]);
  }
  const dnnl::memory::desc bias = has_bias
                                      ? dnnl::memory::desc({destination_sizes[1]}, destination.get_data_type(), Dims{1})
                                      : dnnl::memory::desc();
  constexpr auto kind = dnnl::prop_kind::forward_inference;
  if (shape.transposed) {
    return examine<dnnl::deconvolution_forward>(
        {cpu_engine(), kind, dnnl::algorithm::deconvolution_direct, source, weights, bias, destination, stride,
         dilation, padding_left, padding_right, attributes, /*allow_empty=*/true},
        create);
  }
  return examine<dnnl::convolution_forward>(
      {cpu_engine(), kind, dnnl::algorithm::convolution_direct, source, weights, bias, destination, stride, dilation,
       padding_left, padding_right, attributes, /*allow_empty=*/true},
      create);
}

void add_to_key(PrimitiveKey* key, const ConvolutionShape& shape, const Tensor& input, const Tensor& output,
                bool has_bias) {
  key->add(static_cast<std::int64_t>(input.dtype));
  key->add(std::int64_t{shape.spatial_rank});
  key->add(std::int64_t{shape.transposed});
  key->add(std::int64_t{has_bias});
  key->add(shape.groups);
  key->add(static_cast<std::int64_t>(shape.activation));
  key->add(shape.alpha);
  for (const auto* values : {&shape.stride, &shape.padding, &shape.dilation}) {
    key->add(values->data(), shape.spatial_rank);
  }
  for (const Tensor* tensor : {&input, &output}) {
    key->add(tensor->sizes(), tensor->ndim);
    key->add(tensor->strides(), tensor->ndim);
  }
}

// weight * scale and (bias - mean) * scale + norm.bias with scale = norm.weight / sqrt(variance + epsilon), for each
// channel of the output (Ioffe and Szegedy, Batch Normalization, 2015).
void fold(const BatchNorm& norm, const ConvolutionShape& shape, const Tensor& weight, const Tensor* bias,
          TensorPtr* folded_weight, TensorPtr* folded_bias) {
  const std::int64_t channels = shape.transposed ? weight.sizes()[1] * shape.groups : weight.sizes()[0];
  for (const Tensor* tensor : {norm.mean, norm.variance, norm.weight, norm.bias}) {
    const bool has_type = tensor == nullptr || tensor->dtype == ScalarType::kFloat32 || is_half_type(tensor->dtype);
    if (!has_type || (tensor != nullptr && tensor->numel() != channels)) {
      fail("PackedConvolution", "expected statistics of ", channels, " channels of type float32 or of 16 bits");
    }
  }
  if (weight.dtype != ScalarType::kFloat32) fail("PackedConvolution", "a normalisation is folded in float32 only");
  const auto value = [](const Tensor* tensor, std::int64_t channel, double otherwise) {
    if (tensor == nullptr) return otherwise;
    const std::int64_t at = channel * tensor->strides()[0];
    if (tensor->dtype == ScalarType::kBFloat16) return double{convert<float>(tensor->data_as<BFloat16>()[at])};
    if (tensor->dtype == ScalarType::kFloat16) return double{convert<float>(tensor->data_as<Half>()[at])};
    return double{tensor->data_as<float>()[at]};
  };
  std::vector<double> scales(static_cast<std::size_t>(channels));
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    scales[static_cast<std::size_t>(channel)] =
        value(norm.weight, channel, 1.0) / std::sqrt(value(norm.variance, channel, 0.0) + norm.epsilon);
  }
  const auto scale = [&](std::int64_t channel) { return scales[static_cast<std::size_t>(channel)]; };
  *folded_bias = make_tensor(weight.dtype, 1, &channels, nullptr);
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    const double shifted = value(bias, channel, 0.0) - value(norm.mean, channel, 0.0);
    (*folded_bias)->data_as<float>()[channel] =
        static_cast<float>(shifted * scale(channel) + value(norm.bias, channel, 0.0));
  }
  *folded_weight = clone_contiguous(weight, "PackedConvolution");
  auto* data = (*folded_weight)->data_as<float>();
  const std::int64_t rows = weight.sizes()[0];
  const std::int64_t columns = weight.sizes()[1];
  const std::int64_t inner = weight.numel() / std::max<std::int64_t>(rows * columns, 1);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t group = row / std::max<std::int64_t>(rows / shape.groups, 1);
      const double by = scale(shape.transposed ? group * columns + column : row);
      for (std::int64_t i = 0; i < inner; ++i, ++data) *data = static_cast<float>(*data * by);
    }
  }
}

TensorPtr converted(const Tensor& tensor, ScalarType dtype, const char* function) {
  TensorPtr result = make_tensor(dtype, tensor.ndim, tensor.sizes(), nullptr);
  copy(*result, tensor, function);
  return result;
}

TensorPtr widened(const Tensor& tensor, const char* function) {
  return converted(tensor, ScalarType::kFloat32, function);
}

// A weight in float32 whose values are of the type that the layer computes with; null for its own.
TensorPtr rounded_weight(const Tensor& weight, Precision precision) {
  if (precision == Precision::kOwn) return nullptr;
  const ScalarType type = precision == Precision::kBFloat16 ? ScalarType::kBFloat16 : ScalarType::kFloat16;
  if (weight.dtype == type) return widened(weight, "PackedConvolution");
  return widened(*converted(weight, type, "PackedConvolution"), "PackedConvolution");
}

// Calls `run(input, output)` with tensors of float32, channels innermost, for those of a 16-bit type.
template <typename Run>
void run_widened(const Tensor& input, const Tensor& output, const char* function, Run&& run) {
  const auto beside = [&](const Tensor& tensor) {
    const Dims strides = channels_last_strides(sizes_of(tensor));
    return make_tensor(ScalarType::kFloat32, tensor.ndim, tensor.sizes(), strides.data());
  };
  const TensorPtr from = beside(input);
  const TensorPtr to = beside(output);
  copy(*from, input, function);
  run(*from, *to);
  copy(const_cast<Tensor&>(output), *to, function);
}

// The activation, where the primitive has none.
void finish(const ConvolutionShape& shape, const Tensor& output, const char* function) {
  if (shape.activation == Activation::kNone || is_post_op(shape.activation, shape.alpha)) return;
  const TensorPtr dense = is_dense(output) ? nullptr : clone_contiguous(output, function);
  const Tensor& values = dense != nullptr ? *dense : output;
  const std::int64_t count = values.numel();
  finish_activation(values.data(), values.dtype, 1, count, count, shape.activation, shape.alpha);
  if (dense != nullptr) copy(const_cast<Tensor&>(output), *dense, function);
}

void check(const ConvolutionShape& shape, const Tensor& input, const Tensor& weight, ScalarType weight_type,
           const Tensor& output, const char* function) {
  const auto rank = shape.spatial_rank + 2;
  if (input.ndim != rank || weight.ndim != rank || output.ndim != rank) {
    fail(function, "expected tensors of ", rank, " dimensions, got input ", format_dims(input.ndim, input.sizes()),
         ", weight ", format_dims(weight.ndim, weight.sizes()), ", output ", format_dims(output.ndim, output.sizes()));
  }
  const std::int64_t weight_inputs = shape.transposed ? weight.sizes()[0] : weight.sizes()[1] * shape.groups;
  const std::vector<std::int64_t> expected = shape.output_sizes(input.sizes(), weight.sizes());
  if (input.sizes()[1] != weight_inputs || !std::equal(expected.begin(), expected.end(), output.sizes())) {
    fail(function, "sizes do not fit: input ", format_dims(input.ndim, input.sizes()), ", weight ",
         format_dims(weight.ndim, weight.sizes()), ", output ", format_dims(output.ndim, output.sizes()), ", expected ",
         format_dims(rank, expected.data()));
  }
  if (input.dtype != weight_type || input.dtype != output.dtype) {
    fail(function, "element types differ: input ", dtype_name(input.dtype), ", weight ", dtype_name(weight_type),
         ", output ", dtype_name(output.dtype));
  }
}

}  // namespace

Dims channels_last_strides(const Dims& sizes) {
  Dims strides(sizes.size());
  strides[1] = 1;
  std::int64_t stride = sizes[1];
  for (std::size_t d = sizes.size() - 1; d >= 2; --d) {
    strides[d] = stride;
    stride *= sizes[d];
  }
  strides[0] = stride;
  return strides;
}

std::vector<std::int64_t> ConvolutionShape::output_sizes(const std::int64_t* input, const std::int64_t* weight) const {
  std::vector<std::int64_t> sizes{input[0], transposed ? weight[1] * groups : weight[0]};
  for (int d = 0; d < spatial_rank; ++d) {
    const auto i = static_cast<std::size_t>(d);
    const std::int64_t reach = dilation[i] * (weight[d + 2] - 1) + 1;
    sizes.push_back(transposed ? (input[d + 2] - 1) * stride[i] - 2 * padding[i] + reach + output_padding[i]
                               : (input[d + 2] + 2 * padding[i] - reach) / stride[i] + 1);
  }
  return sizes;
}

PackedConvolution::PackedConvolution(const ConvolutionSpec& spec, const Tensor& original_weight,
                                     const Tensor* original_bias, const BatchNorm& norm, Arena& arena)
    : shape_{spec.spatial_rank,
             spec.transposed,
             spec.groups,
             {spec.stride[0], spec.stride[1], spec.stride[2]},
             {spec.padding[0], spec.padding[1], spec.padding[2]},
             {spec.dilation[0], spec.dilation[1], spec.dilation[2]},
             {spec.output_padding[0], spec.output_padding[1], spec.output_padding[2]},
             spec.activation,
             spec.alpha},
      channels_last_(spec.channels_last),
      rounded_weight_(rounded_weight(original_weight, spec.precision)),
      weight_(rounded_weight_ != nullptr ? rounded_weight_.get() : &original_weight),
      bias_(original_bias) {
  dtype_ = weight_->dtype;
  const Tensor& own_weight = *weight_;
  // In float32, whatever the type.
  const bool is_half = is_half_type(dtype_);
  TensorPtr wide_weight = is_half ? widened(own_weight, "PackedConvolution") : nullptr;
  TensorPtr wide_bias = is_half && bias_ != nullptr ? widened(*bias_, "PackedConvolution") : nullptr;
  if (norm.mean != nullptr) {
    fold(norm, shape_, is_half ? *wide_weight : own_weight, is_half ? wide_bias.get() : bias_, &folded_weight_,
         &folded_bias_);
    if (is_half) {
      wide_weight = std::exchange(folded_weight_, converted(*folded_weight_, dtype_, "PackedConvolution"));
      wide_bias = std::exchange(folded_bias_, converted(*folded_bias_, dtype_, "PackedConvolution"));
    }
    weight_ = folded_weight_.get();
    bias_ = folded_bias_.get();
  }
  const Tensor& weight = is_half ? *wide_weight : *weight_;
  const Tensor* bias = is_half ? wide_bias.get() : bias_;
  // oneDNN is slower for both of these, where it is there: benchmarks/layers.py.
  const bool is_winograd = !(is_half && kHasOneDnn) && WinogradConvolution::suits(shape_, weight, spec.input_hint);
  const bool is_small_group =
      !is_half && PanelConvolution::takes(weight) && PanelConvolution::small_group(shape_, weight) > 0;
  if (spec.precision == Precision::kBFloat16 && RoundedConvolution::suits(shape_, weight, is_winograd)) {
    rounded_.emplace(shape_, weight, bias, arena);
  } else if (is_winograd) {
    winograd_.emplace(shape_, weight, bias, arena);
  } else if (is_small_group || !pack(spec.input_hint, *weight_, bias_ != nullptr, arena)) {
    if (PanelConvolution::takes(weight)) panels_.emplace(shape_, weight, bias, arena);
  }
  if (!is_packed()) return;
  // From here on the weight's sizes alone are read.
  weight_ = &original_weight;
  folded_weight_.reset();
  rounded_weight_.reset();
}

bool PackedConvolution::pack(const std::int64_t* input_hint, const Tensor& weight, bool has_bias, Arena& arena) {
  dnnl::memory::data_type type;
  if (!onednn_dtype(weight.dtype, &type) || weight.numel() == 0) return false;
  const Dims source_sizes(input_hint, input_hint + shape_.spatial_rank + 2);
  const Dims destination_sizes = shape_.output_sizes(input_hint, weight.sizes());
  const auto layout = [&](const Dims& sizes) {
    return channels_last_ ? dnnl::memory::desc(sizes, type, channels_last_strides(sizes))
                          : dnnl::memory::desc(sizes, type, dnnl::memory::format_tag::any);
  };
  const dnnl::memory::desc plain = weight_layout(shape_, weight, type);
  const Description description = describe(shape_, layout(source_sizes), with_any_format(plain), has_bias,
                                           layout(destination_sizes), /*create=*/false);
  if (!description.exists) return false;
  layout_ = description.weights;
  layout_id_ = layout_id(layout_);
  char* packed = arena.allocate(layout_.get_size());
  dnnl::memory from(plain, cpu_engine(), weight.data());
  dnnl::memory to(layout_, cpu_engine(), packed);
  dnnl::stream stream(cpu_engine());
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  packed_ = packed;
  return true;
}

void PackedConvolution::run(Workspace& workspace, const Tensor& input, const Tensor& output) const {
  const char* const function = "context_convolution";
  check(shape_, input, *weight_, dtype_, output, function);
  if (output.numel() == 0) return;
  if (rounded_) return rounded_->run(workspace, input, output);
  if (panels_ || winograd_) {
    const auto run_own = [&](const Tensor& from, const Tensor& to) {
      return winograd_ ? winograd_->run(workspace, from, to) : panels_->run(workspace, from, to);
    };
    return is_half_type(input.dtype) ? run_widened(input, output, function, run_own) : run_own(input, output);
  }
  if (!is_packed() || input.numel() == 0) {
    return convolve(workspace, shape_, input, *weight_, bias_, output, function);
  }
  PrimitiveKey key(kConvolutionKey);
  add_to_key(&key, shape_, input, output, bias_ != nullptr);
  key.add(layout_id_);
  key.add(std::int64_t{channels_last_});
  BoundPrimitive& primitive = BoundPrimitives::of(workspace).get(key, [&] {
    const dnnl::memory::data_type type = layout_.get_data_type();
    const dnnl::memory::desc source(sizes_of(input), type, strides_of(input));
    const dnnl::memory::desc destination(sizes_of(output), type, strides_of(output));
    const auto wanted = [&](const dnnl::memory::desc& given) {
      if (!channels_last_) return with_any_format(given);
      return dnnl::memory::desc(given.get_dims(), type, channels_last_strides(given.get_dims()));
    };
    auto made = std::make_shared<Primitive>();
    const Description description =
        describe(shape_, wanted(source), layout_, bias_ != nullptr, wanted(destination), /*create=*/true);
    if (!description.exists) return made;
    made->primitive = description.primitive;
    made->arguments = {{DNNL_ARG_SRC, description.source}, {DNNL_ARG_WEIGHTS, layout_}};
    if (bias_ != nullptr) {
      made->arguments.emplace_back(DNNL_ARG_BIAS, dnnl::memory::desc({output.sizes()[1]}, type, Dims{1}));
    }
    made->arguments.emplace_back(DNNL_ARG_DST, description.destination);
    made->scratchpad = description.scratchpad;
    made->reorder_first = make_reorder(source, description.source);
    made->reorder_last = make_reorder(description.destination, destination);
    return made;
  });
  // oneDNN's choice of a layout depends on the sizes of the input: it may refuse the packed one for others.
  if (!primitive.is_supported()) {
    const dnnl::memory::desc plain = weight_layout(shape_, *weight_, layout_.get_data_type());
    const TensorPtr unpacked = make_tensor(dtype_, weight_->ndim, weight_->sizes(), weight_->strides());
    dnnl::memory from(layout_, cpu_engine(), packed_);
    dnnl::memory to(plain, cpu_engine(), unpacked->data());
    dnnl::stream stream(cpu_engine());
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
    return convolve(workspace, shape_, input, *unpacked, bias_, output, function);
  }
  void* const with_bias[] = {input.data(), packed_, bias_ != nullptr ? bias_->data() : nullptr, output.data()};
  void* const without_bias[] = {input.data(), packed_, output.data()};
  primitive.execute(workspace, bias_ != nullptr ? with_bias : without_bias);
  finish(shape_, output, function);
}

void convolve(Workspace& workspace, const ConvolutionShape& shape, const Tensor& input, const Tensor& weight,
              const Tensor* bias, const Tensor& output, const char* function) {
  check(shape, input, weight, weight.dtype, output, function);
  if (output.numel() == 0) return;
  dnnl::memory::data_type type;
  if (onednn_dtype(input.dtype, &type) && input.numel() != 0 && weight.numel() != 0) {
    PrimitiveKey key(kConvolutionKey);
    add_to_key(&key, shape, input, output, bias != nullptr);
    key.add(weight.sizes(), weight.ndim);
    key.add(weight.strides(), weight.ndim);
    BoundPrimitive& primitive = BoundPrimitives::of(workspace).get(key, [&] {
      const dnnl::memory::desc source(sizes_of(input), type, strides_of(input));
      const dnnl::memory::desc destination(sizes_of(output), type, strides_of(output));
      const dnnl::memory::desc plain = weight_layout(shape, weight, type);
      auto made = std::make_shared<Primitive>();
      const Description description =
          describe(shape, source, with_any_format(plain), bias != nullptr, destination, /*create=*/true);
      if (!description.exists) return made;
      made->primitive = description.primitive;
      made->arguments = {{DNNL_ARG_WEIGHTS, description.weights}, {DNNL_ARG_SRC, source}};
      if (bias != nullptr) {
        made->arguments.emplace_back(DNNL_ARG_BIAS, dnnl::memory::desc({output.sizes()[1]}, type, Dims{1}));
      }
      made->arguments.emplace_back(DNNL_ARG_DST, destination);
      made->scratchpad = description.scratchpad;
      made->reorder_first = make_reorder(plain, description.weights);
      return made;
    });
    if (primitive.is_supported()) {
      void* const with_bias[] = {weight.data(), input.data(), bias != nullptr ? bias->data() : nullptr, output.data()};
      void* const without_bias[] = {weight.data(), input.data(), output.data()};
      primitive.execute(workspace, bias != nullptr ? with_bias : without_bias);
      return finish(shape, output, function);
    }
  }
  if (is_half_type(weight.dtype) && weight.numel() != 0) {
    const TensorPtr wide = widened(weight, function);
    const TensorPtr wide_bias = bias != nullptr ? widened(*bias, function) : nullptr;
    return run_widened(input, output, function, [&](const Tensor& from, const Tensor& to) {
      convolve(workspace, shape, from, *wide, wide_bias.get(), to, function);
    });
  }
  if (PanelConvolution::takes(weight)) {
    const ScratchBuffer memory(workspace, PanelConvolution::nbytes(shape, weight));
    return PanelConvolution(shape, weight, bias, memory).run(workspace, input, output);
  }
  dispatch(input.dtype, function,
           [&](auto tag) { plain_convolution<typename decltype(tag)::type>(shape, input, weight, bias, output); });
}

}  // namespace aotbuild::detail
