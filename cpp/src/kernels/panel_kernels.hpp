// Products and convolutions over packed weights, for the instruction set of this machine.
#ifndef AOTBUILD_SRC_KERNELS_PANEL_KERNELS_HPP_
#define AOTBUILD_SRC_KERNELS_PANEL_KERNELS_HPP_

#include <cstdint>

#include "aotbuild/detail/spec.h"

namespace aotbuild::detail {

// How many parts of `most` a total has.
inline std::int64_t pieces(std::int64_t total, std::int64_t most) { return (total + most - 1) / most; }

// Terms of a sum that are added up before they are added to what there is: float32 rounds a sum of n terms by about
// sqrt(n). The parts are about equal. All tiles add in the same order, so that a row depends neither on the rows beside
// it nor on the number of threads.
constexpr std::int64_t kTerms = 384;
inline std::int64_t term_parts(std::int64_t depth, std::int64_t most = kTerms) {
  return depth <= most ? 1 : pieces(depth, most);
}
inline std::int64_t first_term(std::int64_t depth, std::int64_t part, std::int64_t most = kTerms) {
  return depth * part / term_parts(depth, most);
}

// The input of a convolution, channels innermost, and the places in it that make an element of the output. Arrays are
// depth, height and width; a convolution of fewer dimensions has size 1 in the first.
struct Window {
  const float* input;
  std::int64_t channels;
  std::int64_t image_stride;
  std::int64_t input_stride[3];
  std::int64_t input_size[3];
  std::int64_t output_size[3];
  std::int64_t kernel[3];
  std::int64_t stride[3];
  std::int64_t padding[3];
  std::int64_t dilation[3];
};

// What the weights of panels are, in words of float32's size: a number, two of bfloat16, or four of int8. Sums are
// float32, and int32 of int8.
enum class PanelType : int { kFloat32 = 0, kBFloat16, kInt8 };

// output[rows][columns] = activation(input[rows][depth] @ weights + bias), or some parts of its sums. Of types whose
// words have several numbers `depth`, `terms` and `panel_stride` count words; int8 has int32 in `bias` and `output`,
// and no activation.
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
  std::int64_t terms = kTerms;  // of a part, at most
  PanelType type = PanelType::kFloat32;
  bool rounds = false;  // tiles write bfloat16, and `output_stride` counts those
  std::int64_t begin;   // parts of the sums; the others are added to what calls before this have made. Few rows: all
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

// Some elements of a convolution: `pixels` from `first_pixel` on of some lines
// of the output, which is [images][depth][height][width][output_stride].
struct ConvolutionBlock {
  const Window* window;
  const float* weights;  // panels of [kernel depth][height][width][channels][kPanelColumns]
  std::int64_t panel_stride;
  const float* bias;  // kPanelColumns for each panel
  float* output;      // the whole, from the first of `columns` on
  std::int64_t output_stride;
  std::int64_t columns;
  std::int64_t first_line;
  std::int64_t lines;
  std::int64_t first_pixel;
  std::int64_t pixels;
  Activation activation;
  float alpha;
  float* beside;  // [lines][pixels][kPanelColumns], for sums of columns that are no whole tile
};

// A vector of every instruction set is full of so many.
constexpr std::int64_t kGroupedChannels = 16;

// Some lines of a depthwise convolution's output, which is [images][depth][height][width][channels], or of one whose
// groups have as few channels of the input as of the output. Those have kGroupedChannels or more in all.
struct DepthwiseLines {
  const Window* window;
  std::int64_t group;    // its channels: 1, 2, 4 or 8
  const float* weights;  // [kernel depth][height][width][group][stride]
  const float* bias;
  std::int64_t stride;  // at least channels, and a multiple of kPanelColumns
  float* output;        // the whole
  std::int64_t first_line;
  std::int64_t lines;
  Activation activation;
  float alpha;
};

// Tiles of 2 x 2 elements of a convolution's output, by lines; at the end of a line or of the lines they have less. The
// kernel is 3 x 3, its stride and dilation are 1.
struct WinogradTiles {
  const Window* window;
  std::int64_t image;
  std::int64_t first;
  std::int64_t count;
};

// What makes a panel's columns of some tiles.
struct WinogradSums {
  const float* sums;  // [4][4][tiles][kPanelColumns]
  const float* bias;
  float* output;  // the image, from the first of the columns on
  std::int64_t output_stride;
  std::int64_t columns;  // at most kPanelColumns
  Activation activation;
  float alpha;
};

// Transformed values of the input times this are finite where Winograd's method is used: larger ones would make their
// neighbours' results inexact, and those of infinity are no numbers.
constexpr float kWinogradScale = 0x1p104F;

using ActivationFunction = void (*)(const ActivatedRows&) noexcept;

// Products with one type of weights.
struct PanelMultiplication {
  void (*run)(const PanelProduct&);
  // Words of the input for one of the weights. 1: the input is like the weights. 2: bfloat16 is float32; int8 is 16
  // bits wide, the first and the third value of a word, then the others.
  std::int64_t words;
  // It makes whole sums of any number of rows. Words from `depth` on, up to a multiple of kPanelRows, have to be zero.
  bool has_tiles;
  // Of int8: what is added to values of the input, which are unsigned then.
  int offset;
};

struct PanelKernels {
  std::int64_t tile_rows;
  std::int64_t few_rows;  // up to which all rows are one tile
  PanelMultiplication products[3];
  const PanelMultiplication& of(PanelType type) const noexcept { return products[static_cast<int>(type)]; }
  void (*convolve)(const ConvolutionBlock&) noexcept;
  void (*depthwise)(const DepthwiseLines&) noexcept;
  // to[4][4][tiles][stride] is what the tiles read, transformed; stride: channels and up to a vector more. `copy` has
  // room for 16 channels. False: some values are too large.
  bool (*winograd_input)(const WinogradTiles&, float* copy, float* to, std::int64_t stride) noexcept;
  void (*winograd_output)(const WinogradTiles&, const WinogradSums&) noexcept;
  const ActivationFunction* activate;  // by Activation
};

// The best that this machine runs.
const PanelKernels& panel_kernels() noexcept;

// The best for products with such weights. The first call for others than float32 asks the system for AMX, which makes
// the frames of signals larger: it is not for processes that multiply float32 alone.
const PanelKernels& panel_kernels(PanelType type) noexcept;

// For "amx", "avx512bf16", "avx512vnni", "avx512", "avxvnni", "avx2" or "dotprod", null where this machine does not run
// it; those for a null `isa` run everywhere.
const PanelKernels* panel_kernels_for(const char* isa) noexcept;

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_PANEL_KERNELS_HPP_
