#include "kernels/panel_matmul.hpp"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/intrinsics.hpp"
#include "kernels/packing.hpp"
#include "kernels/panel_kernels.hpp"
#include "kernels/panel_product.hpp"
#include "tensor/half_rows.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

namespace {

// Below, packing takes longer than the product.
constexpr std::int64_t kFewRows = 3;

// Products of so many numbers are a share that a thread is woken for.
constexpr std::int64_t kMatmulShare = 1 << 16;

// Values of panels that are packed and then multiplied, while they are in the second cache.
constexpr std::int64_t kGroupValues = 96 << 10;

// A share of the rows, at least.
constexpr std::int64_t kLeastRows = 16;

// Matrices of T whose rows and columns may lie anywhere.
template <typename T>
struct Source {
  const T* data;
  std::int64_t row_stride;
  std::int64_t column_stride;
};

template <typename T>
Source<T> source_of_batch(const Matrices& matrices, std::int64_t batch) {
  return {static_cast<const T*>(matrices.data) + batch * matrices.strides[0], matrices.strides[1], matrices.strides[2]};
}

template <typename T>
void convert_rows(const Source<T>& from, std::int64_t rows, std::int64_t columns, float* to, std::int64_t to_stride) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* const at = from.data + row * from.row_stride;
    float* const out = to + row * to_stride;
    if (from.column_stride == 1) {
      if constexpr (is_half<T>) {
        widen(at, columns, out);
      } else {
        std::copy_n(at, columns, out);
      }
    } else {
      for (std::int64_t column = 0; column < columns; ++column) {
        out[column] = convert<float>(at[column * from.column_stride]);
      }
    }
  }
}

#if defined(__x86_64__)
// Four rows of four columns of a matrix whose columns lie in one piece.
void transpose_four(const float* from, std::int64_t column_stride, float* to) {
  __m128 a = _mm_loadu_ps(from);
  __m128 b = _mm_loadu_ps(from + column_stride);
  __m128 c = _mm_loadu_ps(from + 2 * column_stride);
  __m128 d = _mm_loadu_ps(from + 3 * column_stride);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(to, a);
  _mm_storeu_ps(to + kPanelColumns, b);
  _mm_storeu_ps(to + 2 * kPanelColumns, c);
  _mm_storeu_ps(to + 3 * kPanelColumns, d);
}

// How many of `rows` and `columns` it has taken: multiples of four.
std::pair<std::int64_t, std::int64_t> transpose_fours(const Source<float>& from, std::int64_t rows,
                                                      std::int64_t columns, float* panel) {
  if (from.row_stride != 1 || from.column_stride == 1) return {0, 0};
  const std::int64_t last_row = rows / 4 * 4;
  const std::int64_t last_column = columns / 4 * 4;
  for (std::int64_t row = 0; row < last_row; row += 4) {
    for (std::int64_t column = 0; column < last_column; column += 4) {
      transpose_four(from.data + row + column * from.column_stride, from.column_stride,
                     panel + row * kPanelColumns + column);
    }
  }
  return {last_row, last_column};
}
#else
std::pair<std::int64_t, std::int64_t> transpose_fours(const Source<float>&, std::int64_t, std::int64_t, float*) {
  return {0, 0};
}
#endif

// Up to kPanelColumns columns of a matrix as a panel; columns that are missing are zero.
template <typename T>
void pack_columns(const Source<T>& from, std::int64_t rows, std::int64_t columns, float* panel) {
  if (columns < kPanelColumns) {
    std::memset(panel, 0, static_cast<std::size_t>(rows * kPanelColumns) * sizeof(float));
  }
  std::int64_t row = 0;
  if constexpr (std::is_same_v<T, float>) {
    const auto [rows_done, columns_done] = transpose_fours(from, rows, columns, panel);
    convert_rows<T>({from.data + columns_done * from.column_stride, from.row_stride, from.column_stride}, rows_done,
                    columns - columns_done, panel + columns_done, kPanelColumns);
    row = rows_done;
  }
  convert_rows<T>({from.data + row * from.row_stride, from.row_stride, from.column_stride}, rows - row, columns,
                  panel + row * kPanelColumns, kPanelColumns);
}

template <typename T>
class Matmul {
 public:
  Matmul(const Matrices& out, const Matrices& a, const Matrices& b, const Addition& addition)
      : out_(out), a_(a), b_(b), addition_(addition) {
    has_rows_ =
        std::is_same_v<T, float> && (a.strides[2] == 1 || depth() == 1) && (a.strides[1] >= depth() || rows() == 1);
    is_direct_ = std::is_same_v<T, float> && addition.alpha == 1 && addition.beta == 0 &&
                 (out.strides[2] == 1 || columns() == 1) && (out.strides[1] >= columns() || rows() == 1);
  }

  void run(Workspace& workspace) const {
    const std::int64_t most = omp_in_parallel() != 0 ? 1 : omp_get_max_threads();
    const std::int64_t work = batches() * rows() * columns() * std::max<std::int64_t>(depth(), 1);
    const std::int64_t threads = std::max<std::int64_t>(1, std::min(most, work / kMatmulShare));
    const Cut cut = cut_for(threads);
    const std::int64_t workers = std::min(threads, cut.items());
    const std::int64_t bias_values = panels() * kPanelColumns;
    const std::int64_t values = item_values(cut);
    const ScratchBuffer scratch(workspace, static_cast<std::size_t>(bias_values + workers * values) * sizeof(float));
    auto* const bias = static_cast<float*>(scratch.data());
    make_bias(bias, bias_values);
#pragma omp parallel for schedule(static) if (workers > 1) num_threads(static_cast<int>(workers))
    for (std::int64_t item = 0; item < cut.items(); ++item) {
      multiply(cut, item, bias, bias + bias_values + omp_get_thread_num() * values);
    }
  }

 private:
  std::int64_t batches() const { return out_.sizes[0]; }
  std::int64_t rows() const { return out_.sizes[1]; }
  std::int64_t columns() const { return out_.sizes[2]; }
  std::int64_t depth() const { return a_.sizes[2]; }
  std::int64_t panels() const { return (columns() + kPanelColumns - 1) / kPanelColumns; }
  std::int64_t row_values() const { return depth() + kRowGap; }

  void make_bias(float* bias, std::int64_t values) const {
    std::fill_n(bias, values, 0.0F);
    if (addition_.bias == nullptr) return;
    convert_rows<T>({static_cast<const T*>(addition_.bias), 0, 1}, 1, columns(), bias, 0);
  }

  // What is packed and multiplied at a time: panels of a batch, and rows.
  struct Cut {
    std::int64_t batches;
    std::int64_t groups;  // of panels
    std::int64_t splits;  // of rows
    std::int64_t items() const { return batches * groups * splits; }
  };

  Cut cut_for(std::int64_t threads) const {
    // A's rows are converted for each group: that is one, then.
    const std::int64_t most = has_rows_ ? kGroupValues / packed_values(depth() + 1, kPanelColumns) : panels();
    std::int64_t groups = pieces(panels(), std::max<std::int64_t>(1, most));
    if (batches() * groups < threads) groups = std::min(panels(), pieces(threads, batches()));
    const std::int64_t items = batches() * groups;
    return {batches(), groups, items >= threads ? 1 : std::min(pieces(threads, items), pieces(rows(), kLeastRows))};
  }

  std::int64_t item_values(const Cut& cut) const {
    const std::int64_t columns = pieces(panels(), cut.groups) * kPanelColumns;
    const std::int64_t rows = pieces(this->rows(), cut.splits);
    return packed_values(depth(), columns) + (has_rows_ ? 0 : rows * row_values()) + (is_direct_ ? 0 : rows * columns) +
           values_alone({nullptr, has_rows_ ? a_.strides[1] : row_values(), rows},
                        {nullptr, nullptr, depth(), columns});
  }

  void multiply(const Cut& cut, std::int64_t item, const float* bias, float* buffer) const {
    const auto share = [](std::int64_t total, std::int64_t i, std::int64_t count) { return total * i / count; };
    const std::int64_t split = item % cut.splits;
    const std::int64_t group = item / cut.splits % cut.groups;
    const std::int64_t batch = item / cut.splits / cut.groups;
    const std::int64_t first_row = share(rows(), split, cut.splits);
    const std::int64_t count = share(rows(), split + 1, cut.splits) - first_row;
    const std::int64_t first = share(panels(), group, cut.groups) * kPanelColumns;
    const std::int64_t last = std::min(columns(), share(panels(), group + 1, cut.groups) * kPanelColumns);
    float* const packed = buffer;
    buffer += packed_values(depth(), last - first);
    const Source<T> b = source_of_batch<T>(b_, batch);
    for (std::int64_t column = first; column < last; column += kPanelColumns) {
      pack_columns<T>({b.data + column * b.column_stride, b.row_stride, b.column_stride}, depth(),
                      std::min(kPanelColumns, last - column), packed + packed_values(depth(), column - first));
    }
    Source<T> a = source_of_batch<T>(a_, batch);
    a.data += first_row * a.row_stride;
    Rows from{buffer, row_values(), count};
    if constexpr (std::is_same_v<T, float>) {
      if (has_rows_) from = {const_cast<float*>(a.data), a.row_stride, count};
    }
    if (!has_rows_) {
      convert_rows(a, count, depth(), buffer, row_values());
      buffer += count * row_values();
    }
    T* const out =
        static_cast<T*>(out_.data) + batch * out_.strides[0] + first_row * out_.strides[1] + first * out_.strides[2];
    Rows to{buffer, last - first, count};
    if constexpr (std::is_same_v<T, float>) {
      if (is_direct_) to = {out, out_.strides[1], count};
    }
    if (!is_direct_) buffer += count * (last - first);
    multiply_panels_alone(from, {packed, bias + first, depth(), last - first}, Activation::kNone, 0, to, buffer);
    if (!is_direct_) finish(to, last - first, out);
  }

  void finish(const Rows& sums, std::int64_t columns, T* out) const {
    const auto alpha = static_cast<float>(addition_.alpha);
    const auto beta = static_cast<float>(addition_.beta);
    for (std::int64_t row = 0; row < sums.count; ++row) {
      const float* const from = sums.data + row * sums.stride;
      T* const to = out + row * out_.strides[1];
      for (std::int64_t column = 0; column < columns; ++column) {
        T& value = to[column * out_.strides[2]];
        const float product = alpha * from[column];
        value = convert<T>(beta == 0 ? product : product + beta * convert<float>(value));
      }
    }
  }

  const Matrices& out_;
  const Matrices& a_;
  const Matrices& b_;
  const Addition& addition_;
  bool has_rows_;   // a's rows are read where they lie
  bool is_direct_;  // sums are written to the output
};

}  // namespace

bool panel_matmul(const Matrices& out, const Matrices& a, const Matrices& b, const Addition& addition,
                  ScalarType dtype) {
  if (out.sizes[1] <= kFewRows && b.strides[2] == 1) return false;
  CurrentOrOwnWorkspace workspace;
  switch (dtype) {
    case ScalarType::kFloat32:
      Matmul<float>(out, a, b, addition).run(*workspace);
      return true;
    case ScalarType::kBFloat16:
      Matmul<BFloat16>(out, a, b, addition).run(*workspace);
      return true;
    case ScalarType::kFloat16:
      Matmul<Half>(out, a, b, addition).run(*workspace);
      return true;
    default:
      return false;
  }
}

}  // namespace aotbuild::detail
