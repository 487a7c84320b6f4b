// Products over packed weights, in blocks for the caches and shared out among threads.
#ifndef AOTBUILD_SRC_KERNELS_PANEL_PRODUCT_HPP_
#define AOTBUILD_SRC_KERNELS_PANEL_PRODUCT_HPP_

#include <cstdint>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "kernels/panel_kernels.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

// What rows are longer than their values, so that they lie in all sets of a cache and not, some KB apart, in few.
constexpr std::int64_t kRowGap = 16;

// Rows whose distance is a multiple of this are copied to rows kRowGap longer.
constexpr std::int64_t kEvilValues = 512;

// From one row of so many words, a multiple of kRowGap, to the next.
inline std::int64_t row_stride(std::int64_t words) {
  return words + kRowGap + (words % kEvilValues == kEvilValues - kRowGap ? kRowGap : 0);
}

// Rows of a matrix of float32, `stride` values apart.
struct Rows {
  float* data;
  std::int64_t stride;
  std::int64_t count;
};

// What a layer keeps of its weights.
struct Panels {
  const float* weights;  // a PackedMatrix (detail/spec.h)
  const float* bias;     // one value a column, in whole panels
  std::int64_t depth;
  std::int64_t columns;
  // Of others than float32 several rows lie in one of a PackedMatrix of less, and `depth` counts those. Rows of the
  // input and of the output are as for PanelMultiplication; the input's are no multiple of 2 KB apart.
  PanelType type = PanelType::kFloat32;
  bool rounds = false;  // PanelProduct::rounds
};

// A column of a matrix of float32.
struct Column {
  const float* data;
  std::int64_t stride;
};

// Values of a PackedMatrix of so many rows and columns, and its making.
std::int64_t packed_values(std::int64_t rows, std::int64_t columns);
void pack_panels(const std::vector<Column>& columns, std::int64_t rows, float* packed);

// output = activation(input @ weights + bias). The values of a row depend neither on the other rows nor on the number
// of threads.
void multiply_panels(Workspace& workspace, const Rows& input, const Panels& panels, Activation activation, double alpha,
                     const Rows& output);

// The same on the calling thread alone, with memory for `values_alone` numbers of the caller's.
std::int64_t values_alone(const Rows& input, const Panels& panels);
void multiply_panels_alone(const Rows& input, const Panels& panels, Activation activation, double alpha,
                           const Rows& output, float* buffer);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_PANEL_PRODUCT_HPP_
