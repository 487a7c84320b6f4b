#include "kernels/panel_product.hpp"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/packing.hpp"
#include "kernels/panel_kernels.hpp"

namespace aotbuild::detail {

namespace {

// What one thread takes at a time: so many rows, and so many of their values, which stay in the second cache while the
// weights pass.
constexpr std::int64_t kSharedRows = 192;
constexpr std::int64_t kSharedValues = 96 << 10;

// Sums of integers are exact however they are made.
constexpr std::int64_t kIntegerTerms = 1024;

// Products of so many numbers are a share that a thread is woken for.
constexpr std::int64_t kShare = 1 << 16;

struct Range {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t size() const { return end - begin; }
};

// Part `i` of `count` about equal ones.
Range part_of(std::int64_t total, std::int64_t i, std::int64_t count) {
  return {total * i / count, total * (i + 1) / count};
}

bool is_copied(const PanelProduct& product) {
  return product.type == PanelType::kFloat32 && product.input_stride % kEvilValues == 0 &&
         product.columns >= 4 * kPanelColumns;
}

// Parts of the sums that are made together for a block of `rows`.
std::int64_t parts_together(const PanelProduct& product) {
  return std::max<std::int64_t>(1, kSharedValues / (product.rows * product.terms));
}

// For a block's copy of its input, and for sums of columns that are no whole tile.
std::int64_t buffer_values(const PanelProduct& product) {
  const std::int64_t rows = std::min(product.rows, kSharedRows);
  const std::int64_t beside = rows * kPanelColumns;
  if (!is_copied(product)) return beside;
  return beside + rows * kRowGap + std::min(rows * product.depth, std::max(kSharedValues, rows * kTerms));
}

void multiply_block(const PanelKernels& kernels, PanelProduct block, float* buffer) {
  const PanelMultiplication& multiplication = kernels.of(block.type);
  const float* const input = block.input;
  const std::int64_t stride = block.input_stride;
  const std::int64_t parts = term_parts(block.depth, block.terms);
  const std::int64_t blocks = pieces(parts, parts_together(block));
  const bool copied = is_copied(block);
  block.beside = buffer;
  float* const copy = buffer + block.rows * kPanelColumns;
  for (std::int64_t i = 0; i < blocks; ++i) {
    const Range range = part_of(parts, i, blocks);
    block.begin = range.begin;
    block.end = range.end;
    const std::int64_t first = first_term(block.depth, range.begin, block.terms);
    block.input = input + first * multiplication.words;
    if (copied) {
      const std::int64_t terms = first_term(block.depth, range.end, block.terms) - first;
      block.input_stride = terms + kRowGap;
      for (std::int64_t row = 0; row < block.rows; ++row) {
        std::memcpy(copy + row * block.input_stride, input + first + row * stride,
                    static_cast<std::size_t>(terms) * sizeof(float));
      }
      block.input = copy;
    }
    multiplication.run(block);
  }
}

// Some rows of some panels.
PanelProduct cut(const PanelKernels& kernels, const PanelProduct& product, const Range& rows, const Range& panels) {
  PanelProduct result = product;
  const std::int64_t column = panels.begin * kPanelColumns;
  result.input += rows.begin * product.input_stride;
  result.weights += panels.begin * product.panel_stride;
  result.bias += column;
  const std::int64_t to = rows.begin * product.output_stride + column;
  result.output = product.rounds && kernels.of(product.type).has_tiles
                      ? reinterpret_cast<float*>(reinterpret_cast<std::uint16_t*>(product.output) + to)
                      : product.output + to;
  result.rows = rows.size();
  result.columns = std::min(product.columns, panels.end * kPanelColumns) - column;
  return result;
}

void multiply_share(const PanelKernels& kernels, PanelProduct share, float* buffer) {
  if (share.rows <= kernels.few_rows || kernels.of(share.type).has_tiles) {
    share.end = term_parts(share.depth, share.terms);
    return kernels.of(share.type).run(share);
  }
  const Range all{0, pieces(share.columns, kPanelColumns)};
  const std::int64_t blocks = pieces(share.rows, kSharedRows);
  for (std::int64_t i = 0; i < blocks; ++i) {
    multiply_block(kernels, cut(kernels, share, part_of(share.rows, i, blocks), all), buffer);
  }
}

// How a product is cut for threads: the largest share is as small as may be, then what it reads.
struct Grid {
  std::int64_t rows = 1;
  std::int64_t panels = 1;
};

Grid grid_of(const PanelProduct& product, std::int64_t panel_count, std::int64_t tile_rows) {
  const std::int64_t work = product.rows * product.columns * std::max<std::int64_t>(product.depth, 1);
  const std::int64_t shares = std::min<std::int64_t>(omp_in_parallel() != 0 ? 1 : omp_get_max_threads(), work / kShare);
  Grid best;
  std::int64_t best_work = 0;
  std::int64_t best_reads = 0;
  for (std::int64_t rows = 1; rows <= shares; ++rows) {
    const Grid grid{std::min(rows, product.rows), std::min(shares / rows, panel_count)};
    const std::int64_t row_count = pieces(product.rows, grid.rows);
    const std::int64_t columns = pieces(panel_count, grid.panels) * kPanelColumns;
    const std::int64_t most = pieces(row_count, tile_rows) * columns;
    const std::int64_t reads = row_count + columns;
    if (rows > 1 && (most > best_work || (most == best_work && reads >= best_reads))) continue;
    best = grid;
    best_work = most;
    best_reads = reads;
  }
  return best;
}

// Packs one panel. In blocks of kPanelRows, which are a cache line of a row of the weights.
void pack_panel(const Column* columns, std::int64_t count, std::int64_t rows, float* panel) {
  for (std::int64_t first = 0; first < rows; first += kPanelRows) {
    float* const block = panel + first * kPanelColumns;
    const std::int64_t block_rows = std::min(kPanelRows, rows - first);
    if (block_rows < kPanelRows || count < kPanelColumns) {
      std::memset(block, 0, static_cast<std::size_t>(kPanelRows * kPanelColumns) * sizeof(float));
    }
    for (std::int64_t column = 0; column < count; ++column) {
      const float* const from = columns[column].data + first * columns[column].stride;
      for (std::int64_t row = 0; row < block_rows; ++row) {
        block[row * kPanelColumns + column] = from[row * columns[column].stride];
      }
    }
  }
}

PanelProduct product_of(const Rows& input, const Panels& panels, Activation activation, double alpha,
                        const Rows& output) {
  PanelProduct product{};
  product.input = input.data;
  product.input_stride = input.stride;
  product.weights = panels.weights;
  product.panel_stride = pieces(panels.depth, kPanelRows) * kPanelRows * kPanelColumns;
  product.bias = panels.bias;
  product.output = output.data;
  product.output_stride = output.stride;
  product.rows = input.count;
  product.depth = panels.depth;
  product.type = panels.type;
  product.rounds = panels.rounds;
  if (panels.type == PanelType::kBFloat16) product.terms = kTerms / 2;
  if (panels.type == PanelType::kInt8) product.terms = kIntegerTerms;
  product.columns = panels.columns;
  product.activation = activation;
  product.alpha = static_cast<float>(alpha);
  return product;
}

std::int64_t share_values(const PanelKernels& kernels, const PanelProduct& product) {
  return product.rows <= kernels.few_rows ? 0 : buffer_values(product);
}

}  // namespace

std::int64_t packed_values(std::int64_t rows, std::int64_t columns) {
  return pieces(rows, kPanelRows) * kPanelRows * pieces(columns, kPanelColumns) * kPanelColumns;
}

void pack_panels(const std::vector<Column>& columns, std::int64_t rows, float* packed) {
  const auto count = static_cast<std::int64_t>(columns.size());
  const std::int64_t panels = pieces(count, kPanelColumns);
  const std::int64_t values = packed_values(rows, kPanelColumns);
#pragma omp parallel for if (panels * values > 1 << 16)
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    const std::int64_t first = panel * kPanelColumns;
    pack_panel(columns.data() + first, std::min(kPanelColumns, count - first), rows, packed + panel * values);
  }
}

void multiply_panels(Workspace& workspace, const Rows& input, const Panels& panels, Activation activation, double alpha,
                     const Rows& output) {
  if (input.count == 0 || panels.columns == 0) return;
  const PanelKernels& kernels = panel_kernels(panels.type);
  const PanelProduct product = product_of(input, panels, activation, alpha, output);
  const std::int64_t panel_count = pieces(panels.columns, kPanelColumns);
  const Grid grid = grid_of(product, panel_count, kernels.tile_rows);
  const std::int64_t shares = grid.rows * grid.panels;
  const std::int64_t values = share_values(kernels, product);
  const ScratchBuffer scratch(workspace, static_cast<std::size_t>(shares * values) * sizeof(float));
  auto* const buffers = static_cast<float*>(scratch.data());
#pragma omp parallel for schedule(static, 1) if (shares > 1)
  for (std::int64_t i = 0; i < shares; ++i) {
    const Range rows = part_of(product.rows, i % grid.rows, grid.rows);
    const Range share_panels = part_of(panel_count, i / grid.rows, grid.panels);
    multiply_share(kernels, cut(kernels, product, rows, share_panels), buffers + i * values);
  }
}

std::int64_t values_alone(const Rows& input, const Panels& panels) {
  return share_values(panel_kernels(panels.type), product_of(input, panels, Activation::kNone, 0, input));
}

void multiply_panels_alone(const Rows& input, const Panels& panels, Activation activation, double alpha,
                           const Rows& output, float* buffer) {
  if (input.count == 0 || panels.columns == 0) return;
  multiply_share(panel_kernels(panels.type), product_of(input, panels, activation, alpha, output), buffer);
}

}  // namespace aotbuild::detail
