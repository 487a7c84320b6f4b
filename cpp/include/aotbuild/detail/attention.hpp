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
#include "aotbuild/detail/attention_vectors.hpp"
#include "aotbuild/detail/kernel.hpp"

namespace aotbuild::detail::inline AOTBUILD_ISA {

namespace attention_detail {

// Blocks that keep the scores (256 KiB) and a head's keys and values in the level-2 cache.
inline constexpr std::int64_t kQueryBlock = 128;
inline constexpr std::int64_t kKeyBlock = 512;

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
  for (; i + Vector::size() <= count; i += Vector::size()) most = maximum(most, Vector::loadu(row + i));
  float result = greatest(most);
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
  float result = total(sum);
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

// Columns of one register tile, and its rows: with two loads and one broadcast in flight the sums fill the registers
// (32 of AVX-512, 16 of the others) without spilling.
inline constexpr int kTileVectors = 2;
inline constexpr int kTileRows = Vector::size() >= 16 ? 12 : Vector::size() >= 8 ? 5 : 4;
inline constexpr std::int64_t kTileColumns = kTileVectors * Vector::size();

// c[Rows, columns] (+)= a[Rows, depth] @ b[depth, columns]; the last of `Vectors` vectors has `last` columns.
// Written here and not left to oneDNN because its first sgemm generates code for 40 ms, a third of the start of a
// program, and because these blocks are too small for a call of 2 microseconds.
template <int Rows, int Vectors>
inline void tile(std::int64_t depth, const float* a, std::int64_t lda, const float* b, std::int64_t ldb, float* c,
                 std::int64_t ldc, std::int64_t last, bool accumulate) {
  Vector sums[Rows][Vectors];
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      sums[row][v] =
          accumulate ? load(c + row * ldc + v * Vector::size(), v + 1 < Vectors ? Vector::size() : last) : Vector(0.0f);
    }
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    Vector columns[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      const float* from = b + k * ldb + v * Vector::size();
      columns[v] = v + 1 < Vectors || last == Vector::size() ? Vector::loadu(from) : Vector::loadu(from, last);
    }
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row) {
      const Vector factor(a[row * lda + k]);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[row][v] = fmadd(factor, columns[v], sums[row][v]);
    }
  }
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      store(sums[row][v], c + row * ldc + v * Vector::size(), v + 1 < Vectors ? Vector::size() : last);
    }
  }
}

template <int Vectors>
inline void tile_column(std::int64_t rows, std::int64_t depth, const float* a, std::int64_t lda, const float* b,
                        std::int64_t ldb, float* c, std::int64_t ldc, std::int64_t last, bool accumulate) {
  std::int64_t row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) {
    tile<kTileRows, Vectors>(depth, a + row * lda, lda, b, ldb, c + row * ldc, ldc, last, accumulate);
  }
  for (; row + 4 <= rows; row += 4) {
    tile<4, Vectors>(depth, a + row * lda, lda, b, ldb, c + row * ldc, ldc, last, accumulate);
  }
  for (; row < rows; ++row) {
    tile<1, Vectors>(depth, a + row * lda, lda, b, ldb, c + row * ldc, ldc, last, accumulate);
  }
}

// c[rows, columns] (+)= a[rows, depth] @ b[depth, columns], all row-major.
inline void product(std::int64_t rows, std::int64_t columns, std::int64_t depth, const float* a, std::int64_t lda,
                    const float* b, std::int64_t ldb, float* c, std::int64_t ldc, bool accumulate) {
  std::int64_t column = 0;
  for (; column + kTileColumns <= columns; column += kTileColumns) {
    tile_column<kTileVectors>(rows, depth, a, lda, b + column, ldb, c + column, ldc, Vector::size(), accumulate);
  }
  for (; column < columns; column += Vector::size()) {
    const std::int64_t last = std::min<std::int64_t>(Vector::size(), columns - column);
    tile_column<1>(rows, depth, a, lda, b + column, ldb, c + column, ldc, last, accumulate);
  }
}

inline constexpr std::int64_t kMaxPackedDim = 256;

struct Scratch {
  alignas(64) float scores[kQueryBlock * kKeyBlock];
  alignas(64) float keys[kMaxPackedDim * kKeyBlock];  // one block of keys, [head_dim, key]
  float most[kQueryBlock];
  float sum[kQueryBlock];
};

// keys[dim, key] = scale * key[key, dim], padded with zeros to whole tiles.
inline void pack_keys(const float* key, std::int64_t stride, std::int64_t count, std::int64_t padded, std::int64_t dims,
                      float scale, float* keys) {
  constexpr std::int64_t kBlock = 16;
  for (std::int64_t first = 0; first < padded; first += kBlock) {
    const std::int64_t width = std::min(kBlock, padded - first);
    const std::int64_t here = std::clamp<std::int64_t>(count - first, 0, width);
    for (std::int64_t dim = 0; dim < dims; ++dim) {
      float* out = keys + dim * padded + first;
      for (std::int64_t i = 0; i < here; ++i) out[i] = scale * key[(first + i) * stride + dim];
      for (std::int64_t i = here; i < width; ++i) out[i] = 0.0f;
    }
  }
}

// scores[row, key] = scale * dot(query[row], key[key]).
inline void score(const AttentionShape& shape, Scratch& scratch, const float* query, const float* key,
                  std::int64_t rows, std::int64_t count, std::int64_t padded) {
  const std::int64_t stride = shape.key_strides[2];
  if (rows >= 4 && shape.head_dim <= kMaxPackedDim) {
    pack_keys(key, stride, count, padded, shape.head_dim, shape.scale, scratch.keys);
    product(rows, padded, shape.head_dim, query, shape.query_strides[2], scratch.keys, padded, scratch.scores, padded,
            false);
    return;
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* from = query + row * shape.query_strides[2];
    for (std::int64_t k = 0; k < count; ++k) {
      Vector sum(0.0f);
      for (std::int64_t i = 0; i < shape.head_dim; i += Vector::size()) {
        sum = fmadd(load(from + i, shape.head_dim - i), load(key + k * stride + i, shape.head_dim - i), sum);
      }
      scratch.scores[row * padded + k] = shape.scale * total(sum);
    }
  }
}

// Eager PyTorch multiplies the values of the whole block of keys, also those that no query of these rows sees, with
// weights of 0: what is no finite number there makes its column NaN.
inline void add_unseen(const AttentionShape& shape, const float* value, float* output, std::int64_t rows,
                       std::int64_t count) {
  for (std::int64_t column = 0; column < shape.value_dim; column += Vector::size()) {
    const std::int64_t width = std::min<std::int64_t>(Vector::size(), shape.value_dim - column);
    Vector sum(0.0f);
    for (std::int64_t key = 0; key < count; ++key) {
      sum = sum + load(value + key * shape.value_strides[2] + column, width) * Vector(0.0f);
    }
    if (is_zero(sum)) continue;
    for (std::int64_t row = 0; row < rows; ++row) {
      float* out = output + row * shape.output_strides[2] + column;
      store(load(out, width) + sum, out, width);
    }
  }
}

inline void query_block(const AttentionShape& shape, Scratch& scratch, const float* query, const float* key,
                        const float* value, const float* mask, float* output, std::int64_t first, std::int64_t rows) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::fill_n(scratch.most, rows, -infinity);
  std::fill_n(scratch.sum, rows, 0.0f);
  const std::int64_t visible = shape.causal ? std::min(shape.keys, first + rows) : shape.keys;
  for (std::int64_t start = 0; start < visible; start += kKeyBlock) {
    const std::int64_t count = std::min(kKeyBlock, visible - start);
    const std::int64_t padded = (count + kTileColumns - 1) / kTileColumns * kTileColumns;
    score(shape, scratch, query, key + start * shape.key_strides[2], rows, count, padded);
    for (std::int64_t row = 0; row < rows; ++row) {
      float* scores = scratch.scores + row * padded;
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
      const float shift = most == -infinity ? 0.0f : most;
      const float sum = exp_row(scores, shift, count);
      const float correction = start == 0 ? 0.0f : std::exp(before - shift);
      scratch.sum[row] = scratch.sum[row] * correction + sum;
      scratch.most[row] = most;
      if (start != 0 && correction != 1.0f)
        scale_row(output + row * shape.output_strides[2], correction, shape.value_dim);
    }
    product(rows, shape.value_dim, count, scratch.scores, padded, value + start * shape.value_strides[2],
            shape.value_strides[2], output, shape.output_strides[2], start != 0);
    const std::int64_t unseen = std::min(kKeyBlock, shape.keys - start) - count;
    add_unseen(shape, value + (start + count) * shape.value_strides[2], output, rows, unseen);
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    float* out = output + row * shape.output_strides[2];
    if (visible == 0) {
      std::fill_n(out, shape.value_dim, 0.0f);
    } else if (scratch.most[row] == -infinity && !shape.unseen_is_zero) {
      std::fill_n(out, shape.value_dim, std::numeric_limits<float>::quiet_NaN());
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

}  // namespace aotbuild::detail::inline AOTBUILD_ISA

#endif  // AOTBUILD_DETAIL_ATTENTION_HPP_
