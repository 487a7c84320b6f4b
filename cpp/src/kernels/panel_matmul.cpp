#include "kernels/panel_matmul.hpp"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/intrinsics.hpp"
#include "kernels/packing.hpp"
#include "kernels/panel_product.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

namespace {

// Below, packing takes longer than the product.
constexpr std::int64_t kFewRows = 3;

// Products of so many numbers are a share that a thread is woken for.
constexpr std::int64_t kMatmulShare = 1 << 16;

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
      for (std::int64_t column = 0; column < columns; ++column) out[column] = convert<float>(at[column]);
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
#endif

// Up to kPanelColumns columns of a matrix as a panel; columns that are missing are zero.
template <typename T>
void pack_columns(const Source<T>& from, std::int64_t rows, std::int64_t columns, float* panel) {
  if (columns < kPanelColumns) {
    std::memset(panel, 0, static_cast<std::size_t>(rows * kPanelColumns) * sizeof(float));
  }
  std::int64_t first = 0;
#if defined(__x86_64__)
  if constexpr (std::is_same_v<T, float>) {
    if (from.row_stride == 1 && from.column_stride != 1 && columns == kPanelColumns) {
      for (; first + 4 <= rows; first += 4) {
        for (std::int64_t column = 0; column < kPanelColumns; column += 4) {
          transpose_four(from.data + first + column * from.column_stride, from.column_stride,
                         panel + first * kPanelColumns + column);
        }
      }
    }
  }
#endif
  convert_rows<T>({from.data + first * from.row_stride, from.row_stride, from.column_stride}, rows - first, columns,
                  panel + first * kPanelColumns, kPanelColumns);
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
    const std::int64_t work = rows() * columns() * std::max<std::int64_t>(depth(), 1);
    const std::int64_t threads =
        std::max<std::int64_t>(1, std::min({most, batches(), batches() * work / kMatmulShare}));
    const std::int64_t bias_values = panels() * kPanelColumns;
    const std::int64_t alone = values_alone({nullptr, depth() + kRowGap, rows()}, panels_of(nullptr, nullptr));
    const std::int64_t values = packed_values(depth(), columns()) + (has_rows_ ? 0 : rows() * row_values()) +
                                (is_direct_ ? 0 : rows() * columns()) + alone;
    const ScratchBuffer scratch(workspace, static_cast<std::size_t>(bias_values + threads * values) * sizeof(float));
    auto* const bias = static_cast<float*>(scratch.data());
    make_bias(bias, bias_values);
    float* const buffers = bias + bias_values;
    if (threads < most && batches() < most) {  // each of them by all threads
      for (std::int64_t batch = 0; batch < batches(); ++batch) multiply(&workspace, batch, bias, buffers);
      return;
    }
#pragma omp parallel for schedule(static) if (threads > 1) num_threads(static_cast<int>(threads))
    for (std::int64_t batch = 0; batch < batches(); ++batch) {
      multiply(nullptr, batch, bias, buffers + omp_get_thread_num() * values);
    }
  }

 private:
  std::int64_t batches() const { return out_.sizes[0]; }
  std::int64_t rows() const { return out_.sizes[1]; }
  std::int64_t columns() const { return out_.sizes[2]; }
  std::int64_t depth() const { return a_.sizes[2]; }
  std::int64_t panels() const { return (columns() + kPanelColumns - 1) / kPanelColumns; }
  std::int64_t row_values() const { return depth() + kRowGap; }
  Panels panels_of(const float* packed, const float* bias) const { return {packed, bias, depth(), columns()}; }

  void make_bias(float* bias, std::int64_t values) const {
    std::fill_n(bias, values, 0.0F);
    if (addition_.bias == nullptr) return;
    convert_rows<T>({static_cast<const T*>(addition_.bias), 0, 1}, 1, columns(), bias, 0);
  }

  // With a workspace on all threads, else on this one.
  void multiply(Workspace* workspace, std::int64_t batch, const float* bias, float* buffer) const {
    float* const packed = buffer;
    buffer += packed_values(depth(), columns());
    pack(batch, packed, workspace != nullptr);
    Rows from{static_cast<float*>(a_.data) + batch * a_.strides[0], a_.strides[1], rows()};
    if (!has_rows_) {
      convert_rows(source_of_batch<T>(a_, batch), rows(), depth(), buffer, row_values());
      from = {buffer, row_values(), rows()};
      buffer += rows() * row_values();
    }
    Rows to{static_cast<float*>(out_.data) + batch * out_.strides[0], out_.strides[1], rows()};
    if (!is_direct_) {
      to = {buffer, columns(), rows()};
      buffer += rows() * columns();
    }
    if (workspace != nullptr) {
      multiply_panels(*workspace, from, panels_of(packed, bias), Activation::kNone, 0, to);
    } else {
      multiply_panels_alone(from, panels_of(packed, bias), Activation::kNone, 0, to, buffer);
    }
    if (!is_direct_) finish(to, static_cast<T*>(out_.data) + batch * out_.strides[0]);
  }

  void pack(std::int64_t batch, float* packed, bool is_shared) const {
    const Source<T> from = source_of_batch<T>(b_, batch);
    const std::int64_t values = packed_values(depth(), kPanelColumns);
    const std::int64_t count = panels();
#pragma omp parallel for if (is_shared && count * values > kMatmulShare)
    for (std::int64_t panel = 0; panel < count; ++panel) {
      const std::int64_t first = panel * kPanelColumns;
      pack_columns<T>({from.data + first * from.column_stride, from.row_stride, from.column_stride}, depth(),
                      std::min(kPanelColumns, columns() - first), packed + panel * values);
    }
  }

  void finish(const Rows& sums, T* out) const {
    const auto alpha = static_cast<float>(addition_.alpha);
    const auto beta = static_cast<float>(addition_.beta);
    for (std::int64_t row = 0; row < rows(); ++row) {
      const float* const from = sums.data + row * sums.stride;
      T* const to = out + row * out_.strides[1];
      for (std::int64_t column = 0; column < columns(); ++column) {
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
