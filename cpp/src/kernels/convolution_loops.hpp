// The loops of dense convolutions: kernels/panel_kernels.hpp. Included by kernels/panel_loops.hpp.

// Terms of the sums of a convolution that are made together: lines [begin, end) of the kernel's height at one depth,
// terms [first, last) of each of them, which is [width][channels].
struct Part {
  std::int64_t depth;
  Reach height;
  std::int64_t first;
  std::int64_t last;
};

// The parts of a kernel: at most kTerms each, of some lines the same piece, which is one of the input too.
struct Parts {
  std::int64_t line;    // terms of a line
  std::int64_t whole;   // terms of a line, or of one place in it, that lie together in the input
  std::int64_t pieces;  // of a line
  std::int64_t groups;  // of lines
  std::int64_t count;
};

AOTBUILD_INLINE Parts parts_of(const Window& window) {
  const std::int64_t line = window.kernel[2] * window.channels;
  const std::int64_t whole = has_whole_lines(window) ? line : window.channels;
  const std::int64_t pieces = line / whole * term_parts(whole);
  const std::int64_t together = whole < kTerms ? kTerms / whole : 1;
  const std::int64_t groups = (window.kernel[1] + together - 1) / together;
  return {line, whole, pieces, groups, window.kernel[0] * groups * pieces};
}

AOTBUILD_INLINE Part part_of(const Window& window, const Parts& parts, std::int64_t i) {
  const std::int64_t in_whole = term_parts(parts.whole);
  const std::int64_t start = i % parts.pieces / in_whole * parts.whole;
  const std::int64_t piece = i % in_whole;
  const std::int64_t group = i / parts.pieces % parts.groups;
  return {i / parts.pieces / parts.groups,
          {window.kernel[1] * group / parts.groups, window.kernel[1] * (group + 1) / parts.groups},
          start + first_term(parts.whole, piece),
          start + first_term(parts.whole, piece + 1)};
}

AOTBUILD_INLINE const float* weights_at(const ConvolutionBlock& block, const Parts& parts, const Part& part,
                                        std::int64_t vector) {
  return block.weights + vector / kPanelVectors * block.panel_stride + vector % kPanelVectors * kWidth +
         ((part.depth * block.window->kernel[1] + part.height.begin) * parts.line + part.first) * kPanelColumns;
}

// Where sums of a block are, from its first element on.
struct BlockSums {
  float* data;
  std::int64_t stride;       // from one to the next along the width
  std::int64_t line_stride;  // from one line to the next
};

// Elements of the output in one tile: `count` along the width, or down the lines, with the same reach; `lines`: 2 has
// as many of the next line too.
struct Span {
  Place place;  // of the first
  std::int64_t line;
  std::int64_t count;
  std::int64_t lines;
  bool is_down;
  Reach depth;
  Reach height;
  Reach width;
};

// Writes the sums of a tile to the output, with activations that it has not made.
AOTBUILD_INLINE void finish_span(const ConvolutionBlock& block, std::int64_t column, std::int64_t columns,
                                 const Span& span, const BlockSums& all) {
  const std::int64_t width = block.window->output_size[2];
  const std::int64_t left = block.columns - column;
  for (std::int64_t line = span.line; line < span.line + span.lines; ++line) {
    const float* const sums =
        all.data + (line - block.first_line) * all.line_stride + (span.place.at[2] - block.first_pixel) * all.stride;
    float* const output = block.output + (line * width + span.place.at[2]) * block.output_stride + column;
    if (sums == output && !is_left(block.activation)) return;
    kActivate[static_cast<int>(block.activation)]({sums, span.is_down ? all.line_stride : all.stride, output,
                                                   span.is_down ? width * block.output_stride : block.output_stride,
                                                   span.count, left < columns ? left : columns, block.alpha});
  }
}

// Adds a part of the terms to a tile of sums, which its last terms finish.
template <int kVectors>
AOTBUILD_INLINE void add_part(const ConvolutionBlock& block, const Parts& parts, const Part& part, std::int64_t vector,
                              const Span& span, const BlockSums& all, const char** next, std::int64_t next_step) {
  const Window& window = *block.window;
  const Reach terms{span.width.begin * window.channels, span.width.end * window.channels};
  const bool is_empty =
      span.depth.begin == span.depth.end || span.height.begin == span.height.end || terms.begin == terms.end;
  const Reach lines{part.height.begin > span.height.begin ? part.height.begin : span.height.begin,
                    part.height.end < span.height.end ? part.height.end : span.height.end};
  const Reach here{part.first > terms.begin ? part.first : terms.begin, part.last < terms.end ? part.last : terms.end};
  bool is_first = part.depth == 0 && part.height.begin == 0 && part.first == 0;
  bool is_last = is_first;
  if (is_empty) {
    if (!is_first) return;  // the bias alone, with the first part
  } else {
    if (part.depth < span.depth.begin || part.depth >= span.depth.end || lines.begin >= lines.end ||
        here.begin >= here.end) {
      return;
    }
    is_first = part.depth == span.depth.begin && lines.begin == span.height.begin && here.begin == terms.begin;
    is_last = part.depth + 1 == span.depth.end && lines.end == span.height.end && here.end == terms.end;
  }
  const std::int64_t count = is_empty ? 0 : here.end - here.begin;
  const std::int64_t runs = is_empty ? 0 : lines.end - lines.begin;
  const std::int64_t place = parts.whole < parts.line ? here.begin / window.channels : 0;  // along the width
  const std::int64_t at = span.place.at[2] - block.first_pixel;
  const std::int64_t line_step = window.dilation[1] * window.input_stride[1];
  const std::int64_t input = span.place.image * window.image_stride +
                             source_of(window, 0, span.place.at[0], part.depth) * window.input_stride[0] +
                             source_of(window, 1, span.place.at[1], lines.begin) * window.input_stride[1] +
                             source_of(window, 2, span.place.at[2], place) * window.input_stride[2] +
                             (here.begin - place * window.channels);
  float* const sums = all.data + (span.line - block.first_line) * all.line_stride + at * all.stride;
  const std::int64_t stride = span.is_down ? all.line_stride : all.stride;
  const float* const weights =
      weights_at(block, parts, part, vector) +
      ((lines.begin - part.height.begin) * parts.line + here.begin - part.first) * kPanelColumns;
  const std::int64_t input_line = window.stride[1] * window.input_stride[1];
  const std::int64_t input_stride = span.is_down ? input_line : window.stride[2] * window.input_stride[2];
  const std::int64_t half = (span.count + 1) / 2;
  const bool has_lines = span.lines == 2;
  TilesOf<Float32Terms, kVectors>::kAll[span.count * span.lines - 1](
      {is_empty ? window.input : window.input + input, input_stride, has_lines ? input_line : half * input_stride,
       weights, block.panel_stride, count, runs, line_step - count, (parts.line - count) * kPanelColumns,
       is_first ? block.bias + vector * kWidth : sums, is_first ? 0 : stride,
       is_first ? 0 : (has_lines ? all.line_stride : half * stride), sums, stride,
       has_lines ? all.line_stride : half * stride, low_of(block.activation, is_last), *next, next_step});
  *next += count * runs * next_step;
  if (is_last) finish_span(block, vector * kWidth, kVectors * kWidth, span, all);
}

// Calls `take` with the tiles of a block: along the width where the whole kernel is in the input, and down the lines
// where it is not, so that those have several elements too.
template <typename Take>
AOTBUILD_INLINE void for_each_span(const ConvolutionBlock& block, std::int64_t most, const Take& take) {
  const Window& window = *block.window;
  const std::int64_t last_pixel = block.first_pixel + block.pixels;
  Inner inner = inner_of(window);
  inner.begin = inner.begin > block.first_pixel ? inner.begin : block.first_pixel;
  inner.begin = inner.begin < last_pixel ? inner.begin : last_pixel;
  inner.end = inner.end < last_pixel ? inner.end : last_pixel;
  inner.end = inner.end > inner.begin ? inner.end : inner.begin;
  const std::int64_t length = inner.end - inner.begin;
  const std::int64_t tiles = (length + most - 1) / most;
  Span span{};
  const auto set_line = [&](std::int64_t line) {
    span.line = line;
    span.place = place_of(window, line * window.output_size[2]);
    span.depth = reach_of(window, 0, span.place.at[0]);
    span.height = reach_of(window, 1, span.place.at[1]);
  };
  const std::int64_t last_line = block.first_line + block.lines;
  // Lines from `line` on that read alike, `limit` at most.
  const auto alike = [&](std::int64_t line, std::int64_t limit) {
    std::int64_t count = 1;
    for (; count < limit && line + count < last_line; ++count) {
      const Place below = place_of(window, (line + count) * window.output_size[2]);
      const Reach height = reach_of(window, 1, below.at[1]);
      if (below.image != span.place.image || below.at[0] != span.place.at[0] || height.begin != span.height.begin ||
          height.end != span.height.end) {
        break;
      }
    }
    return count;
  };
  for (std::int64_t line = block.first_line; line < last_line; line += span.lines) {
    set_line(line);
    span.lines = 2 * length <= most ? alike(line, 2) : 1;
    span.width = {0, window.kernel[2]};
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::int64_t begin = length * tile / tiles;
      span.place.at[2] = inner.begin + begin;
      span.count = length * (tile + 1) / tiles - begin;
      take(span);
    }
  }
  if (length == block.pixels) return;
  span.is_down = true;
  span.lines = 1;
  for (std::int64_t line = block.first_line; line < last_line; line += span.count) {
    set_line(line);
    span.count = alike(line, most);
    for (std::int64_t at = block.first_pixel; at < last_pixel; ++at) {
      if (at == inner.begin) at = inner.end;
      if (at >= last_pixel) break;
      span.place.at[2] = at;
      span.width = reach_of(window, 2, at);
      take(span);
    }
  }
}

template <int kVectors>
void convolve_columns(const ConvolutionBlock& block, std::int64_t vector, const BlockSums& all) {
  constexpr std::int64_t kLine = kPanelColumns * static_cast<std::int64_t>(sizeof(float));
  const Parts parts = parts_of(*block.window);
  const std::int64_t tiles = pieces(block.lines * block.pixels, kMaxRows);  // about
  const std::int64_t step = kAskingReads ? 0 : pieces(kLine, tiles);
  for (std::int64_t i = 0; i < parts.count; ++i) {
    const Part part = part_of(*block.window, parts, i);
    const bool is_last = i + 1 == parts.count;
    const float* const after = weights_at(block, parts, part_of(*block.window, parts, is_last ? 0 : i + 1),
                                          is_last && !kAskingReads ? vector + kVectors : vector);
    const auto* next = reinterpret_cast<const char*>(after);
    for_each_span(block, kMaxRows,
                  [&](const Span& span) { add_part<kVectors>(block, parts, part, vector, span, all, &next, step); });
  }
}

inline void convolve(const ConvolutionBlock& block) noexcept {
  const std::int64_t vectors = (block.columns + kWidth - 1) / kWidth;
  const std::int64_t whole = block.columns / (kWide * kWidth) * kWide;
  const std::int64_t width = block.window->output_size[2];
  float* const first = block.output + (block.first_line * width + block.first_pixel) * block.output_stride;
  for (std::int64_t vector = 0; vector < whole; vector += kWide) {
    convolve_columns<kWide>(block, vector, {first + vector * kWidth, block.output_stride, width * block.output_stride});
  }
  if (whole == vectors) return;
  const BlockSums beside{block.beside, kWide * kWidth, block.pixels * kWide * kWidth};
  if (vectors - whole > kWide / 2) return convolve_columns<kWide>(block, whole, beside);
  const bool is_whole = block.columns - whole * kWidth == kWide / 2 * kWidth;
  const BlockSums direct{first + whole * kWidth, block.output_stride, width * block.output_stride};
  convolve_columns<kWide / 2>(block, whole, is_whole ? direct : beside);
}
