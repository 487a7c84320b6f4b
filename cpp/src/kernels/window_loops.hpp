// Where the elements of a convolution's output read: kernels/panel_kernels.hpp. Included by kernels/panel_loops.hpp.

// An element of a convolution's output.
struct Place {
  std::int64_t image;
  std::int64_t at[3];
};

AOTBUILD_INLINE Place place_of(const Window& window, std::int64_t row) {
  Place place;
  for (int d = 2; d >= 0; --d) {
    place.at[d] = row % window.output_size[d];
    row /= window.output_size[d];
  }
  place.image = row;
  return place;
}

AOTBUILD_INLINE std::int64_t source_of(const Window& window, int d, std::int64_t at, std::int64_t k) {
  return at * window.stride[d] - window.padding[d] + k * window.dilation[d];
}

AOTBUILD_INLINE bool is_in(const Window& window, int d, std::int64_t source) {
  return source >= 0 && source < window.input_size[d];
}

// Whether a line of the kernel is one piece of the input.
AOTBUILD_INLINE bool has_whole_lines(const Window& window) {
  return (window.dilation[2] == 1 || window.kernel[2] == 1) && window.input_stride[2] == window.channels;
}

// Elements along the width from which on, and up to which, the whole width of the kernel lies in the input.
struct Inner {
  std::int64_t begin;
  std::int64_t end;
};

AOTBUILD_INLINE Inner inner_of(const Window& window) {
  const std::int64_t width = window.output_size[2];
  const std::int64_t stride = window.stride[2];
  const std::int64_t room = window.input_size[2] + window.padding[2] - (window.kernel[2] - 1) * window.dilation[2] - 1;
  std::int64_t begin = (window.padding[2] + stride - 1) / stride;
  begin = begin < width ? begin : width;
  std::int64_t end = room < 0 ? 0 : room / stride + 1;
  end = end < begin ? begin : (end < width ? end : width);
  return {begin, end};
}

// Places of the kernel along a dimension.
struct Reach {
  std::int64_t begin;
  std::int64_t end;
};

// Those that lie in the input for element `at` of the output.
AOTBUILD_INLINE Reach reach_of(const Window& window, int d, std::int64_t at) {
  Reach reach{0, window.kernel[d]};
  while (reach.begin < reach.end && source_of(window, d, at, reach.begin) < 0) ++reach.begin;
  while (reach.end > reach.begin && source_of(window, d, at, reach.end - 1) >= window.input_size[d]) --reach.end;
  return reach;
}
