// Scaled dot product attention in float32 without the matrix of scores: blocks of queries against blocks of keys with a
// running softmax (Dao et al., FlashAttention-2, 2023). Compiled into the generated kernels, for their instruction set.
// Private to generated kernel sources.
#ifndef AOTBUILD_DETAIL_ATTENTION_HPP_
#define AOTBUILD_DETAIL_ATTENTION_HPP_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>

#include "aotbuild/detail/attention_shape.hpp"
#include "aotbuild/detail/gemm.hpp"
#include "aotbuild/detail/kernel.hpp"

namespace aotbuild::detail {

namespace attention_detail {

// Blocks that keep the scores (256 KiB) and a head's keys and values in the level-2 cache.
inline constexpr std::int64_t kQueryBlock = 128;
inline constexpr std::int64_t kKeyBlock = 512;

using Vector = at::vec::Vectorized<float>;

inline Vector load(const float* data, std::int64_t count) {
  return count >= Vector::size() ? Vector::loadu(data) : Vector::loadu(data, count);
}

inline void store(Vector value, float* data, std::int64_t count) {
  if (count >= Vector::size()) {
    value.store(data);
  } else {
    value.store(data, static_cast<int>(count));
  }
}

// Adds the mask to one row of scores.
inline void add_mask(float* row, const float* mask, std::int64_t stride, std::int64_t count) {
  if (stride == 1) {
    for (std::int64_t i = 0; i < count; i += Vector::size()) {
      store(load(row + i, count - i) + load(mask + i, count - i), row + i, count - i);
    }
  } else {
    for (std::int64_t i = 0; i < count; ++i) row[i] += mask[i * stride];
  }
}

inline float row_max(const float* row, std::int64_t count) {
  Vector most(-std::numeric_limits<float>::infinity());
  std::int64_t i = 0;
  for (; i + Vector::size() <= count; i += Vector::size()) most = at::vec::maximum(most, Vector::loadu(row + i));
  float result = at::vec::vec_reduce_all<float>([](Vector& x, Vector& y) { return at::vec::maximum(x, y); }, most);
  for (; i < count; ++i) result = std::isnan(row[i]) ? row[i] : std::max(result, row[i]);
  return result;
}

// Replaces each score by exp(score - shift) and returns the sum.
inline float exp_row(float* row, float shift, std::int64_t count) {
  const Vector minus(shift);
  Vector sum(0.0f);
  std::int64_t i = 0;
  for (; i + Vector::size() <= count; i += Vector::size()) {
    const Vector value = (Vector::loadu(row + i) - minus).exp_u20();
    value.store(row + i);
    sum = sum + value;
  }
  float result = at::vec::vec_reduce_all<float>([](Vector& x, Vector& y) { return x + y; }, sum);
  for (; i < count; ++i) {
    row[i] = std::exp(row[i] - shift);
    result += row[i];
  }
  return result;
}

inline void scale_row(float* row, float factor, std::int64_t count) {
  const Vector by(factor);
  for (std::int64_t i = 0; i < count; i += Vector::size()) store(load(row + i, count - i) * by, row + i, count - i);
}

struct Scratch {
  alignas(64) float scores[kQueryBlock * kKeyBlock];
  float most[kQueryBlock];
  float sum[kQueryBlock];
};

inline void query_block(const AttentionShape& shape, Scratch& scratch, const float* query, const float* key,
                        const float* value, const float* mask, float* output, std::int64_t first, std::int64_t rows) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::fill_n(scratch.most, rows, -infinity);
  std::fill_n(scratch.sum, rows, 0.0f);
  const std::int64_t visible = shape.causal ? std::min(shape.keys, first + rows) : shape.keys;
  for (std::int64_t start = 0; start < visible; start += kKeyBlock) {
    const std::int64_t count = std::min(kKeyBlock, visible - start);
    gemm(true, rows, count, shape.head_dim, shape.scale, query, shape.query_strides[2],
         key + start * shape.key_strides[2], shape.key_strides[2], 0.0f, scratch.scores, count);
    for (std::int64_t row = 0; row < rows; ++row) {
      float* scores = scratch.scores + row * count;
      if (shape.causal) {
        const std::int64_t seen = std::clamp<std::int64_t>(first + row + 1 - start, 0, count);
        std::fill(scores + seen, scores + count, -infinity);
      }
      if (mask != nullptr) {
        add_mask(scores, mask + row * shape.mask_strides[2] + start * shape.mask_strides[3], shape.mask_strides[3],
                 count);
      }
      const float before = scratch.most[row];
      const float most = std::max(before, row_max(scores, count));
      // A row with nothing to attend to has only -inf, and its output is 0 as in PyTorch's safe softmax.
      const float shift = most == -infinity ? 0.0f : most;
      const float sum = exp_row(scores, shift, count);
      const float correction = start == 0 ? 0.0f : std::exp(before - shift);
      scratch.sum[row] = scratch.sum[row] * correction + sum;
      scratch.most[row] = most;
      if (start != 0 && correction != 1.0f)
        scale_row(output + row * shape.output_strides[2], correction, shape.value_dim);
    }
    gemm(false, rows, shape.value_dim, count, 1.0f, scratch.scores, count, value + start * shape.value_strides[2],
         shape.value_strides[2], start == 0 ? 0.0f : 1.0f, output, shape.output_strides[2]);
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    float* out = output + row * shape.output_strides[2];
    if (visible == 0) {
      std::fill_n(out, shape.value_dim, 0.0f);
    } else {
      scale_row(out, scratch.sum[row] == 0.0f ? 0.0f : 1.0f / scratch.sum[row], shape.value_dim);
    }
  }
}

}  // namespace attention_detail

inline void attention(const AttentionShape& shape, const float* query, const float* key, const float* value,
                      const float* mask, float* output) {
  using namespace attention_detail;
  const std::int64_t blocks = (shape.queries + kQueryBlock - 1) / kQueryBlock;
  const std::int64_t group = shape.heads / std::max<std::int64_t>(shape.kv_heads, 1);
  KernelError error;
#pragma omp parallel
  {
    static thread_local std::unique_ptr<Scratch> scratch;
#pragma omp for collapse(3)
    for (std::int64_t b = 0; b < shape.batch; ++b) {
      for (std::int64_t h = 0; h < shape.heads; ++h) {
        for (std::int64_t block = 0; block < blocks; ++block) {
          try {
            if (!scratch) scratch.reset(new Scratch);
            const std::int64_t first = block * kQueryBlock;
            const std::int64_t kv = h / group;
            const auto at = [&](const auto* data, const std::int64_t* strides, std::int64_t head, std::int64_t row) {
              return data + b * strides[0] + head * strides[1] + row * strides[2];
            };
            query_block(
                shape, *scratch, at(query, shape.query_strides, h, first), at(key, shape.key_strides, kv, 0),
                at(value, shape.value_strides, kv, 0),
                mask == nullptr ? nullptr : at(mask, shape.mask_strides, h, first),
                output + b * shape.output_strides[0] + h * shape.output_strides[1] + first * shape.output_strides[2],
                first, std::min(kQueryBlock, shape.queries - first));
          } catch (...) {
            error.capture();
          }
        }
      }
    }
  }
  error.rethrow();
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_DETAIL_ATTENTION_HPP_
