// The C shim: results whose sizes depend on values, and reductions into indexed places.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"
#include "tensor/element_order.hpp"
#include "tensor/lines.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

// The places of elements that are not zero, in row-major order.
std::vector<std::int64_t> nonzero_places(const Tensor& self, const char* function) {
  std::vector<std::int64_t> places;
  const TensorPtr dense = clone_contiguous(self, function);
  dispatch(self.dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* const elements = dense->data_as<T>();
    for (std::int64_t i = 0; i < dense->numel(); ++i) {
      if (convert<bool>(elements[i])) places.push_back(i);
    }
  });
  return places;
}

// Writes the index of the element at `place` of a row-major tensor.
void unravel(std::int64_t place, const Tensor& self, std::int64_t* index) {
  for (std::int32_t d = self.ndim; d > 0; --d) {
    const std::int64_t size = self.sizes()[d - 1];
    index[d - 1] = place % size;
    place /= size;
  }
}

std::vector<std::int64_t> broadcast_sizes(const Tensor& a, const Tensor& b, const char* function) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(std::max(a.ndim, b.ndim)), 1);
  for (const Tensor* tensor : {&a, &b}) {
    const std::size_t lead = sizes.size() - static_cast<std::size_t>(tensor->ndim);
    for (std::int32_t d = 0; d < tensor->ndim; ++d) {
      std::int64_t& size = sizes[lead + static_cast<std::size_t>(d)];
      if (size == 1) size = tensor->sizes()[d];
      if (tensor->sizes()[d] != 1 && tensor->sizes()[d] != size) {
        fail(function, "sizes ", format_dims(a.ndim, a.sizes()), " and ", format_dims(b.ndim, b.sizes()),
             " cannot be broadcast together");
      }
    }
  }
  return sizes;
}

TensorPtr expanded(const Tensor& tensor, const std::vector<std::int64_t>& sizes, const char* function) {
  TensorPtr result = make_tensor(tensor.dtype, static_cast<std::int64_t>(sizes.size()), sizes.data(), nullptr);
  copy(*result, tensor, function);
  return result;
}

void check_mask(const Tensor& mask, const char* function) {
  if (mask.dtype != ScalarType::kBool && mask.dtype != ScalarType::kUInt8) {
    fail(function, "the mask has type ", dtype_name(mask.dtype), ", expected bool");
  }
}

// Copies element `from` of one dense tensor to `to` of another.
void copy_element(Tensor& target, std::int64_t to, const Tensor& source, std::int64_t from) {
  const auto width = static_cast<std::int64_t>(source.element_size());
  std::memcpy(target.data_as<char>() + to * width, source.data_as<char>() + from * width,
              static_cast<std::size_t>(width));
}

enum class IndexReduction { kProduct, kMean, kMaximum, kMinimum };

IndexReduction index_reduction(const char* name, const char* function) {
  const std::string text = name != nullptr ? name : "";
  if (text == "prod") return IndexReduction::kProduct;
  if (text == "mean") return IndexReduction::kMean;
  if (text == "amax") return IndexReduction::kMaximum;
  if (text == "amin") return IndexReduction::kMinimum;
  fail(function, "unknown reduction '", text, "', expected prod, mean, amax or amin");
}

template <typename T>
T reduce_pair(T a, T b, IndexReduction reduction) {
  switch (reduction) {
    case IndexReduction::kProduct:
      return static_cast<T>(a * b);
    case IndexReduction::kMean:
      return static_cast<T>(a + b);
    case IndexReduction::kMaximum:
      return is_nan(a) || (!is_nan(b) && a >= b) ? a : b;
    case IndexReduction::kMinimum:
      return is_nan(a) || (!is_nan(b) && a <= b) ? a : b;
  }
  return a;
}

template <typename T>
T divide_mean(T total, std::int64_t terms) {
  if constexpr (std::is_integral_v<T>) {
    const auto wide = static_cast<std::int64_t>(total);
    return static_cast<T>(wide / terms - (wide % terms != 0 && wide < 0 ? 1 : 0));  // rounded down, as in torch
  } else {
    return total / static_cast<T>(terms);
  }
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_nonzero(AtenTensorHandle self, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_nonzero";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const std::vector<std::int64_t> places = nonzero_places(given, function);
    const std::int64_t sizes[] = {static_cast<std::int64_t>(places.size()), given.ndim};
    TensorPtr out = make_tensor(ScalarType::kInt64, 2, sizes, nullptr);
    auto* row = out->data_as<std::int64_t>();
    for (const std::int64_t place : places) {
      unravel(place, given, row);
      row += given.ndim;
    }
    checked_result(ret, function) = out.release();
  });
}

AOTITorchError aotbuild_torch_cpu_nonzero_static(AtenTensorHandle self, std::int64_t size, std::int64_t fill_value,
                                                 AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_nonzero_static";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    if (size < 0) fail(function, "size is ", size);
    const std::vector<std::int64_t> places = nonzero_places(given, function);
    const std::int64_t sizes[] = {size, given.ndim};
    TensorPtr out = make_tensor(ScalarType::kInt64, 2, sizes, nullptr);
    fill(*out, &fill_value, function);
    auto* row = out->data_as<std::int64_t>();
    for (std::size_t i = 0; i < std::min(places.size(), static_cast<std::size_t>(size)); ++i) {
      unravel(places[i], given, row);
      row += given.ndim;
    }
    checked_result(ret, function) = out.release();
  });
}

AOTITorchError aotbuild_torch_cpu_masked_select(AtenTensorHandle self, AtenTensorHandle mask, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_masked_select";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const Tensor& chosen = checked(mask, function, "mask");
    check_mask(chosen, function);
    const std::vector<std::int64_t> sizes = broadcast_sizes(given, chosen, function);
    const TensorPtr elements = expanded(given, sizes, function);
    const std::vector<std::int64_t> places = nonzero_places(*expanded(chosen, sizes, function), function);
    const auto count = static_cast<std::int64_t>(places.size());
    TensorPtr out = make_tensor(given.dtype, 1, &count, nullptr);
    for (std::int64_t i = 0; i < count; ++i) copy_element(*out, i, *elements, places[static_cast<std::size_t>(i)]);
    checked_result(ret, function) = out.release();
  });
}

AOTITorchError aotbuild_torch_cpu_masked_scatter(AtenTensorHandle self, AtenTensorHandle mask, AtenTensorHandle source,
                                                 AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_masked_scatter";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const Tensor& chosen = checked(mask, function, "mask");
    const Tensor& values = checked(source, function, "source");
    check_mask(chosen, function);
    if (values.dtype != given.dtype) {
      fail(function, "source has type ", dtype_name(values.dtype), ", expected ", dtype_name(given.dtype));
    }
    const std::vector<std::int64_t> sizes = broadcast_sizes(given, chosen, function);
    TensorPtr out = expanded(given, sizes, function);
    const std::vector<std::int64_t> places = nonzero_places(*expanded(chosen, sizes, function), function);
    if (static_cast<std::int64_t>(places.size()) > values.numel()) {
      fail(function, "the source has ", values.numel(), " elements, and the mask is true at ", places.size(),
           " places");
    }
    const TensorPtr dense = clone_contiguous(values, function);
    for (std::size_t i = 0; i < places.size(); ++i) {
      copy_element(*out, places[i], *dense, static_cast<std::int64_t>(i));
    }
    checked_result(ret, function) = out.release();
  });
}

AOTITorchError aotbuild_torch_cpu_index_reduce(AtenTensorHandle self, std::int64_t dim, AtenTensorHandle index,
                                               AtenTensorHandle source, const char* reduce, std::int32_t include_self,
                                               AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_index_reduce";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const Tensor& values = checked(source, function, "source");
    const std::int32_t along = checked_dim(dim, given.ndim, function);
    const IndexReduction reduction = index_reduction(reduce, function);
    const TensorPtr places = make_contiguous(checked(index, function, "index"), ScalarType::kInt64);
    copy(*places, *index, function);
    const std::int64_t limit = length_along(given, along);
    if (values.dtype != given.dtype || values.ndim != given.ndim || places->numel() != length_along(values, along)) {
      fail(function, "source of sizes ", format_dims(values.ndim, values.sizes()), " does not fit ", places->numel(),
           " indices into a tensor of sizes ", format_dims(given.ndim, given.sizes()));
    }
    TensorPtr out = clone_contiguous(given, function);
    std::vector<std::int64_t> counts(static_cast<std::size_t>(limit), include_self != 0 ? 1 : 0);
    dispatch_ordered(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      using Sum = std::conditional_t<is_half<T>, float, T>;
      for_each_line<2>({out.get(), &values}, along, [&](const std::array<char*, 2>& starts) {
        const Line<T> target(starts[0], stride_along(*out, along));
        const Line<T> line(starts[1], stride_along(values, along));
        std::fill(counts.begin(), counts.end(), include_self != 0 ? 1 : 0);
        for (std::int64_t i = 0; i < places->numel(); ++i) {
          const std::int64_t place = places->data_as<std::int64_t>()[i];
          if (place < 0 || place >= limit) fail(function, "index ", place, " is out of bounds for size ", limit);
          std::int64_t& count = counts[static_cast<std::size_t>(place)];
          target[place] = count == 0
                              ? line[i]
                              : convert<T>(reduce_pair(convert<Sum>(target[place]), convert<Sum>(line[i]), reduction));
          ++count;
        }
        if (reduction != IndexReduction::kMean) return;
        for (std::int64_t i = 0; i < limit; ++i) {
          const std::int64_t count = counts[static_cast<std::size_t>(i)];
          if (count > 1) target[i] = convert<T>(divide_mean(convert<Sum>(target[i]), count));
        }
      });
    });
    checked_result(ret, function) = out.release();
  });
}

AOTITorchError aotbuild_torch_cpu_repeat_interleave_Tensor(AtenTensorHandle repeats, std::int64_t* output_size,
                                                           AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_repeat_interleave_Tensor";
  return guarded([&] {
    const Tensor& given = checked(repeats, function, "repeats");
    if (given.ndim != 1) fail(function, "repeats has ", given.ndim, " dimensions, expected 1");
    const TensorPtr counts = make_contiguous(given, ScalarType::kInt64);
    copy(*counts, given, function);
    const auto* const first = counts->data_as<std::int64_t>();
    if (std::any_of(first, first + given.numel(), [](std::int64_t count) { return count < 0; })) {
      fail(function, "repeats must not be negative");
    }
    const std::int64_t total = std::accumulate(first, first + given.numel(), std::int64_t{0});
    if (output_size != nullptr && *output_size != total) {
      fail(function, "output_size is ", *output_size, ", and repeats add up to ", total);
    }
    TensorPtr out = make_tensor(given.dtype, 1, &total, nullptr);
    dispatch_ordered(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      T* at = out->data_as<T>();
      for (std::int64_t i = 0; i < given.numel(); ++i) at = std::fill_n(at, first[i], convert<T>(i));
    });
    checked_result(ret, function) = out.release();
  });
}
