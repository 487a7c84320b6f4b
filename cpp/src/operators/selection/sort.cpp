// The C shim: sorting, selecting by rank, and searching in what is sorted.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"
#include "tensor/element_order.hpp"
#include "tensor/lines.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

template <typename T>
using Ranked = std::pair<OrderKey<T>, std::int64_t>;

template <typename T>
void read_line(const Line<T>& line, std::vector<Ranked<T>>& elements) {
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    elements[i] = {convert<OrderKey<T>>(line[at]), at};
  }
}

// Calls `order(elements)` with each line's elements and places along `dim`, and writes the first `count` of them to
// the two results.
template <typename Order>
void select_lines(const Tensor& self, std::int32_t dim, std::int64_t count, bool keeps_dim, AtenTensorHandle* values,
                  AtenTensorHandle* indices, const char* function, Order&& order) {
  const std::int64_t length = length_along(self, dim);
  TensorPtr chosen = make_reduced(self, self.dtype, dim, count);
  TensorPtr places = make_reduced(self, ScalarType::kInt64, dim, count);
  dispatch_ordered(self.dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::vector<Ranked<T>> elements(static_cast<std::size_t>(length));
    for_each_line<3>({&self, chosen.get(), places.get()}, dim, [&](const std::array<char*, 3>& starts) {
      const Line<T> source(starts[0], stride_along(self, dim));
      const Line<T> value(starts[1], stride_along(*chosen, dim));
      const Line<std::int64_t> place(starts[2], stride_along(*places, dim));
      read_line(source, elements);
      order(elements);
      for (std::int64_t i = 0; i < count; ++i) {
        place[i] = elements[static_cast<std::size_t>(i)].second;
        value[i] = source[place[i]];
      }
    });
  });
  for (auto [result, given] : {std::pair{chosen.get(), values}, std::pair{places.get(), indices}}) {
    if (!keeps_dim && self.ndim != 0) {
      std::vector<std::int64_t> sizes(result->sizes(), result->sizes() + result->ndim);
      sizes.erase(sizes.begin() + dim);
      result->set_dims(static_cast<std::int64_t>(sizes.size()), sizes.data(), nullptr);
    }
    checked_result(given, function);
  }
  *values = chosen.release();
  *indices = places.release();
}

AOTITorchError sort(AtenTensorHandle self, std::int64_t dim, bool descending, AtenTensorHandle* values,
                    AtenTensorHandle* indices, const char* function) {
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const std::int32_t along = checked_dim(dim, given.ndim, function);
    select_lines(given, along, length_along(given, along), true, values, indices, function, [&](auto& elements) {
      std::stable_sort(elements.begin(), elements.end(), [&](const auto& a, const auto& b) {
        return descending ? comes_after(a.first, b.first) : comes_before(a.first, b.first);
      });
    });
  });
}

// Brings the element of rank `k` to its place. The median of three is the pivot (Press et al., Numerical Recipes,
// "Selecting the Mth Largest"): of equal elements torch, which does the same, then reports the same one.
template <typename Elements>
void quickselect(Elements& elements, std::int64_t rank) {
  const auto k = static_cast<std::size_t>(rank);
  const auto greater = [&](std::size_t a, std::size_t b) { return comes_after(elements[a].first, elements[b].first); };
  const auto order = [&](std::size_t a, std::size_t b) {
    if (greater(a, b)) std::swap(elements[a], elements[b]);
  };
  std::size_t left = 0;
  std::size_t right = elements.size() - 1;
  while (right > left + 1) {
    std::swap(elements[left + (right - left) / 2], elements[left + 1]);
    order(left + 1, right);
    order(left, right);
    order(left + 1, left);
    std::size_t i = left + 1;
    std::size_t j = right;
    const auto pivot = elements[left].first;
    while (true) {
      do ++i;
      while (comes_after(pivot, elements[i].first));
      do --j;
      while (comes_after(elements[j].first, pivot));
      if (j < i) break;
      std::swap(elements[i], elements[j]);
    }
    std::swap(elements[left], elements[j]);
    if (j == k) return;
    if (j < k) {
      left = i;
    } else {
      right = j - 1;
    }
  }
  if (right == left + 1) order(left, right);
}

// The median along a dimension with its place.
AOTITorchError median_along(AtenTensorHandle self, std::int64_t dim, bool keeps_dim, bool ignores_nan,
                            AtenTensorHandle* values, AtenTensorHandle* indices, const char* function) {
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const std::int32_t along = checked_dim(dim, given.ndim, function);
    if (length_along(given, along) == 0) fail(function, "dimension ", along, " has size 0");
    select_lines(given, along, 1, keeps_dim, values, indices, function, [&](auto& elements) {
      const auto is_number = [](const auto& element) { return !is_nan(element.first); };
      const auto first_nan = std::find_if_not(elements.begin(), elements.end(), is_number);
      if (first_nan != elements.end() && !ignores_nan) {
        std::iter_swap(elements.begin(), first_nan);
        return;
      }
      const auto count = std::count_if(elements.begin(), elements.end(), is_number);
      const auto middle = elements.begin() + std::max<std::ptrdiff_t>(count - 1, 0) / 2;
      // Of equal elements, the place is that of the one that a stable sort has in the middle.
      std::nth_element(elements.begin(), middle, elements.end(), [](const auto& a, const auto& b) {
        return comes_before(a.first, b.first) || (a.first == b.first && a.second < b.second);
      });
      std::iter_swap(elements.begin(), middle);
    });
  });
}

// The median of all elements: the lower one of two.
AOTITorchError median_of_all(AtenTensorHandle self, bool ignores_nan, AtenTensorHandle* ret, const char* function) {
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const TensorPtr dense = clone_contiguous(given, function);
    TensorPtr out = make_tensor(given.dtype, 0, nullptr, nullptr);
    dispatch_ordered(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      T* const first = dense->data_as<T>();
      std::vector<OrderKey<T>> keys;
      keys.reserve(static_cast<std::size_t>(dense->numel()));
      for (std::int64_t i = 0; i < dense->numel(); ++i) keys.push_back(convert<OrderKey<T>>(first[i]));
      const auto numbers_end = std::partition(keys.begin(), keys.end(), [](auto key) { return !is_nan(key); });
      const bool has_nan = numbers_end != keys.end();
      const auto count = numbers_end - keys.begin();
      if (count == 0 || (has_nan && !ignores_nan)) {
        *out->data_as<T>() = convert<T>(std::numeric_limits<double>::quiet_NaN());
        return;
      }
      const auto middle = keys.begin() + (count - 1) / 2;
      std::nth_element(keys.begin(), middle, numbers_end);
      *out->data_as<T>() = convert<T>(*middle);
    });
    checked_result(ret, function) = out.release();
  });
}

// For each value the first place in the sorted line at which it could stand; the last one if `right`.
void search(const Tensor& sorted, const Tensor& values, const Tensor* order, bool right, Tensor& out,
            const char* function) {
  if (sorted.ndim == 0) fail(function, "the sorted sequence has no dimensions");
  const bool one_line = sorted.ndim == 1;
  const std::int64_t length = sorted.sizes()[sorted.ndim - 1];
  if (!one_line && values.ndim != sorted.ndim) fail(function, "values and sorted sequence differ in rank");
  const ScalarType common =
      sorted.dtype == values.dtype || values.ndim == 0 || sorted.element_size() >= values.element_size() ? sorted.dtype
                                                                                                         : values.dtype;
  const auto converted = [&](const Tensor& tensor) {
    TensorPtr copied = make_contiguous(tensor, common);
    copy(*copied, tensor, function);
    return copied;
  };
  const TensorPtr lines = converted(sorted);
  const TensorPtr wanted = converted(values);
  const TensorPtr places = order != nullptr ? clone_contiguous(*order, function) : nullptr;
  const std::int64_t in_line = one_line ? values.numel() : values.sizes()[values.ndim - 1];
  dispatch_ordered(common, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::int64_t i = 0; i < values.numel(); ++i) {
      const std::int64_t start = one_line || in_line == 0 ? 0 : i / in_line * length;
      const T* const line = lines->data_as<T>() + start;
      const std::int64_t* const through = places != nullptr ? places->data_as<std::int64_t>() + start : nullptr;
      const auto value = convert<OrderKey<T>>(wanted->data_as<T>()[i]);
      std::int64_t low = 0;
      std::int64_t high = length;
      while (low < high) {
        const std::int64_t middle = low + (high - low) / 2;
        const auto key = convert<OrderKey<T>>(line[through != nullptr ? through[middle] : middle]);
        // In this form NaN comes after all numbers.
        const bool stands_before = right ? !(key > value) : !(key >= value);
        if (stands_before) {
          low = middle + 1;
        } else {
          high = middle;
        }
      }
      if (out.dtype == ScalarType::kInt32) {
        out.data_as<std::int32_t>()[i] = static_cast<std::int32_t>(low);
      } else {
        out.data_as<std::int64_t>()[i] = low;
      }
    }
  });
}

AOTITorchError searchsorted(AtenTensorHandle sorted, const Tensor& values, bool out_int32, bool right,
                            const char* const* side, AtenTensorHandle* sorter, AtenTensorHandle* ret,
                            const char* function) {
  const bool from_right = right || (side != nullptr && *side != nullptr && std::string_view(*side) == "right");
  TensorPtr out = make_contiguous(values, out_int32 ? ScalarType::kInt32 : ScalarType::kInt64);
  const Tensor* order = sorter != nullptr ? &checked(*sorter, function, "sorter") : nullptr;
  search(checked(sorted, function, "sorted_sequence"), values, order, from_right, *out, function);
  checked_result(ret, function) = out.release();
  return AOTI_TORCH_SUCCESS;
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_sort(AtenTensorHandle self, std::int64_t dim, std::int32_t descending,
                                       AtenTensorHandle* values, AtenTensorHandle* indices) {
  return sort(self, dim, descending != 0, values, indices, "aoti_torch_cpu_sort");
}

AOTITorchError aotbuild_torch_cpu_sort_stable(AtenTensorHandle self, std::int32_t*, std::int64_t dim,
                                              std::int32_t descending, AtenTensorHandle* values,
                                              AtenTensorHandle* indices) {
  return sort(self, dim, descending != 0, values, indices, "aoti_torch_cpu_sort_stable");
}

AOTITorchError aotbuild_torch_cpu_topk(AtenTensorHandle self, std::int64_t k, std::int64_t dim, std::int32_t largest,
                                       std::int32_t sorted, AtenTensorHandle* values, AtenTensorHandle* indices) {
  constexpr const char* function = "aoti_torch_cpu_topk";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const std::int32_t along = checked_dim(dim, given.ndim, function);
    const std::int64_t length = length_along(given, along);
    if (k < 0 || k > length) fail(function, "k is ", k, " for a dimension of size ", length);
    select_lines(given, along, k, true, values, indices, function, [&](auto& elements) {
      const auto better = [&](const auto& a, const auto& b) {
        return largest != 0 ? comes_after(a.first, b.first) : comes_before(a.first, b.first);
      };
      const auto end = elements.begin() + k;
      if (k == 0) return;
      // For few of many a heap is faster; both ways are torch's, and equal elements come in its order.
      if (k * 64 <= length) {
        std::partial_sort(elements.begin(), end, elements.end(), better);
      } else {
        std::nth_element(elements.begin(), end - 1, elements.end(), better);
        if (sorted != 0) std::sort(elements.begin(), end - 1, better);
      }
    });
  });
}

AOTITorchError aotbuild_torch_cpu_kthvalue(AtenTensorHandle self, std::int64_t k, std::int64_t dim,
                                           std::int32_t keepdim, AtenTensorHandle* values, AtenTensorHandle* indices) {
  constexpr const char* function = "aoti_torch_cpu_kthvalue";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const std::int32_t along = checked_dim(dim, given.ndim, function);
    const std::int64_t length = length_along(given, along);
    if (k < 1 || k > length) fail(function, "k is ", k, " for a dimension of size ", length);
    select_lines(given, along, 1, keepdim != 0, values, indices, function, [&](auto& elements) {
      quickselect(elements, k - 1);
      std::iter_swap(elements.begin(), elements.begin() + (k - 1));
    });
  });
}

AOTITorchError aotbuild_torch_cpu_mode(AtenTensorHandle self, std::int64_t dim, std::int32_t keepdim,
                                       AtenTensorHandle* values, AtenTensorHandle* indices) {
  constexpr const char* function = "aoti_torch_cpu_mode";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const std::int32_t along = checked_dim(dim, given.ndim, function);
    if (length_along(given, along) == 0) fail(function, "dimension ", along, " has size 0");
    select_lines(given, along, 1, keepdim != 0, values, indices, function, [&](auto& elements) {
      std::stable_sort(elements.begin(), elements.end(),
                       [](const auto& a, const auto& b) { return comes_before(a.first, b.first); });
      // The longest run of equal elements, the first of several; its last element stands for it.
      std::size_t best = 0;
      std::size_t most = 0;
      std::size_t run = 0;
      for (std::size_t i = 0; i < elements.size(); ++i) {
        run = i > 0 && elements[i].first == elements[i - 1].first ? run + 1 : 1;
        if (run > most) {
          most = run;
          best = i;
        }
      }
      std::swap(elements[0], elements[best]);
    });
  });
}

AOTITorchError aotbuild_torch_cpu_median(AtenTensorHandle self, AtenTensorHandle* ret) {
  return median_of_all(self, false, ret, "aoti_torch_cpu_median");
}

AOTITorchError aotbuild_torch_cpu_nanmedian(AtenTensorHandle self, AtenTensorHandle* ret) {
  return median_of_all(self, true, ret, "aoti_torch_cpu_nanmedian");
}

AOTITorchError aotbuild_torch_cpu_median_dim(AtenTensorHandle self, std::int64_t dim, std::int32_t keepdim,
                                             AtenTensorHandle* values, AtenTensorHandle* indices) {
  return median_along(self, dim, keepdim != 0, false, values, indices, "aoti_torch_cpu_median_dim");
}

AOTITorchError aotbuild_torch_cpu_nanmedian_dim(AtenTensorHandle self, std::int64_t dim, std::int32_t keepdim,
                                                AtenTensorHandle* values, AtenTensorHandle* indices) {
  return median_along(self, dim, keepdim != 0, true, values, indices, "aoti_torch_cpu_nanmedian_dim");
}

AOTITorchError aotbuild_torch_cpu_searchsorted_Tensor(AtenTensorHandle sorted_sequence, AtenTensorHandle self,
                                                      std::int32_t out_int32, std::int32_t right, const char** side,
                                                      AtenTensorHandle* sorter, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_searchsorted_Tensor";
  return guarded([&] {
    searchsorted(sorted_sequence, checked(self, function, "self"), out_int32 != 0, right != 0, side, sorter, ret,
                 function);
  });
}

AOTITorchError aotbuild_torch_cpu_searchsorted_Scalar(AtenTensorHandle sorted_sequence, double self,
                                                      std::int32_t out_int32, std::int32_t right, const char** side,
                                                      AtenTensorHandle* sorter, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_searchsorted_Scalar";
  return guarded([&] {
    const TensorPtr value = make_tensor(ScalarType::kFloat64, 0, nullptr, nullptr);
    *value->data_as<double>() = self;
    searchsorted(sorted_sequence, *value, out_int32 != 0, right != 0, side, sorter, ret, function);
  });
}

AOTITorchError aotbuild_torch_cpu_bucketize_Tensor(AtenTensorHandle self, AtenTensorHandle boundaries,
                                                   std::int32_t out_int32, std::int32_t right, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_bucketize_Tensor";
  return guarded([&] {
    searchsorted(boundaries, checked(self, function, "self"), out_int32 != 0, right != 0, nullptr, nullptr, ret,
                 function);
  });
}
