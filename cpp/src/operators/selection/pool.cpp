// The C shim: pooling and sampling in space.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "operators/volume.hpp"
#include "tensor/copy.hpp"
#include "tensor/element_order.hpp"
#include "tensor/lines.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

// The part of the input that an element of an adaptive pool's output covers in one dimension.
struct Window {
  std::int64_t begin;
  std::int64_t end;
};

Window adaptive_window(std::int64_t at, std::int64_t out, std::int64_t in) {
  return {at * in / out, ((at + 1) * in + out - 1) / out};
}

// Calls `body(plane, place, windows)` for each element of an adaptive pool's output.
template <typename Body>
void for_each_adaptive(const Volume& in, const Volume& out, Body&& body) {
  for (std::int64_t plane = 0; plane < in.planes; ++plane) {
    std::int64_t place = 0;
    for (std::int64_t z = 0; z < out.sizes[0]; ++z) {
      for (std::int64_t y = 0; y < out.sizes[1]; ++y) {
        for (std::int64_t x = 0; x < out.sizes[2]; ++x) {
          body(plane, place++,
               std::array<Window, 3>{adaptive_window(z, out.sizes[0], in.sizes[0]),
                                     adaptive_window(y, out.sizes[1], in.sizes[1]),
                                     adaptive_window(x, out.sizes[2], in.sizes[2])});
        }
      }
    }
  }
}

// Calls `body(place)` for each element of the windows.
template <typename Body>
void for_each_in(const std::array<Window, 3>& windows, const Volume& in, Body&& body) {
  for (std::int64_t z = windows[0].begin; z < windows[0].end; ++z) {
    for (std::int64_t y = windows[1].begin; y < windows[1].end; ++y) {
      for (std::int64_t x = windows[2].begin; x < windows[2].end; ++x) {
        body((z * in.sizes[1] + y) * in.sizes[2] + x);
      }
    }
  }
}

AOTITorchError adaptive_average(AtenTensorHandle self, const std::int64_t* output_size, std::int64_t count, int rank,
                                AtenTensorHandle* ret, const char* function) {
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const Volume in = volume_of(given, rank, function);
    const Volume out = resized(in, output_size, count, rank, function);
    const TensorPtr dense = clone_contiguous(given, function);
    TensorPtr result = make_volume(given, out, rank, given.dtype);
    dispatch_ordered(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      for_each_adaptive(in, out, [&](std::int64_t plane, std::int64_t place, const std::array<Window, 3>& windows) {
        const T* const source = dense->data_as<T>() + plane * in.elements();
        double sum = 0;
        std::int64_t terms = 0;
        for_each_in(windows, in, [&](std::int64_t at) {
          sum += convert<double>(source[at]);
          ++terms;
        });
        result->data_as<T>()[plane * out.elements() + place] = convert<T>(sum / static_cast<double>(terms));
      });
    });
    checked_result(ret, function) = result.release();
  });
}

AOTITorchError adaptive_maximum(AtenTensorHandle self, const std::int64_t* output_size, std::int64_t count, int rank,
                                AtenTensorHandle* values, AtenTensorHandle* indices, const char* function) {
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const Volume in = volume_of(given, rank, function);
    const Volume out = resized(in, output_size, count, rank, function);
    const TensorPtr dense = clone_contiguous(given, function);
    TensorPtr best = make_volume(given, out, rank, given.dtype);
    TensorPtr places = make_volume(given, out, rank, ScalarType::kInt64);
    dispatch_ordered(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      for_each_adaptive(in, out, [&](std::int64_t plane, std::int64_t place, const std::array<Window, 3>& windows) {
        const T* const source = dense->data_as<T>() + plane * in.elements();
        std::int64_t chosen = -1;
        for_each_in(windows, in, [&](std::int64_t at) {
          const auto value = convert<OrderKey<T>>(source[at]);
          if (chosen < 0 || is_nan(value) || value > convert<OrderKey<T>>(source[chosen])) chosen = at;
        });
        best->data_as<T>()[plane * out.elements() + place] = source[chosen];
        places->data_as<std::int64_t>()[plane * out.elements() + place] = chosen;
      });
    });
    checked_result(values, function) = best.release();
    checked_result(indices, function) = places.release();
  });
}

// Where each window of a fractional pool begins, from one random sample (Graham, "Fractional Max-Pooling", 2014).
template <typename T>
std::vector<std::int64_t> fractional_starts(T sample, std::int64_t in, std::int64_t out, std::int64_t window) {
  std::vector<std::int64_t> starts(static_cast<std::size_t>(out));
  if (out > 1) {
    const T alpha = static_cast<T>(in - window) / static_cast<T>(out - 1);
    for (std::int64_t i = 0; i < out - 1; ++i) {
      starts[static_cast<std::size_t>(i)] =
          static_cast<std::int64_t>((static_cast<T>(i) + sample) * alpha) - static_cast<std::int64_t>(sample * alpha);
    }
  }
  if (out > 0) starts.back() = in - window;
  return starts;
}

AOTITorchError fractional_maximum(AtenTensorHandle self, const std::int64_t* kernel_size, std::int64_t kernel_count,
                                  const std::int64_t* output_size, std::int64_t output_count,
                                  AtenTensorHandle random_samples, int rank, AtenTensorHandle* values,
                                  AtenTensorHandle* indices, const char* function) {
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const Tensor& random = checked(random_samples, function, "random_samples");
    const Volume in = volume_of(given, rank, function);
    const Volume out = resized(in, output_size, output_count, rank, function);
    const Volume window = resized(in, kernel_size, kernel_count, rank, function);
    for (std::size_t d = static_cast<std::size_t>(3 - rank); d < 3; ++d) {
      if (out.sizes[d] + window.sizes[d] - 1 > in.sizes[d]) {
        fail(function, "an output size of ", out.sizes[d], " with a window of ", window.sizes[d], " needs more than ",
             in.sizes[d], " elements");
      }
    }
    if (random.dtype != given.dtype || random.numel() != in.planes * rank) {
      fail(function, "random_samples must hold ", rank, " values of the input's type for each of ", in.planes,
           " planes");
    }
    const TensorPtr dense = clone_contiguous(given, function);
    const TensorPtr samples = clone_contiguous(random, function);
    TensorPtr best = make_volume(given, out, rank, given.dtype);
    TensorPtr places = make_volume(given, out, rank, ScalarType::kInt64);
    dispatch_ordered(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
      for (std::int64_t plane = 0; plane < in.planes; ++plane) {
        const T* const source = dense->data_as<T>() + plane * in.elements();
        std::array<std::vector<std::int64_t>, 3> starts{{{0}, {0}, {0}}};
        for (int d = 0; d < rank; ++d) {
          // In two dimensions the first sample is the width's, in three the depth's.
          const int sample = rank == 2 ? 1 - d : d;
          const auto axis = static_cast<std::size_t>(3 - rank + d);
          starts[axis] = fractional_starts(convert<Real>(samples->data_as<T>()[plane * rank + sample]), in.sizes[axis],
                                           out.sizes[axis], window.sizes[axis]);
        }
        std::int64_t place = plane * out.elements();
        for (const std::int64_t z : starts[0]) {
          for (const std::int64_t y : starts[1]) {
            for (const std::int64_t x : starts[2]) {
              const std::array<Window, 3> windows{Window{z, rank == 3 ? z + window.sizes[0] : 1},
                                                  Window{y, y + window.sizes[1]}, Window{x, x + window.sizes[2]}};
              std::int64_t chosen = -1;
              for_each_in(windows, in, [&](std::int64_t at) {
                const auto value = convert<OrderKey<T>>(source[at]);
                if (chosen < 0 || is_nan(value) || value > convert<OrderKey<T>>(source[chosen])) chosen = at;
              });
              best->data_as<T>()[place] = source[chosen];
              places->data_as<std::int64_t>()[place++] = chosen;
            }
          }
        }
      }
    });
    checked_result(values, function) = best.release();
    checked_result(indices, function) = places.release();
  });
}

// Where a coordinate in [-1, 1] lies in a dimension of `size` elements.
template <typename T>
T unnormalize(T coordinate, std::int64_t size, bool align_corners) {
  const T length = static_cast<T>(size);
  return align_corners ? (coordinate + 1) / 2 * (length - 1) : ((coordinate + 1) * length - 1) / 2;
}

// Mirrored until it lies in [twice_low / 2, twice_high / 2].
template <typename T>
T reflect(T coordinate, std::int64_t twice_low, std::int64_t twice_high) {
  if (twice_low == twice_high) return 0;
  const T low = static_cast<T>(twice_low) / 2;
  const T span = static_cast<T>(twice_high - twice_low) / 2;
  const T distance = std::fabs(coordinate - low);
  const T rest = std::fmod(distance, span);
  const bool even = std::fmod(std::floor(distance / span), T(2)) == 0;
  return even ? rest + low : span - rest + low;
}

enum GridPadding : std::int64_t { kZeros = 0, kBorder = 1, kReflection = 2 };

template <typename T>
T grid_source(T coordinate, std::int64_t size, std::int64_t padding, bool align_corners) {
  T at = unnormalize(coordinate, size, align_corners);
  if (padding == kReflection) {
    at = align_corners ? reflect(at, 0, 2 * (size - 1)) : reflect(at, -1, 2 * size - 1);
  }
  if (padding != kZeros) at = std::min(static_cast<T>(size - 1), std::max(at, T(0)));
  // What is no number, or beyond all integers, lies outside.
  if (!(at > T(-1e9) && at < T(1e9))) at = -100;
  return at;
}

}  // namespace

AOTITorchError aotbuild_torch_cpu__adaptive_avg_pool2d(AtenTensorHandle self, const std::int64_t* output_size,
                                                       std::int64_t output_size_len, AtenTensorHandle* ret) {
  return adaptive_average(self, output_size, output_size_len, 2, ret, "aoti_torch_cpu__adaptive_avg_pool2d");
}

AOTITorchError aotbuild_torch_cpu__adaptive_avg_pool3d(AtenTensorHandle self, const std::int64_t* output_size,
                                                       std::int64_t output_size_len, AtenTensorHandle* ret) {
  return adaptive_average(self, output_size, output_size_len, 3, ret, "aoti_torch_cpu__adaptive_avg_pool3d");
}

AOTITorchError aotbuild_torch_cpu_adaptive_max_pool2d(AtenTensorHandle self, const std::int64_t* output_size,
                                                      std::int64_t output_size_len, AtenTensorHandle* values,
                                                      AtenTensorHandle* indices) {
  return adaptive_maximum(self, output_size, output_size_len, 2, values, indices, "aoti_torch_cpu_adaptive_max_pool2d");
}

AOTITorchError aotbuild_torch_cpu_adaptive_max_pool3d(AtenTensorHandle self, const std::int64_t* output_size,
                                                      std::int64_t output_size_len, AtenTensorHandle* values,
                                                      AtenTensorHandle* indices) {
  return adaptive_maximum(self, output_size, output_size_len, 3, values, indices, "aoti_torch_cpu_adaptive_max_pool3d");
}

AOTITorchError aotbuild_torch_cpu_fractional_max_pool2d(AtenTensorHandle self, const std::int64_t* kernel_size,
                                                        std::int64_t kernel_size_len, const std::int64_t* output_size,
                                                        std::int64_t output_size_len, AtenTensorHandle random_samples,
                                                        AtenTensorHandle* values, AtenTensorHandle* indices) {
  return fractional_maximum(self, kernel_size, kernel_size_len, output_size, output_size_len, random_samples, 2, values,
                            indices, "aoti_torch_cpu_fractional_max_pool2d");
}

AOTITorchError aotbuild_torch_cpu_fractional_max_pool3d(AtenTensorHandle self, const std::int64_t* kernel_size,
                                                        std::int64_t kernel_size_len, const std::int64_t* output_size,
                                                        std::int64_t output_size_len, AtenTensorHandle random_samples,
                                                        AtenTensorHandle* values, AtenTensorHandle* indices) {
  return fractional_maximum(self, kernel_size, kernel_size_len, output_size, output_size_len, random_samples, 3, values,
                            indices, "aoti_torch_cpu_fractional_max_pool3d");
}

AOTITorchError aotbuild_torch_cpu_grid_sampler_3d(AtenTensorHandle input, AtenTensorHandle grid,
                                                  std::int64_t interpolation_mode, std::int64_t padding_mode,
                                                  std::int32_t align_corners, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_grid_sampler_3d";
  return guarded([&] {
    const Tensor& given = checked(input, function, "input");
    const Tensor& points = checked(grid, function, "grid");
    if (given.ndim != 5 || points.ndim != 5 || points.sizes()[4] != 3 || points.sizes()[0] != given.sizes()[0] ||
        points.dtype != given.dtype) {
      fail(function, "a grid of sizes ", format_dims(points.ndim, points.sizes()), " does not fit an input of sizes ",
           format_dims(given.ndim, given.sizes()));
    }
    if (interpolation_mode != 0 && interpolation_mode != 1) fail(function, "mode ", interpolation_mode, " is unknown");
    const Volume in = volume_of(given, 3, function);
    const std::int64_t batch = given.sizes()[0];
    const std::int64_t channels = given.sizes()[1];
    const std::int64_t* const out_sizes = points.sizes() + 1;
    const std::int64_t sizes[] = {batch, channels, out_sizes[0], out_sizes[1], out_sizes[2]};
    const std::int64_t count = out_sizes[0] * out_sizes[1] * out_sizes[2];
    const TensorPtr dense = clone_contiguous(given, function);
    const TensorPtr coordinates = clone_contiguous(points, function);
    TensorPtr out = make_tensor(given.dtype, 5, sizes, nullptr);
    dispatch_ordered(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
      for (std::int64_t item = 0; item < batch * count; ++item) {
        const T* const point = coordinates->data_as<T>() + item * 3;
        std::array<Real, 3> at;  // z, y, x
        for (std::size_t d = 0; d < 3; ++d) {
          at[d] = grid_source(convert<Real>(point[2 - d]), in.sizes[d], padding_mode, align_corners != 0);
        }
        // The corners around the point with their weights; one corner for the nearest.
        std::array<std::int64_t, 8> places;
        std::array<Real, 8> weights;
        std::size_t corners = 0;
        for (int corner = 0; corner < (interpolation_mode == 0 ? 8 : 1); ++corner) {
          Real weight = 1;
          std::int64_t place = 0;
          bool inside = true;
          for (std::size_t d = 0; d < 3; ++d) {
            const Real base = interpolation_mode == 0 ? std::floor(at[d]) : std::nearbyint(at[d]);
            const bool upper = ((corner >> d) & 1) != 0;
            const std::int64_t index = static_cast<std::int64_t>(base) + (upper ? 1 : 0);
            if (interpolation_mode == 0) weight *= upper ? at[d] - base : base + 1 - at[d];
            inside = inside && index >= 0 && index < in.sizes[d];
            place = place * in.sizes[d] + index;
          }
          if (!inside) continue;
          places[corners] = place;
          weights[corners++] = weight;
        }
        const std::int64_t image = item / count;
        for (std::int64_t channel = 0; channel < channels; ++channel) {
          const T* const source = dense->data_as<T>() + (image * channels + channel) * in.elements();
          Real sum = 0;
          for (std::size_t i = 0; i < corners; ++i) sum += weights[i] * convert<Real>(source[places[i]]);
          out->data_as<T>()[(image * channels + channel) * count + item % count] = convert<T>(sum);
        }
      }
    });
    checked_result(ret, function) = out.release();
  });
}
