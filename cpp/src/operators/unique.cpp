// The C shim: elements, and parts of a tensor along a dimension, that differ from one another.
#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"
#include "tensor/element_order.hpp"
#include "tensor/lines.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

// Results of unique: the elements, for each input element the place of its equal, and how often each occurs. The
// latter two are empty unless asked for.
struct Unique {
  AtenTensorHandle* values;
  AtenTensorHandle* inverse;
  AtenTensorHandle* counts;
  bool wants_inverse;
  bool wants_counts;
};

// Hands the results to the caller; `counts` are of the values.
void give(const Unique& results, TensorPtr values, TensorPtr inverse, const std::vector<std::int64_t>& counts,
          const char* function) {
  const auto found = static_cast<std::int64_t>(counts.size());
  const std::int64_t none = 0;
  TensorPtr how_often = make_tensor(ScalarType::kInt64, 1, results.wants_counts ? &found : &none, nullptr);
  if (results.wants_counts) std::copy(counts.begin(), counts.end(), how_often->data_as<std::int64_t>());
  checked_result(results.values, function) = values.release();
  if (results.inverse != nullptr) *results.inverse = inverse.release();
  if (results.counts != nullptr) *results.counts = how_often.release();
}

// Of each run of equal elements one, of the elements in row-major order or sorted.
void unique(const Tensor& self, bool sorts, const Unique& results, const char* function) {
  const TensorPtr dense = clone_contiguous(self, function);
  const std::int64_t count = self.numel();
  const std::int64_t none = 0;
  TensorPtr inverse = results.wants_inverse ? make_contiguous(self, ScalarType::kInt64)
                                            : make_tensor(ScalarType::kInt64, 1, &none, nullptr);
  std::vector<std::int64_t> places;  // of each result in the input
  std::vector<std::int64_t> counts;
  dispatch_ordered(self.dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::vector<std::pair<OrderKey<T>, std::int64_t>> elements(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) {
      elements[static_cast<std::size_t>(i)] = {convert<OrderKey<T>>(dense->data_as<T>()[i]), i};
    }
    if (sorts) {
      std::stable_sort(elements.begin(), elements.end(),
                       [](const auto& a, const auto& b) { return comes_before(a.first, b.first); });
    }
    for (std::size_t i = 0; i < elements.size(); ++i) {
      if (i == 0 || elements[i].first != elements[i - 1].first) {
        places.push_back(elements[i].second);
        counts.push_back(0);
      }
      ++counts.back();
      if (results.wants_inverse) {
        inverse->data_as<std::int64_t>()[elements[i].second] = static_cast<std::int64_t>(places.size()) - 1;
      }
    }
  });
  const auto found = static_cast<std::int64_t>(places.size());
  TensorPtr values = make_tensor(self.dtype, 1, &found, nullptr);
  const std::size_t width = self.element_size();
  for (std::size_t i = 0; i < places.size(); ++i) {
    std::memcpy(values->data_as<char>() + i * width,
                dense->data_as<char>() + static_cast<std::size_t>(places[i]) * width, width);
  }
  give(results, std::move(values), std::move(inverse), counts, function);
}

// What remains after calls with the numbers of parts in the order of the result, each with where it comes from.
struct Parts {
  std::vector<std::int64_t> places;
  std::vector<std::int64_t> counts;

  void add(std::int64_t part, bool is_new, std::int64_t* inverse) {
    if (is_new) {
      places.push_back(part);
      counts.push_back(0);
    }
    ++counts.back();
    inverse[part] = static_cast<std::int64_t>(places.size()) - 1;
  }
};

// How the parts of a dense tensor along a dimension compare, element by element.
template <typename T>
class PartOrder {
 public:
  PartOrder(const T* data, std::int64_t outer, std::int64_t length, std::int64_t inner)
      : data_(data), outer_(outer), length_(length), inner_(inner) {}

  // 0 where two parts are equal; where NaN counts as different it is not, but has a place in the order.
  int difference(std::int64_t a, std::int64_t b) const {
    for (std::int64_t i = 0; i < outer_; ++i) {
      for (std::int64_t k = 0; k < inner_; ++k) {
        const Key left = key(i, a, k);
        const Key right = key(i, b, k);
        if (comes_before(left, right)) return -1;
        if (comes_before(right, left)) return 1;
      }
    }
    return 0;
  }

  bool has_nan(std::int64_t part) const {
    for (std::int64_t i = 0; i < outer_; ++i) {
      for (std::int64_t k = 0; k < inner_; ++k) {
        if (is_nan(key(i, part, k))) return true;
      }
    }
    return false;
  }

 private:
  using Key = OrderKey<T>;

  Key key(std::int64_t i, std::int64_t part, std::int64_t k) const {
    return convert<Key>(data_[(i * length_ + part) * inner_ + k]);
  }

  const T* data_;
  std::int64_t outer_;
  std::int64_t length_;
  std::int64_t inner_;
};

// The parts of `self` along `dim` that `places` names, in that order.
TensorPtr gather_parts(const Tensor& self, const Tensor& dense, std::int32_t dim, std::int64_t outer,
                       std::int64_t inner, const std::vector<std::int64_t>& places) {
  const auto found = static_cast<std::int64_t>(places.size());
  const std::int64_t length = length_along(self, dim);
  TensorPtr values = make_reduced(self, self.dtype, dim, found);
  const std::size_t width = self.element_size() * static_cast<std::size_t>(inner);
  for (std::int64_t i = 0; i < outer; ++i) {
    for (std::int64_t k = 0; k < found; ++k) {
      const std::int64_t from = i * length + places[static_cast<std::size_t>(k)];
      std::memcpy(values->data_as<char>() + static_cast<std::size_t>(i * found + k) * width,
                  dense.data_as<char>() + static_cast<std::size_t>(from) * width, width);
    }
  }
  return values;
}

// The same for the parts of a tensor along `dim`, which are compared element by element.
void unique_along(const Tensor& self, std::int32_t dim, bool sorts, const Unique& results, const char* function) {
  const TensorPtr dense = clone_contiguous(self, function);
  const std::int64_t length = length_along(self, dim);
  if (length != 0 && self.numel() == 0) fail(function, "a part along dimension ", dim, " has no elements");
  const auto product = [&](std::int32_t from, std::int32_t to) {
    return std::accumulate(self.sizes() + from, self.sizes() + to, std::int64_t{1}, std::multiplies<>());
  };
  const std::int64_t outer = product(0, dim);
  const std::int64_t inner = self.ndim == 0 ? 1 : product(dim + 1, self.ndim);
  std::vector<std::int64_t> order(static_cast<std::size_t>(length));
  std::iota(order.begin(), order.end(), 0);
  TensorPtr inverse = make_tensor(ScalarType::kInt64, 1, &length, nullptr);
  Parts parts;
  dispatch_ordered(self.dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const PartOrder<T> compare(dense->data_as<T>(), outer, length, inner);
    if (sorts) {
      std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return compare.difference(a, b) < 0; });
    }
    for (std::size_t i = 0; i < order.size(); ++i) {
      const bool is_new = i == 0 || compare.difference(order[i - 1], order[i]) != 0 || compare.has_nan(order[i]);
      parts.add(order[i], is_new, inverse->data_as<std::int64_t>());
    }
  });
  const std::int64_t none = 0;
  if (!results.wants_inverse) inverse = make_tensor(ScalarType::kInt64, 1, &none, nullptr);
  TensorPtr values = gather_parts(self, *dense, dim, outer, inner, parts.places);
  give(results, std::move(values), std::move(inverse), parts.counts, function);
}

}  // namespace

AOTITorchError aotbuild_torch_cpu__unique2(AtenTensorHandle self, std::int32_t, std::int32_t return_inverse,
                                           std::int32_t return_counts, AtenTensorHandle* values,
                                           AtenTensorHandle* inverse, AtenTensorHandle* counts) {
  constexpr const char* function = "aoti_torch_cpu__unique2";
  return guarded([&] {
    const Unique results{values, inverse, counts, return_inverse != 0, return_counts != 0};
    unique(checked(self, function, "self"), true, results, function);
  });
}

AOTITorchError aotbuild_torch_cpu_unique_consecutive(AtenTensorHandle self, std::int32_t return_inverse,
                                                     std::int32_t return_counts, std::int64_t* dim,
                                                     AtenTensorHandle* values, AtenTensorHandle* inverse,
                                                     AtenTensorHandle* counts) {
  constexpr const char* function = "aoti_torch_cpu_unique_consecutive";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const Unique results{values, inverse, counts, return_inverse != 0, return_counts != 0};
    if (dim == nullptr) return unique(given, false, results, function);
    unique_along(given, checked_dim(*dim, given.ndim, function), false, results, function);
  });
}

AOTITorchError aotbuild_torch_cpu_unique_dim(AtenTensorHandle self, std::int64_t dim, std::int32_t,
                                             std::int32_t return_inverse, std::int32_t return_counts,
                                             AtenTensorHandle* values, AtenTensorHandle* inverse,
                                             AtenTensorHandle* counts) {
  constexpr const char* function = "aoti_torch_cpu_unique_dim";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const Unique results{values, inverse, counts, return_inverse != 0, return_counts != 0};
    unique_along(given, checked_dim(dim, given.ndim, function), true, results, function);
  });
}
