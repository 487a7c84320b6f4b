// The transformations of convolutions with a kernel of 3 x 3 by Winograd's method (winograd_convolution.hpp). Included
// by kernels/panel_loops.hpp.

constexpr std::int64_t kPatch = 4;                 // elements of the input that a tile reads, along a side
constexpr std::int64_t kPlaces = kPatch * kPatch;  // products that make a tile

// Where the elements of the input of a tile lie: in the input, or in a copy with zeros for what is outside.
struct Patch {
  const float* data;
  std::int64_t line_stride;
  std::int64_t stride;
};

AOTBUILD_INLINE Patch patch_of(const WinogradTiles& tiles, std::int64_t line, std::int64_t column, float* copy) {
  const Window& window = *tiles.window;
  const float* const image = window.input + tiles.image * window.image_stride;
  const std::int64_t top = 2 * line - window.padding[1];
  const std::int64_t left = 2 * column - window.padding[2];
  if (top >= 0 && left >= 0 && top + kPatch <= window.input_size[1] && left + kPatch <= window.input_size[2]) {
    return {image + top * window.input_stride[1] + left * window.input_stride[2], window.input_stride[1],
            window.input_stride[2]};
  }
  const std::int64_t channels = window.channels;
  const std::size_t nbytes = static_cast<std::size_t>(channels) * sizeof(float);
  float* to = copy;
  for (std::int64_t y = top; y < top + kPatch; ++y) {
    for (std::int64_t x = left; x < left + kPatch; ++x, to += channels) {
      if (is_in(window, 1, y) && is_in(window, 2, x)) {
        __builtin_memcpy(to, image + y * window.input_stride[1] + x * window.input_stride[2], nbytes);
      } else {
        __builtin_memset(to, 0, nbytes);
      }
    }
  }
  return {copy, kPatch * channels, channels};
}

// B^T d B for a vector of channels; the places are by lines. `check` is no longer finite after a value that is too
// large for the method: each element of the input is in one of the four corners.
template <typename Load>
AOTBUILD_INLINE void transform_input(const Patch& patch, std::int64_t channel, const Load& load_values, float* to,
                                     std::int64_t place_stride, Floats* check) {
  Floats lines[kPatch][kPatch];
#pragma GCC unroll 4
  for (int x = 0; x < kPatch; ++x) {
    const float* const from = patch.data + x * patch.stride + channel;
    const Floats a = load_values(from);
    const Floats b = load_values(from + patch.line_stride);
    const Floats c = load_values(from + 2 * patch.line_stride);
    const Floats d = load_values(from + 3 * patch.line_stride);
    lines[0][x] = a - c;
    lines[1][x] = b + c;
    lines[2][x] = c - b;
    lines[3][x] = b - d;
  }
#pragma GCC unroll 4
  for (int y = 0; y < kPatch; ++y, to += kPatch * place_stride) {
    const Floats* const line = lines[y];
    const Floats first = line[0] - line[2];
    const Floats last = line[1] - line[3];
    store(to, first);
    store(to + place_stride, line[1] + line[2]);
    store(to + 2 * place_stride, line[2] - line[1]);
    store(to + 3 * place_stride, last);
    if (y == 0 || y == kPatch - 1) {
      *check = multiply_add(first, every(kWinogradScale), *check);
      *check = multiply_add(last, every(kWinogradScale), *check);
    }
  }
}

inline bool winograd_input(const WinogradTiles& tiles, float* copy, float* to, std::int64_t stride) noexcept {
  const std::int64_t across = (tiles.window->output_size[2] + 1) / 2;
  const std::int64_t channels = tiles.window->channels;
  const std::int64_t whole = channels / kWidth * kWidth;
  const std::int64_t place_stride = tiles.count * stride;
  Floats check = {};
  for (std::int64_t i = 0; i < tiles.count; ++i, to += stride) {
    const std::int64_t tile = tiles.first + i;
    const Patch patch = patch_of(tiles, tile / across, tile % across, copy);
    for (std::int64_t channel = 0; channel < whole; channel += kWidth) {
      transform_input(patch, channel, load<float>, to + channel, place_stride, &check);
    }
    if (whole == channels) continue;
    const auto load_rest = [&](const float* from)
                               __attribute__((always_inline)) { return load_part(from, channels - whole); };
    transform_input(patch, whole, load_rest, to + whole, place_stride, &check);
  }
  const Floats zero = check - check;
  bool is_finite = true;
  for (int i = 0; i < kWidth; ++i) is_finite = is_finite && zero[i] == 0.0F;
  return is_finite;
}

// A^T m A of a vector of columns, and the bias: the elements of a tile, by lines.
AOTBUILD_INLINE void transform_sums(const float* sums, std::int64_t place_stride, Floats bias, Floats low,
                                    Floats (&elements)[4]) {
  Floats lines[2][kPatch];
#pragma GCC unroll 4
  for (int x = 0; x < kPatch; ++x) {
    const float* const from = sums + x * place_stride;
    const Floats a = load(from);
    const Floats b = load(from + kPatch * place_stride);
    const Floats c = load(from + 2 * kPatch * place_stride);
    const Floats d = load(from + 3 * kPatch * place_stride);
    lines[0][x] = a + (b + c);
    lines[1][x] = (b - c) - d;
  }
#pragma GCC unroll 2
  for (int y = 0; y < 2; ++y) {
    const Floats* const line = lines[y];
    const Floats left = bias + (line[0] + (line[1] + line[2]));
    const Floats right = bias + ((line[1] - line[2]) - line[3]);
    elements[2 * y] = at_least(low, left);
    elements[2 * y + 1] = at_least(low, right);
  }
}

inline void winograd_output(const WinogradTiles& tiles, const WinogradSums& sums) noexcept {
  const Window& window = *tiles.window;
  const std::int64_t height = window.output_size[1];
  const std::int64_t width = window.output_size[2];
  const std::int64_t across = (width + 1) / 2;
  const std::int64_t place_stride = tiles.count * kPanelColumns;
  const Floats low = every(low_of(sums.activation, true));
  const float* from = sums.sums;
  for (std::int64_t i = 0; i < tiles.count; ++i, from += kPanelColumns) {
    const std::int64_t line = (tiles.first + i) / across * 2;
    const std::int64_t column = (tiles.first + i) % across * 2;
    const std::int64_t lines = line + 2 <= height ? 2 : 1;
    const std::int64_t columns = column + 2 <= width ? 2 : 1;
    float* const to = sums.output + (line * width + column) * sums.output_stride;
    for (std::int64_t first = 0; first < sums.columns; first += kWidth) {
      Floats elements[4];
      transform_sums(from + first, place_stride, load(sums.bias + first), low, elements);
      const std::int64_t left = sums.columns - first;
      for (std::int64_t y = 0; y < lines; ++y) {
        for (std::int64_t x = 0; x < columns; ++x) {
          float* const at = to + (y * width + x) * sums.output_stride + first;
          if (left >= kWidth) {
            store(at, elements[2 * y + x]);
          } else {
            store_part(at, elements[2 * y + x], left);
          }
        }
      }
    }
    if (!is_left(sums.activation)) continue;
    for (std::int64_t y = 0; y < lines; ++y) {
      float* const at = to + y * width * sums.output_stride;
      kActivate[static_cast<int>(sums.activation)](
          {at, sums.output_stride, at, sums.output_stride, columns, sums.columns, sums.alpha});
    }
  }
}
