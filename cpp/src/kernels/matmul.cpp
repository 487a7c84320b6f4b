#include "kernels/matmul.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/onednn.hpp"
#include "kernels/panel_matmul.hpp"
#include "tensor/copy.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

namespace {

Matrices matrices_of(const Tensor& tensor, const char* function) {
  const std::int64_t* sizes = tensor.sizes();
  const std::int64_t* strides = tensor.strides();
  if (tensor.ndim == 2) return {tensor.data(), {1, sizes[0], sizes[1]}, {0, strides[0], strides[1]}};
  if (tensor.ndim == 3) {
    return {tensor.data(), {sizes[0], sizes[1], sizes[2]}, {strides[0], strides[1], strides[2]}};
  }
  fail(function, "expected matrices, got a tensor of sizes ", format_dims(tensor.ndim, sizes));
}

// Strides as oneDNN wants them: those of sizes of 1 are free, and a batch that is one matrix again and again is one
// matrix. False for overlapping rows or columns, which oneDNN refuses.
bool normalize(Matrices* matrices) {
  auto& sizes = matrices->sizes;
  auto& strides = matrices->strides;
  if (strides[0] == 0) sizes[0] = 1;
  if (sizes[1] == 1 && sizes[2] == 1) strides[1] = strides[2] = 1;
  if (sizes[1] == 1) strides[1] = sizes[2] * std::max<std::int64_t>(strides[2], 1);
  if (sizes[2] == 1) strides[2] = 1;
  if (sizes[0] == 1) strides[0] = std::max(sizes[1] * strides[1], sizes[2] * strides[2]);
  const bool row_major = strides[2] == 1 && strides[1] >= sizes[2];
  const bool column_major = strides[1] == 1 && strides[2] >= sizes[1];
  return row_major || column_major;
}

dnnl::memory::desc layout_of(const Matrices& matrices, dnnl::memory::data_type dtype, bool batched) {
  const std::size_t first = batched ? 0 : 1;
  return {dnnl::memory::dims(matrices.sizes.begin() + first, matrices.sizes.end()), dtype,
          dnnl::memory::dims(matrices.strides.begin() + first, matrices.strides.end())};
}

// False when oneDNN has no implementation.
bool onednn_matmul(Matrices out, Matrices a, Matrices b, const Addition& addition, ScalarType dtype) {
  dnnl::memory::data_type onednn_type;
  if (!onednn_dtype(dtype, &onednn_type) || !normalize(&out) || !normalize(&a) || !normalize(&b)) return false;
  if (out.strides[2] != 1 || a.sizes[2] == 0) return false;
  const bool batched = out.sizes[0] != 1;

  PrimitiveKey key(kMatmulKey);
  key.add(static_cast<std::int64_t>(dtype));
  for (const Matrices* matrices : {&out, &a, &b}) {
    key.add(matrices->sizes.data(), 3);
    key.add(matrices->strides.data(), 3);
  }
  key.add(std::int64_t{addition.bias != nullptr});
  key.add(addition.alpha);
  key.add(addition.beta);

  CurrentOrOwnWorkspace workspace;
  BoundPrimitive& primitive = BoundPrimitives::of(*workspace).get(key, [&] {
    auto made = std::make_shared<Primitive>();
    dnnl::primitive_attr attributes = user_scratchpad();
    dnnl::post_ops post_ops;
    if (addition.alpha != 1) {
      post_ops.append_eltwise(dnnl::algorithm::eltwise_linear, static_cast<float>(addition.alpha), 0.0F);
    }
    if (addition.beta != 0) post_ops.append_sum(static_cast<float>(addition.beta));
    attributes.set_post_ops(post_ops);
    const dnnl::memory::desc a_layout = layout_of(a, onednn_type, batched);
    const dnnl::memory::desc b_layout = layout_of(b, onednn_type, batched);
    const dnnl::memory::desc out_layout = layout_of(out, onednn_type, batched);
    const dnnl::memory::dims bias_sizes =
        batched ? dnnl::memory::dims{1, 1, out.sizes[2]} : dnnl::memory::dims{1, out.sizes[2]};
    const dnnl::memory::dims bias_strides =
        batched ? dnnl::memory::dims{out.sizes[2], out.sizes[2], 1} : dnnl::memory::dims{out.sizes[2], 1};
    const dnnl::memory::desc bias_layout =
        addition.bias != nullptr ? dnnl::memory::desc(bias_sizes, onednn_type, bias_strides) : dnnl::memory::desc();
    const dnnl::matmul::primitive_desc description(cpu_engine(), a_layout, b_layout, bias_layout, out_layout,
                                                   attributes, /*allow_empty=*/true);
    if (!description) return made;
    made->primitive = dnnl::matmul(description);
    made->arguments = {{DNNL_ARG_SRC, a_layout}, {DNNL_ARG_WEIGHTS, b_layout}};
    if (addition.bias != nullptr) made->arguments.emplace_back(DNNL_ARG_BIAS, bias_layout);
    made->arguments.emplace_back(DNNL_ARG_DST, out_layout);
    made->scratchpad = description.scratchpad_desc();
    return made;
  });
  if (!primitive.is_supported()) return false;
  void* const with_bias[] = {a.data, b.data, const_cast<void*>(addition.bias), out.data};
  void* const without_bias[] = {a.data, b.data, out.data};
  primitive.execute(*workspace, addition.bias != nullptr ? with_bias : without_bias);
  return true;
}

// One row of the output at a time, added up over the rows of `b`: vectorises when those have stride 1.
template <typename T, typename Finish>
void multiply_rows(const Matrices& out, const Matrices& a, const Matrices& b, Finish&& finish) {
  using Sum = Accumulator<T>;
  const std::int64_t rows = out.sizes[1];
  const std::int64_t columns = out.sizes[2];
  const std::int64_t depth = a.sizes[2];
  const auto row_sums = std::make_unique<Sum[]>(static_cast<std::size_t>(columns));
  Sum* sums = row_sums.get();
  for (std::int64_t batch = 0; batch < out.sizes[0]; ++batch) {
    const T* a_matrix = static_cast<const T*>(a.data) + batch * a.strides[0];
    const T* b_matrix = static_cast<const T*>(b.data) + batch * b.strides[0];
    for (std::int64_t row = 0; row < rows; ++row) {
      std::fill_n(sums, columns, Sum(0));
      for (std::int64_t k = 0; k < depth; ++k) {
        const Sum factor = convert<Sum>(a_matrix[row * a.strides[1] + k * a.strides[2]]);
        const T* b_row = b_matrix + k * b.strides[1];
        for (std::int64_t column = 0; column < columns; ++column) {
          const Sum other = convert<Sum>(b_row[column * b.strides[2]]);
          if constexpr (std::is_same_v<Sum, bool>) {
            sums[column] = sums[column] || (factor && other);
          } else if constexpr (std::is_integral_v<Sum>) {
            // Unsigned: overflow wraps, as in torch.
            using Word = std::make_unsigned_t<Sum>;
            sums[column] = static_cast<Sum>(
                static_cast<Word>(std::uint64_t{static_cast<Word>(sums[column])} +
                                  std::uint64_t{static_cast<Word>(factor)} * std::uint64_t{static_cast<Word>(other)}));
          } else {
            sums[column] += factor * other;
          }
        }
      }
      T* out_row = static_cast<T*>(out.data) + batch * out.strides[0] + row * out.strides[1];
      for (std::int64_t column = 0; column < columns; ++column) {
        out_row[column * out.strides[2]] = convert<T>(finish(sums[column], column, out_row + column * out.strides[2]));
      }
    }
  }
}

}  // namespace

void matmul(Tensor& out, const Tensor& a, const Tensor& b, const Tensor* c, double alpha, double beta,
            const char* function) {
  const Matrices out_m = matrices_of(out, function);
  const Matrices a_m = matrices_of(a, function);
  const Matrices b_m = matrices_of(b, function);
  if (a.dtype != out.dtype || b.dtype != out.dtype || (c != nullptr && c->dtype != out.dtype)) {
    fail(function, "element types differ: ", dtype_name(a.dtype), " and ", dtype_name(b.dtype), " to ",
         dtype_name(out.dtype));
  }
  if (a.ndim != out.ndim || b.ndim != out.ndim || a_m.sizes[0] != out_m.sizes[0] || b_m.sizes[0] != out_m.sizes[0] ||
      a_m.sizes[1] != out_m.sizes[1] || a_m.sizes[2] != b_m.sizes[1] || b_m.sizes[2] != out_m.sizes[2]) {
    fail(function, "sizes do not fit: ", format_dims(a.ndim, a.sizes()), " @ ", format_dims(b.ndim, b.sizes()), " to ",
         format_dims(out.ndim, out.sizes()));
  }
  if (beta != 0 && c == nullptr) fail(function, "beta is not 0, but there is no tensor to add");
  if (out.numel() == 0) return;

  Addition addition;
  addition.alpha = alpha;
  const bool is_row = beta == 1 && alpha == 1 && c->ndim >= 1 && c->sizes()[c->ndim - 1] == out_m.sizes[2] &&
                      c->numel() == out_m.sizes[2] && (c->strides()[c->ndim - 1] == 1 || out_m.sizes[2] == 1);
  if (is_row) {
    addition.bias = c->data();
  } else if (beta != 0) {
    addition.beta = beta;
    if (c->data() != out.data()) copy(out, *c, function);  // the product is added in place
  }
  if (out.dtype == ScalarType::kFloat32 && panel_matmul(out_m, a_m, b_m, addition, out.dtype)) return;
  if (onednn_matmul(out_m, a_m, b_m, addition, out.dtype)) return;
  dnnl::memory::data_type ignored;
  if (kHasOneDnn && onednn_dtype(out.dtype, &ignored) && a_m.sizes[2] != 0) {  // once more, with plain strides
    const TensorPtr a_copy = clone_contiguous(a, function);
    const TensorPtr b_copy = clone_contiguous(b, function);
    if (onednn_matmul(out_m, matrices_of(*a_copy, function), matrices_of(*b_copy, function), addition, out.dtype)) {
      return;
    }
  }
  if (panel_matmul(out_m, a_m, b_m, addition, out.dtype)) return;
  dispatch(out.dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Sum = Accumulator<T>;
    const T* bias = static_cast<const T*>(addition.bias);
    multiply_rows<T>(out_m, a_m, b_m, [&](Sum sum, std::int64_t column, const T* at) {
      if constexpr (std::is_same_v<Sum, bool>) {
        return (alpha != 0 && sum) || (bias != nullptr && bias[column]) || (addition.beta != 0 && *at);
      } else {
        if (alpha != 1) sum = static_cast<Sum>(sum * convert<Sum>(alpha));
        if (bias != nullptr) sum = static_cast<Sum>(sum + convert<Sum>(bias[column]));
        if (addition.beta != 0) sum = static_cast<Sum>(sum + convert<Sum>(addition.beta) * convert<Sum>(*at));
        return sum;
      }
    });
  });
}

}  // namespace aotbuild::detail
