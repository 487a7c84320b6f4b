// The loops of depthwise convolutions, and of those whose groups have few channels: kernels/panel_kernels.hpp. Included
// by kernels/panel_loops.hpp.

// In each group of kGroup lanes, the value of lane kIndex.
template <int kGroup, int kIndex, int... kLane>
AOTBUILD_INLINE Floats spread_in_groups(Floats value, std::integer_sequence<int, kLane...>) {
#if defined(__clang__)
  return __builtin_shufflevector(value, value, (kLane / kGroup * kGroup + kIndex)...);
#else
  return __builtin_shuffle(value, Words{static_cast<std::uint32_t>(kLane / kGroup * kGroup + kIndex)...});
#endif
}

// What the channels from `channel` on meet at `from`: each of them channel kIndex of its group.
template <int kGroup, int kIndex>
AOTBUILD_INLINE Floats group_values(const float* from, std::int64_t channel) {
  if constexpr (kGroup == 1) {
    return load(from + channel);
  } else if constexpr (kGroup > kWidth) {
    return every(from[channel / kGroup * kGroup + kIndex]);
  } else {
    using Lanes = std::make_integer_sequence<int, static_cast<int>(kWidth)>;
    return spread_in_groups<kGroup, kIndex>(load(from + channel), Lanes{});
  }
}

// Neighbouring elements of one line of a depthwise convolution's output.
struct Pixels {
  std::int64_t source;  // along the width of the input, what the first of them reads at the kernel's first place
  std::int64_t image;   // in the input, the start of the image
  std::int64_t at[2];   // along depth and height, as `source`
  Reach reach[2];
  float* output;
};

// One line of the kernel on a tile, of channel kIndex of the groups. kKernel and kStride are the kernel's size and
// stride along the width, without gaps; 0: any. `line`: of the input; `weights`: of the channels from `channel` on.
template <int kPixels, int kKernel, int kStride, int kGroup, int kIndex>
AOTBUILD_INLINE void add_line(const DepthwiseLines& lines, const float* line, std::int64_t channel, std::int64_t source,
                              const float* weights, Floats (&sums)[kPixels]) {
  const Window& window = *lines.window;
  const std::int64_t step = window.input_stride[2];
  weights += kIndex * lines.stride;
  if constexpr (kKernel > 0) {
    const std::int64_t first = -source;  // what lies in the input begins and ends there
    const std::int64_t last = window.input_size[2] - source;
    Floats taps[kKernel];
#pragma GCC unroll 16
    for (int k = 0; k < kKernel; ++k) taps[k] = load(weights + k * kGroup * lines.stride);
    std::int64_t offset = source * step;
#pragma GCC unroll 64
    for (int j = 0; j < (kPixels - 1) * kStride + kKernel; ++j) {
      if (j >= first && j < last) {
        const Floats value = group_values<kGroup, kIndex>(line + offset, channel);
#pragma GCC unroll 16
        for (int k = 0; k < kKernel; ++k) {
          const int pixel = (j - k) / kStride;
          if ((j - k) % kStride == 0 && j >= k && pixel < kPixels) {
            sums[pixel] = multiply_add(value, taps[k], sums[pixel]);
          }
        }
      }
      offset += step;
      __asm__("" : "+r"(offset));  // GCC would make all of them first, and spill them
    }
  } else {
    for (std::int64_t k = 0; k < window.kernel[2]; ++k, weights += kGroup * lines.stride) {
      const Floats weight = load(weights);
      std::int64_t at = source + k * window.dilation[2];
      std::int64_t offset = at * step;
#pragma GCC unroll 16
      for (int p = 0; p < kPixels; ++p) {
        if (is_in(window, 2, at)) {
          const Floats value = group_values<kGroup, kIndex>(line + offset, channel);
          sums[p] = multiply_add(value, weight, sums[p]);
        }
        at += window.stride[2];
        offset += window.stride[2] * step;
        __asm__("" : "+r"(offset));
      }
    }
  }
}

template <int kPixels, int kKernel, int kStride, int kGroup, int... kIndex>
AOTBUILD_INLINE void add_lines(const DepthwiseLines& lines, const float* line, std::int64_t channel,
                               std::int64_t source, const float* weights, Floats (&sums)[kPixels],
                               std::integer_sequence<int, kIndex...>) {
  (add_line<kPixels, kKernel, kStride, kGroup, kIndex>(lines, line, channel, source, weights, sums), ...);
}

template <int kPixels, int kKernel, int kStride, int kGroup>
__attribute__((noinline)) void depthwise_tile(const DepthwiseLines& lines, const Pixels& pixels) noexcept {
  const Window& window = *lines.window;
  const std::int64_t channels = window.channels;
  const Floats low = every(low_of(lines.activation, true));
  for (std::int64_t next = 0; next < channels; next += kWidth) {
    // The last vector has values of the one before it again.
    const std::int64_t channel = next + kWidth <= channels ? next : channels - kWidth;
    Floats sums[kPixels];
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) sums[p] = load(lines.bias + channel);
    for (std::int64_t d = pixels.reach[0].begin; d < pixels.reach[0].end; ++d) {
      for (std::int64_t h = pixels.reach[1].begin; h < pixels.reach[1].end; ++h) {
        const float* const line =
            window.input + (pixels.image + (pixels.at[0] + d * window.dilation[0]) * window.input_stride[0] +
                            (pixels.at[1] + h * window.dilation[1]) * window.input_stride[1]);
        const float* const weights =
            lines.weights + (d * window.kernel[1] + h) * window.kernel[2] * kGroup * lines.stride;
        add_lines<kPixels, kKernel, kStride, kGroup>(lines, line, channel, pixels.source, weights + channel, sums,
                                                     std::make_integer_sequence<int, kGroup>{});
      }
    }
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) {
      store(pixels.output + p * channels + channel, at_least(low, sums[p]));
    }
  }
}

// One element of fewer channels than a vector has values.
inline void depthwise_part(const DepthwiseLines& lines, const Pixels& pixels) noexcept {
  const Window& window = *lines.window;
  for (std::int64_t channel = 0; channel < window.channels; ++channel) {
    float sum = lines.bias[channel];
    for (std::int64_t d = pixels.reach[0].begin; d < pixels.reach[0].end; ++d) {
      for (std::int64_t h = pixels.reach[1].begin; h < pixels.reach[1].end; ++h) {
        const std::int64_t line = pixels.image + (pixels.at[0] + d * window.dilation[0]) * window.input_stride[0] +
                                  (pixels.at[1] + h * window.dilation[1]) * window.input_stride[1] + channel;
        const float* const weights = lines.weights + (d * window.kernel[1] + h) * window.kernel[2] * lines.stride;
        for (std::int64_t w = 0; w < window.kernel[2]; ++w) {
          const std::int64_t at = pixels.source + w * window.dilation[2];
          if (!is_in(window, 2, at)) continue;
          sum += window.input[line + at * window.input_stride[2]] * weights[w * lines.stride + channel];
        }
      }
    }
    pixels.output[channel] = sum < low_of(lines.activation, true) ? 0.0F : sum;
  }
}

using DepthwiseTile = void (*)(const DepthwiseLines&, const Pixels&) noexcept;

// Elements of a tile: as many as registers hold beside a line of a kernel, half as many for images of that width, ...
constexpr int kTilePixels[] = {1, 4, 7, kSums > 12 ? 14 : 7};

template <int kKernel, int kStride, int kGroup>
constexpr DepthwiseTile kDepthwiseTiles[] = {
    depthwise_tile<kTilePixels[0], kKernel, kStride, kGroup>, depthwise_tile<kTilePixels[1], kKernel, kStride, kGroup>,
    depthwise_tile<kTilePixels[2], kKernel, kStride, kGroup>, depthwise_tile<kTilePixels[3], kKernel, kStride, kGroup>};

template <int kGroup>
AOTBUILD_INLINE const DepthwiseTile* grouped_tiles(const Window& window) {
  if (window.dilation[2] != 1 || window.kernel[2] != 3) return kDepthwiseTiles<0, 0, kGroup>;
  if (window.stride[2] == 1) return kDepthwiseTiles<3, 1, kGroup>;
  return window.stride[2] == 2 ? kDepthwiseTiles<3, 2, kGroup> : kDepthwiseTiles<0, 0, kGroup>;
}

AOTBUILD_INLINE const DepthwiseTile* depthwise_tiles(const DepthwiseLines& lines) {
  const Window& window = *lines.window;
  if (lines.group == 2) return grouped_tiles<2>(window);
  if (lines.group == 4) return grouped_tiles<4>(window);
  if (lines.group == 8) return grouped_tiles<8>(window);
  const std::int64_t kernel = window.kernel[2];
  const std::int64_t stride = window.stride[2];
  if (window.dilation[2] != 1) return kDepthwiseTiles<0, 0, 1>;
  if (kernel == 3 && stride == 1) return kDepthwiseTiles<3, 1, 1>;
  if (kernel == 3 && stride == 2) return kDepthwiseTiles<3, 2, 1>;
  if (kernel == 5 && stride == 1) return kDepthwiseTiles<5, 1, 1>;
  if (kernel == 5 && stride == 2) return kDepthwiseTiles<5, 2, 1>;
  if (kernel == 7 && stride == 1) return kDepthwiseTiles<7, 1, 1>;
  return kDepthwiseTiles<0, 0, 1>;
}

inline void depthwise(const DepthwiseLines& lines) noexcept {
  const Window& window = *lines.window;
  const std::int64_t width = window.output_size[2];
  const bool is_part = window.channels < kWidth;
  // The size for which the tiles of a line, of which the last ends with the line, have fewest elements twice.
  int best = 0;
  for (int i = 1; i < 4 && !is_part; ++i) {
    const auto all = [&](int size) { return (width + kTilePixels[size] - 1) / kTilePixels[size] * kTilePixels[size]; };
    if (kTilePixels[i] <= width && (best == 0 || all(i) <= all(best))) best = i;
  }
  const std::int64_t size = kTilePixels[best];
  const DepthwiseTile make = is_part ? depthwise_part : depthwise_tiles(lines)[best];
  for (std::int64_t line = lines.first_line; line < lines.first_line + lines.lines; ++line) {
    const Place place = place_of(window, line * width);
    Pixels pixels{};
    pixels.image = place.image * window.image_stride;
    for (int d = 0; d < 2; ++d) {
      pixels.at[d] = source_of(window, d, place.at[d], 0);
      pixels.reach[d] = reach_of(window, d, place.at[d]);
    }
    float* const output = lines.output + line * width * window.channels;
    for (std::int64_t begin = 0; begin < width; begin += size) {
      const std::int64_t first = begin + size <= width ? begin : width - size;
      pixels.source = source_of(window, 2, first, 0);
      pixels.output = output + first * window.channels;
      make(lines, pixels);
    }
    if (is_left(lines.activation)) {
      const std::int64_t values = width * window.channels;
      kActivate[static_cast<int>(lines.activation)]({output, values, output, values, 1, values, lines.alpha});
    }
  }
}
