// Products of float32 over packed weights, for the instruction set of this machine.
#ifndef AOTBUILD_SRC_KERNELS_PANEL_KERNELS_HPP_
#define AOTBUILD_SRC_KERNELS_PANEL_KERNELS_HPP_

#include <cstdint>

#include "aotbuild/detail/spec.h"

namespace aotbuild::detail {

// Terms of a sum that are added up before they are added to what there is: float32 rounds a sum of n terms by about
// sqrt(n). The parts are about equal. All tiles add in the same order, so that a row depends neither on the rows beside
// it nor on the number of threads.
constexpr std::int64_t kTerms = 192;
inline std::int64_t term_parts(std::int64_t depth) { return depth <= kTerms ? 1 : (depth + kTerms - 1) / kTerms; }
inline std::int64_t first_term(std::int64_t depth, std::int64_t part) { return depth * part / term_parts(depth); }

// output[rows][columns] = activation(input[rows][depth] @ weights + bias), or some parts of its sums.
struct PanelProduct {
  const float* input;  // from the first term of `begin` on
  std::int64_t input_stride;
  const float* weights;  // panels of kPanelColumns columns, [depth][kPanelColumns] each
  std::int64_t panel_stride;
  const float* bias;  // kPanelColumns for each panel
  float* output;
  std::int64_t output_stride;
  std::int64_t rows;
  std::int64_t depth;
  std::int64_t columns;
  Activation activation;
  float alpha;
  std::int64_t begin;  // parts of the sums; the others are added to what calls before this have made. Few rows: all
  std::int64_t end;
  float* beside;  // [rows][kPanelColumns], for sums of columns that are no whole tile; not for few rows
};

// to[rows][columns] = activation(from[rows][columns]); they may be the same.
struct ActivatedRows {
  const float* from;
  std::int64_t from_stride;
  float* to;
  std::int64_t to_stride;
  std::int64_t rows;
  std::int64_t columns;
  float alpha;
};

using ActivationFunction = void (*)(const ActivatedRows&) noexcept;

struct PanelKernels {
  std::int64_t tile_rows;
  std::int64_t few_rows;  // up to which all rows are one tile
  void (*multiply)(const PanelProduct&);
  const ActivationFunction* activate;  // by Activation
};

// The best that this machine runs.
const PanelKernels& panel_kernels() noexcept;

// For "avx512" or "avx2", null where this machine does not run it; those for a null `isa` run everywhere.
const PanelKernels* panel_kernels_for(const char* isa) noexcept;

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_PANEL_KERNELS_HPP_
