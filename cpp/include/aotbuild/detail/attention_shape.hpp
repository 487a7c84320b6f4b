// What a scaled dot product attention kernel is told about its operands.
// Private to generated sources.
#ifndef AOTBUILD_DETAIL_ATTENTION_SHAPE_HPP_
#define AOTBUILD_DETAIL_ATTENTION_SHAPE_HPP_

#include <cstdint>

namespace aotbuild::detail {

// Tensors are [batch, heads, rows, head_dim] with any strides but a unit last one; the mask is added to the scores and
// has [batch, heads, queries, keys] with any strides (0 broadcasts). Key and value may have fewer heads than the query
// (grouped-query attention); `heads` is a multiple of theirs.
struct AttentionShape {
  std::int64_t batch, heads, kv_heads, queries, keys, head_dim, value_dim;
  std::int64_t query_strides[4], key_strides[4], value_strides[4], mask_strides[4], output_strides[4];
  float scale;
  bool causal;          // query i sees keys up to i
  bool unseen_is_zero;  // a row whose scores are all -inf is 0, as of PyTorch's operator; else NaN, as of a softmax
};

using AttentionKernel = void (*)(const AttentionShape& shape, const float* query, const float* key, const float* value,
                                 const float* mask, float* output);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_DETAIL_ATTENTION_SHAPE_HPP_
