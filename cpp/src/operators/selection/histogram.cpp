// The C shim: histograms.
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"
#include "tensor/lines.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

// The least and greatest element where no range is given; equal ones are moved apart by `widening` on either side.
template <typename T>
std::pair<double, double> histogram_range(const T* elements, std::int64_t count, double low, double high,
                                          double widening, const char* function) {
  if (low == high && count > 0) {
    const auto [least, greatest] = std::minmax_element(
        elements, elements + count, [](T a, T b) { return convert<double>(a) < convert<double>(b); });
    low = convert<double>(*least);
    high = convert<double>(*greatest);
  }
  if (low == high) {
    low -= widening;
    high += widening;
  }
  if (!std::isfinite(low) || !std::isfinite(high) || low > high) {
    fail(function, "the range from ", low, " to ", high, " is not finite or is reversed");
  }
  return {low, high};
}

// Adds to the bins of equal width that the elements fall into; what is outside of the range falls into none.
template <typename T, typename Weight>
void count_into_bins(const T* elements, std::int64_t count, T low, T high, T* bins, std::int64_t bin_count,
                     Weight&& weight) {
  for (std::int64_t i = 0; i < count; ++i) {
    const T value = elements[i];
    if (!(value >= low && value <= high)) continue;
    auto bin = static_cast<std::int64_t>((value - low) * static_cast<T>(bin_count) / (high - low));
    if (bin >= bin_count) bin = bin_count - 1;
    bins[bin] += weight(i);
  }
}

// The same for bins between `edges`, of which there is one more than bins. Without `weights` each element counts as
// one; with `density` the sum over the bins, each times its width, is 1.
template <typename T>
void count_between(const T* elements, std::int64_t count, const T* edges, std::int64_t bin_count, const T* weights,
                   bool density, T* bins) {
  T total = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (!(elements[i] >= edges[0] && elements[i] <= edges[bin_count])) continue;
    const auto above = std::upper_bound(edges, edges + bin_count + 1, elements[i]);
    const std::int64_t place = std::min<std::int64_t>(above - edges - 1, bin_count - 1);
    const T amount = weights != nullptr ? weights[i] : T(1);
    bins[place] += amount;
    total += amount;
  }
  for (std::int64_t i = 0; density && i < bin_count; ++i) bins[i] /= total * (edges[i + 1] - edges[i]);
}

// The weights of a histogram's elements; null for none.
TensorPtr histogram_weights(AtenTensorHandle* weight, const Tensor& given, const char* function) {
  if (weight == nullptr) return nullptr;
  TensorPtr factors = clone_contiguous(checked(*weight, function, "weight"), function);
  if (factors->numel() != given.numel() || factors->dtype != given.dtype) {
    fail(function, "weight does not have the input's sizes and type");
  }
  return factors;
}

template <typename Count>
void dispatch_floating(ScalarType dtype, const char* function, const Count& count) {
  dispatch_real(dtype, function, [&](auto tag) {
    if constexpr (std::is_floating_point_v<typename decltype(tag)::type>) {
      count(tag);
    } else {
      fail(function, "element type ", dtype_name(dtype), " is not supported");
    }
  });
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_histc(AtenTensorHandle self, std::int64_t bins, double min, double max,
                                        AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_histc";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    if (bins < 1) fail(function, bins, " bins, expected at least 1");
    const ScalarType type = given.dtype == ScalarType::kFloat64 ? ScalarType::kFloat64 : ScalarType::kFloat32;
    const TensorPtr dense = make_contiguous(given, type);
    copy(*dense, given, function);
    const TensorPtr counts = make_tensor(type, 1, &bins, nullptr);
    const std::int64_t zero = 0;
    fill(*counts, &zero, function);
    const auto count = [&](auto* elements, auto* into) {
      using T = std::remove_pointer_t<decltype(into)>;
      const auto [low, high] = histogram_range(elements, given.numel(), min, max, 1, function);
      count_into_bins(elements, given.numel(), static_cast<T>(low), static_cast<T>(high), into, bins,
                      [](std::int64_t) { return T(1); });
    };
    if (type == ScalarType::kFloat64) {
      count(dense->data_as<double>(), counts->data_as<double>());
    } else {
      count(dense->data_as<float>(), counts->data_as<float>());
    }
    TensorPtr out = make_tensor(given.dtype, 1, &bins, nullptr);
    copy(*out, *counts, function);
    checked_result(ret, function) = out.release();
  });
}

AOTITorchError aotbuild_torch_cpu_histogram_bin_ct(AtenTensorHandle self, std::int64_t bins, const double** range,
                                                   std::int64_t, AtenTensorHandle* weight, std::int32_t density,
                                                   AtenTensorHandle* hist, AtenTensorHandle* edges) {
  constexpr const char* function = "aoti_torch_cpu_histogram_bin_ct";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    if (bins < 1) fail(function, bins, " bins, expected at least 1");
    const TensorPtr dense = clone_contiguous(given, function);
    const TensorPtr factors = histogram_weights(weight, given, function);
    const std::int64_t edge_count = bins + 1;
    TensorPtr counts = make_tensor(given.dtype, 1, &bins, nullptr);
    TensorPtr borders = make_tensor(given.dtype, 1, &edge_count, nullptr);
    const std::int64_t zero = 0;
    fill(*counts, &zero, function);
    dispatch_floating(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* const elements = dense->data_as<T>();
      const bool given_range = range != nullptr && *range != nullptr;
      const auto [least, greatest] = histogram_range(elements, given.numel(), given_range ? (*range)[0] : 0,
                                                     given_range ? (*range)[1] : 0, 0.5, function);
      const T low = static_cast<T>(least);
      const T high = static_cast<T>(greatest);
      T* const edge = borders->data_as<T>();
      const T step = (high - low) / static_cast<T>(bins);
      for (std::int64_t i = 0; i <= bins; ++i) {  // from the nearer end, as torch.linspace
        edge[i] = i < edge_count / 2 ? low + step * static_cast<T>(i) : high - step * static_cast<T>(bins - i);
      }
      count_between(elements, given.numel(), edge, bins, factors != nullptr ? factors->data_as<T>() : nullptr,
                    density != 0, counts->data_as<T>());
    });
    checked_result(hist, function) = counts.release();
    checked_result(edges, function) = borders.release();
  });
}

AOTITorchError aotbuild_torch_cpu_histogram_bins_tensor(AtenTensorHandle self, AtenTensorHandle bins,
                                                        AtenTensorHandle* weight, std::int32_t density,
                                                        AtenTensorHandle* hist, AtenTensorHandle* edges) {
  constexpr const char* function = "aoti_torch_cpu_histogram_bins_tensor";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    TensorPtr borders = clone_contiguous(checked(bins, function, "bins"), function);
    if (borders->ndim != 1 || borders->numel() < 2 || borders->dtype != given.dtype) {
      fail(function, "bins is not a row of two or more edges of the input's type");
    }
    const std::int64_t count = borders->numel() - 1;
    const TensorPtr dense = clone_contiguous(given, function);
    const TensorPtr factors = histogram_weights(weight, given, function);
    TensorPtr counts = make_tensor(given.dtype, 1, &count, nullptr);
    const std::int64_t zero = 0;
    fill(*counts, &zero, function);
    dispatch_floating(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      count_between(dense->data_as<T>(), given.numel(), borders->data_as<T>(), count,
                    factors != nullptr ? factors->data_as<T>() : nullptr, density != 0, counts->data_as<T>());
    });
    checked_result(hist, function) = counts.release();
    checked_result(edges, function) = borders.release();
  });
}
