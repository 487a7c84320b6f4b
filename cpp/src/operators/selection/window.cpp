// The C shim: averages over windows that are large and overlap, for which TorchInductor writes no loop, and maxima with
// their places.
#include <algorithm>
#include <array>
#include <limits>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "operators/volume.hpp"
#include "tensor/copy.hpp"
#include "tensor/element_order.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

// An argument with one value for each dimension of space, or one for all.
struct Numbers {
  const std::int64_t* values;
  std::int64_t count;
};

using Spatial = std::array<std::int64_t, 3>;

Spatial spatial(const Numbers& numbers, int rank, std::int64_t missing, std::int64_t least, const char* what,
                const char* function) {
  Spatial result{missing, missing, missing};
  if (numbers.values == nullptr || (numbers.count != 1 && numbers.count != rank)) {
    fail(function, "argument '", what, "' has ", numbers.count, " values, expected ", rank);
  }
  for (int d = 0; d < rank; ++d) {
    const std::int64_t value = numbers.values[numbers.count == 1 ? 0 : d];
    if (value < least) fail(function, "argument '", what, "' holds ", value, ", expected at least ", least);
    result[static_cast<std::size_t>(3 - rank + d)] = value;
  }
  return result;
}

struct Windows {
  Spatial kernel;
  Spatial stride;
  Spatial padding;
  Spatial dilation;
  Volume in;
  Volume out;
};

Windows windows_of(const Tensor& input, int rank, const Numbers& kernel, const Numbers& stride, const Numbers& padding,
                   const Numbers& dilation, bool ceil_mode, const char* function) {
  Windows windows{};
  windows.in = volume_of(input, rank, function);
  windows.kernel = spatial(kernel, rank, 1, 1, "kernel_size", function);
  windows.stride = stride.count == 0 ? windows.kernel : spatial(stride, rank, 1, 1, "stride", function);
  windows.padding = padding.count == 0 ? Spatial{} : spatial(padding, rank, 0, 0, "padding", function);
  windows.dilation = dilation.count == 0 ? Spatial{1, 1, 1} : spatial(dilation, rank, 1, 1, "dilation", function);
  windows.out = windows.in;
  for (auto d = static_cast<std::size_t>(3 - rank); d < 3; ++d) {
    const std::int64_t size = windows.in.sizes[d];
    const std::int64_t step = windows.stride[d];
    const std::int64_t reach = windows.dilation[d] * (windows.kernel[d] - 1) + 1;
    const std::int64_t room = size + 2 * windows.padding[d] - reach;
    std::int64_t count = room < 0 ? 0 : (room + (ceil_mode ? step - 1 : 0)) / step + 1;
    // The last window has to begin inside the input or its left padding.
    if (ceil_mode && (count - 1) * step >= size + windows.padding[d]) --count;
    if (count < 1) {
      fail(function, "a window of ", reach, " with padding ", windows.padding[d], " does not fit into a size of ",
           size);
    }
    windows.out.sizes[d] = count;
  }
  return windows;
}

// The elements of one dimension that a window covers: `begin`, and on by the dilation to before `end`.
struct Span {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t padded;  // elements of the window inside the input or its padding
};

Span span_of(const Windows& windows, std::size_t d, std::int64_t at) {
  const std::int64_t first = at * windows.stride[d] - windows.padding[d];
  const std::int64_t step = windows.dilation[d];
  const std::int64_t size = windows.in.sizes[d];
  const std::int64_t last = first + step * (windows.kernel[d] - 1) + 1;
  const std::int64_t begin = first >= 0 ? first : first + (-first + step - 1) / step * step;
  return {begin, std::min(last, size), std::min(last, size + windows.padding[d]) - first};
}

// Calls `body(place in the output, spans)` for each window of each plane, `plane(number)` giving the body.
template <typename Plane>
void for_each_window(const Windows& windows, Plane&& plane) {
  const Spatial& sizes = windows.out.sizes;
  const std::int64_t work = windows.in.planes * windows.out.elements() * windows.kernel[0] * windows.kernel[1];
#pragma omp parallel for if (windows.in.planes > 1 && work * windows.kernel[2] > 1 << 15)
  for (std::int64_t number = 0; number < windows.in.planes; ++number) {
    auto body = plane(number);
    std::int64_t place = 0;
    for (std::int64_t z = 0; z < sizes[0]; ++z) {
      const Span depth = span_of(windows, 0, z);
      for (std::int64_t y = 0; y < sizes[1]; ++y) {
        const Span height = span_of(windows, 1, y);
        for (std::int64_t x = 0; x < sizes[2]; ++x) {
          body(place++, std::array<Span, 3>{depth, height, span_of(windows, 2, x)});
        }
      }
    }
  }
}

AOTITorchError average(AtenTensorHandle self, int rank, const Numbers& kernel, const Numbers& stride,
                       const Numbers& padding, bool ceil_mode, bool count_include_pad, const std::int64_t* divisor,
                       AtenTensorHandle* ret, const char* function) {
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const Windows windows = windows_of(given, rank, kernel, stride, padding, {nullptr, 0}, ceil_mode, function);
    if (divisor != nullptr && *divisor == 0) fail(function, "the divisor is 0");
    const TensorPtr dense = clone_contiguous(given, function);
    TensorPtr result = make_volume(given, windows.out, rank, given.dtype);
    dispatch_ordered(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      using Sum = std::conditional_t<std::is_integral_v<T>, std::int64_t, double>;
      const std::int64_t rows = windows.in.sizes[1];
      const std::int64_t columns = windows.in.sizes[2];
      for_each_window(windows, [&](std::int64_t plane) {
        const T* const from = dense->data_as<T>() + plane * windows.in.elements();
        T* const to = result->data_as<T>() + plane * windows.out.elements();
        return [=](std::int64_t place, const std::array<Span, 3>& spans) {
          Sum sum = 0;
          std::int64_t inside = 1;
          std::int64_t padded = 1;
          for (const Span& span : spans) {
            inside *= std::max<std::int64_t>(span.end - span.begin, 0);
            padded *= span.padded;
          }
          for (std::int64_t z = spans[0].begin; z < spans[0].end; ++z) {
            for (std::int64_t y = spans[1].begin; y < spans[1].end; ++y) {
              const T* const row = from + (z * rows + y) * columns;
              for (std::int64_t x = spans[2].begin; x < spans[2].end; ++x) sum += convert<Sum>(row[x]);
            }
          }
          const std::int64_t by = divisor != nullptr ? *divisor : count_include_pad ? padded : inside;
          to[place] = convert<T>(inside == 0 ? Sum(0) : sum / static_cast<Sum>(by));
        };
      });
    });
    checked_result(ret, function) = result.release();
  });
}

AOTITorchError maximum(AtenTensorHandle self, int rank, const Numbers& kernel, const Numbers& stride,
                       const Numbers& padding, const Numbers& dilation, bool ceil_mode, AtenTensorHandle* values,
                       AtenTensorHandle* indices, const char* function) {
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const Windows windows = windows_of(given, rank, kernel, stride, padding, dilation, ceil_mode, function);
    for (auto d = static_cast<std::size_t>(3 - rank); d < 3; ++d) {
      if (2 * windows.padding[d] > windows.kernel[d]) {
        fail(function, "padding ", windows.padding[d], " is more than half of a window of ", windows.kernel[d]);
      }
    }
    const TensorPtr dense = clone_contiguous(given, function);
    TensorPtr best = make_volume(given, windows.out, rank, given.dtype);
    TensorPtr places = make_volume(given, windows.out, rank, ScalarType::kInt64);
    dispatch_ordered(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const std::int64_t rows = windows.in.sizes[1];
      const std::int64_t columns = windows.in.sizes[2];
      const Spatial step = windows.dilation;
      for_each_window(windows, [&](std::int64_t plane) {
        const T* const from = dense->data_as<T>() + plane * windows.in.elements();
        T* const to = best->data_as<T>() + plane * windows.out.elements();
        std::int64_t* const chosen_places = places->data_as<std::int64_t>() + plane * windows.out.elements();
        return [=](std::int64_t place, const std::array<Span, 3>& spans) {
          // The first of the greatest; of NaNs the last, as in torch.
          std::int64_t chosen = (spans[0].begin * rows + spans[1].begin) * columns + spans[2].begin;
          bool is_empty = true;
          OrderKey<T> greatest{};
          for (std::int64_t z = spans[0].begin; z < spans[0].end; z += step[0]) {
            for (std::int64_t y = spans[1].begin; y < spans[1].end; y += step[1]) {
              for (std::int64_t x = spans[2].begin; x < spans[2].end; x += step[2]) {
                const std::int64_t at = (z * rows + y) * columns + x;
                const auto value = convert<OrderKey<T>>(from[at]);
                if (!is_empty && !is_nan(value) && !(value > greatest)) continue;
                is_empty = false;
                greatest = value;
                chosen = at;
              }
            }
          }
          using Limits = std::numeric_limits<OrderKey<T>>;
          const OrderKey<T> least = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
          to[place] = is_empty ? convert<T>(least) : from[chosen];
          chosen_places[place] = chosen;
        };
      });
    });
    checked_result(values, function) = best.release();
    checked_result(indices, function) = places.release();
  });
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_avg_pool2d(AtenTensorHandle self, const std::int64_t* kernel_size,
                                             std::int64_t kernel_size_len, const std::int64_t* stride,
                                             std::int64_t stride_len, const std::int64_t* padding,
                                             std::int64_t padding_len, std::int32_t ceil_mode,
                                             std::int32_t count_include_pad, std::int64_t* divisor_override,
                                             AtenTensorHandle* ret) {
  return average(self, 2, {kernel_size, kernel_size_len}, {stride, stride_len}, {padding, padding_len}, ceil_mode != 0,
                 count_include_pad != 0, divisor_override, ret, "aoti_torch_cpu_avg_pool2d");
}

AOTITorchError aotbuild_torch_cpu_avg_pool3d(AtenTensorHandle self, const std::int64_t* kernel_size,
                                             std::int64_t kernel_size_len, const std::int64_t* stride,
                                             std::int64_t stride_len, const std::int64_t* padding,
                                             std::int64_t padding_len, std::int32_t ceil_mode,
                                             std::int32_t count_include_pad, std::int64_t* divisor_override,
                                             AtenTensorHandle* ret) {
  return average(self, 3, {kernel_size, kernel_size_len}, {stride, stride_len}, {padding, padding_len}, ceil_mode != 0,
                 count_include_pad != 0, divisor_override, ret, "aoti_torch_cpu_avg_pool3d");
}

AOTITorchError aotbuild_torch_cpu_max_pool2d_with_indices(AtenTensorHandle self, const std::int64_t* kernel_size,
                                                          std::int64_t kernel_size_len, const std::int64_t* stride,
                                                          std::int64_t stride_len, const std::int64_t* padding,
                                                          std::int64_t padding_len, const std::int64_t* dilation,
                                                          std::int64_t dilation_len, std::int32_t ceil_mode,
                                                          AtenTensorHandle* values, AtenTensorHandle* indices) {
  return maximum(self, 2, {kernel_size, kernel_size_len}, {stride, stride_len}, {padding, padding_len},
                 {dilation, dilation_len}, ceil_mode != 0, values, indices, "aoti_torch_cpu_max_pool2d_with_indices");
}

AOTITorchError aotbuild_torch_cpu_max_pool3d_with_indices(AtenTensorHandle self, const std::int64_t* kernel_size,
                                                          std::int64_t kernel_size_len, const std::int64_t* stride,
                                                          std::int64_t stride_len, const std::int64_t* padding,
                                                          std::int64_t padding_len, const std::int64_t* dilation,
                                                          std::int64_t dilation_len, std::int32_t ceil_mode,
                                                          AtenTensorHandle* values, AtenTensorHandle* indices) {
  return maximum(self, 3, {kernel_size, kernel_size_len}, {stride, stride_len}, {padding, padding_len},
                 {dilation, dilation_len}, ceil_mode != 0, values, indices, "aoti_torch_cpu_max_pool3d_with_indices");
}
