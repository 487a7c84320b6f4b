// The C shim: distances between rows, bags of embeddings, and sums of segments.
#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"
#include "tensor/element_order.hpp"
#include "tensor/lines.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

// The p-norm of the difference of two rows.
template <typename T>
double distance(const T* a, const T* b, std::int64_t length, double p) {
  double total = 0;
  for (std::int64_t i = 0; i < length; ++i) {
    const double difference = std::fabs(convert<double>(a[i]) - convert<double>(b[i]));
    if (p == 0) {
      total += difference != 0 ? 1 : 0;
    } else if (p == 1) {
      total += difference;
    } else if (p == 2) {
      total += difference * difference;
    } else if (std::isinf(p)) {
      total = std::isnan(difference) ? difference : std::max(total, difference);
    } else {
      total += std::pow(difference, p);
    }
  }
  if (p == 2) return std::sqrt(total);
  return p == 0 || p == 1 || std::isinf(p) ? total : std::pow(total, 1 / p);
}

enum class SegmentReduction { kSum, kMean, kMaximum, kMinimum, kProduct };

SegmentReduction segment_reduction(const char* name, const char* function) {
  const std::string_view text = name != nullptr ? name : "";
  if (text == "sum") return SegmentReduction::kSum;
  if (text == "mean") return SegmentReduction::kMean;
  if (text == "max") return SegmentReduction::kMaximum;
  if (text == "min") return SegmentReduction::kMinimum;
  if (text == "prod") return SegmentReduction::kProduct;
  fail(function, "unknown reduction '", text, "', expected sum, mean, max, min or prod");
}

double segment_start(SegmentReduction reduction) {
  switch (reduction) {
    case SegmentReduction::kMaximum:
      return -INFINITY;
    case SegmentReduction::kMinimum:
      return INFINITY;
    case SegmentReduction::kProduct:
      return 1;
    default:
      return 0;
  }
}

double add_to_segment(double total, double value, SegmentReduction reduction) {
  switch (reduction) {
    case SegmentReduction::kMaximum:
      return std::isnan(value) || value > total ? value : total;
    case SegmentReduction::kMinimum:
      return std::isnan(value) || value < total ? value : total;
    case SegmentReduction::kProduct:
      return total * value;
    default:
      return total + value;
  }
}

TensorPtr as_int64(const Tensor& tensor, const char* function) {
  TensorPtr result = make_contiguous(tensor, ScalarType::kInt64);
  copy(*result, tensor, function);
  return result;
}

enum BagMode : std::int64_t { kBagSum = 0, kBagMean = 1, kBagMax = 2 };

AOTITorchError embedding_bag(AtenTensorHandle weight, AtenTensorHandle indices, AtenTensorHandle offsets,
                             std::int64_t mode, AtenTensorHandle* per_sample_weights, bool include_last_offset,
                             std::int64_t padding_idx, AtenTensorHandle* output, AtenTensorHandle* offset2bag,
                             AtenTensorHandle* bag_size, AtenTensorHandle* max_indices, const char* function) {
  return guarded([&] {
    const Tensor& table = checked(weight, function, "weight");
    const Tensor& given = checked(indices, function, "indices");
    const Tensor& starts = checked(offsets, function, "offsets");
    if (table.ndim != 2 || given.ndim != 1 || starts.ndim != 1) {
      fail(function, "weight, indices and offsets have ", table.ndim, ", ", given.ndim, " and ", starts.ndim,
           " dimensions, expected 2, 1 and 1");
    }
    const TensorPtr rows = clone_contiguous(table, function);
    const TensorPtr places = as_int64(given, function);
    const TensorPtr begins = as_int64(starts, function);
    TensorPtr scales;
    if (per_sample_weights != nullptr) {
      const Tensor& factors = checked(*per_sample_weights, function, "per_sample_weights");
      if (factors.numel() != given.numel() || factors.dtype != table.dtype) {
        fail(function, "per_sample_weights has ", factors.numel(), " elements of type ", dtype_name(factors.dtype),
             ", expected ", given.numel(), " of type ", dtype_name(table.dtype));
      }
      scales = clone_contiguous(factors, function);
    }
    const std::int64_t count = given.numel();
    const std::int64_t bags = std::max<std::int64_t>(starts.numel() - (include_last_offset ? 1 : 0), 0);
    const std::int64_t width = table.sizes()[1];
    const std::int64_t padding = padding_idx < 0 && padding_idx != -1 ? padding_idx + table.sizes()[0] : padding_idx;
    const std::int64_t sizes[] = {bags, width};
    TensorPtr out = make_tensor(table.dtype, 2, sizes, nullptr);
    TensorPtr lengths = make_tensor(given.dtype, 1, &bags, nullptr);
    TensorPtr bag_of = make_tensor(given.dtype, 1, &count, nullptr);
    TensorPtr largest =
        mode == kBagMax ? make_tensor(given.dtype, 2, sizes, nullptr) : make_tensor(given.dtype, 1, &bags, nullptr);
    const std::int64_t zero = 0;
    for (Tensor* cleared : {lengths.get(), bag_of.get(), largest.get()}) fill(*cleared, &zero, function);
    dispatch_real(table.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      std::vector<double> total(static_cast<std::size_t>(width));
      for (std::int64_t bag = 0; bag < bags; ++bag) {
        const std::int64_t begin = begins->data_as<std::int64_t>()[bag];
        const std::int64_t end = bag + 1 < starts.numel() ? begins->data_as<std::int64_t>()[bag + 1] : count;
        if (begin < 0 || begin > end || end > count) fail(function, "offsets must rise from 0 to ", count);
        std::fill(total.begin(), total.end(), 0.0);
        std::int64_t terms = 0;
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t row = places->data_as<std::int64_t>()[i];
          if (row < 0 || row >= table.sizes()[0]) {
            fail(function, "index ", row, " is out of bounds for ", table.sizes()[0], " embeddings");
          }
          if (row == padding) continue;
          const double scale = scales != nullptr ? convert<double>(scales->data_as<T>()[i]) : 1;
          for (std::int64_t column = 0; column < width; ++column) {
            const double value = convert<double>(rows->data_as<T>()[row * width + column]);
            double& sum = total[static_cast<std::size_t>(column)];
            if (mode == kBagMax) {
              sum = terms == 0 || value > sum ? value : sum;
            } else {
              sum += scale * value;
            }
          }
          ++terms;
        }
        for (std::int64_t column = 0; column < width; ++column) {
          const double sum = total[static_cast<std::size_t>(column)];
          out->data_as<T>()[bag * width + column] =
              convert<T>(mode == kBagMean && terms != 0 ? sum / static_cast<double>(terms) : sum);
        }
      }
    });
    checked_result(output, function) = out.release();
    // What only a backward pass reads.
    if (offset2bag != nullptr) *offset2bag = bag_of.release();
    if (bag_size != nullptr) *bag_size = lengths.release();
    if (max_indices != nullptr) *max_indices = largest.release();
  });
}

}  // namespace

AOTITorchError aotbuild_torch_cpu__cdist_forward(AtenTensorHandle x1, AtenTensorHandle x2, double p, std::int64_t*,
                                                 AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu__cdist_forward";
  return guarded([&] {
    const Tensor& a = checked(x1, function, "x1");
    const Tensor& b = checked(x2, function, "x2");
    if (a.ndim < 2 || b.ndim < 2 || a.dtype != b.dtype || a.sizes()[a.ndim - 1] != b.sizes()[b.ndim - 1]) {
      fail(function, "rows of sizes ", format_dims(a.ndim, a.sizes()), " and ", format_dims(b.ndim, b.sizes()),
           " have no distances");
    }
    // The leading dimensions are broadcast.
    const std::int32_t rank = std::max(a.ndim, b.ndim);
    std::vector<std::int64_t> batch(static_cast<std::size_t>(rank - 2), 1);
    for (const Tensor* tensor : {&a, &b}) {
      for (std::int32_t d = 0; d < tensor->ndim - 2; ++d) {
        std::int64_t& size = batch[static_cast<std::size_t>(rank - tensor->ndim + d)];
        if (size == 1) size = tensor->sizes()[d];
      }
    }
    const auto expanded = [&](const Tensor& tensor) {
      std::vector<std::int64_t> sizes = batch;
      sizes.insert(sizes.end(), tensor.sizes() + tensor.ndim - 2, tensor.sizes() + tensor.ndim);
      TensorPtr result = make_tensor(tensor.dtype, rank, sizes.data(), nullptr);
      copy(*result, tensor, function);
      return result;
    };
    const TensorPtr first = expanded(a);
    const TensorPtr second = expanded(b);
    const std::int64_t length = a.sizes()[a.ndim - 1];
    const std::int64_t rows = a.sizes()[a.ndim - 2];
    const std::int64_t columns = b.sizes()[b.ndim - 2];
    std::vector<std::int64_t> sizes = batch;
    sizes.insert(sizes.end(), {rows, columns});
    TensorPtr out = make_tensor(a.dtype, rank, sizes.data(), nullptr);
    dispatch_real(a.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      for (std::int64_t i = 0; i < out->numel(); ++i) {
        const std::int64_t item = i / (rows * columns);
        const T* const row = first->data_as<T>() + i / columns * length;
        const T* const column = second->data_as<T>() + (item * columns + i % columns) * length;
        out->data_as<T>()[i] = convert<T>(distance(row, column, length, p));
      }
    });
    checked_result(ret, function) = out.release();
  });
}

AOTITorchError aotbuild_torch_cpu__pdist_forward(AtenTensorHandle self, double p, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu__pdist_forward";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    if (given.ndim != 2) fail(function, "the input has ", given.ndim, " dimensions, expected 2");
    const TensorPtr dense = clone_contiguous(given, function);
    const std::int64_t rows = given.sizes()[0];
    const std::int64_t length = given.sizes()[1];
    const std::int64_t pairs = rows * (rows - 1) / 2;
    TensorPtr out = make_tensor(given.dtype, 1, &pairs, nullptr);
    dispatch_real(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      T* at = out->data_as<T>();
      const T* const first = dense->data_as<T>();
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = i + 1; j < rows; ++j) {
          *at++ = convert<T>(distance(first + i * length, first + j * length, length, p));
        }
      }
    });
    checked_result(ret, function) = out.release();
  });
}

AOTITorchError aotbuild_torch_cpu__embedding_bag(AtenTensorHandle weight, AtenTensorHandle indices,
                                                 AtenTensorHandle offsets, std::int32_t, std::int64_t mode,
                                                 std::int32_t, AtenTensorHandle* per_sample_weights,
                                                 std::int32_t include_last_offset, std::int64_t padding_idx,
                                                 AtenTensorHandle* output, AtenTensorHandle* offset2bag,
                                                 AtenTensorHandle* bag_size, AtenTensorHandle* max_indices) {
  return embedding_bag(weight, indices, offsets, mode, per_sample_weights, include_last_offset != 0, padding_idx,
                       output, offset2bag, bag_size, max_indices, "aoti_torch_cpu__embedding_bag");
}

AOTITorchError aotbuild_torch_cpu__embedding_bag_forward_only(
    AtenTensorHandle weight, AtenTensorHandle indices, AtenTensorHandle offsets, std::int32_t, std::int64_t mode,
    std::int32_t, AtenTensorHandle* per_sample_weights, std::int32_t include_last_offset, std::int64_t padding_idx,
    AtenTensorHandle* output, AtenTensorHandle* offset2bag, AtenTensorHandle* bag_size, AtenTensorHandle* max_indices) {
  return embedding_bag(weight, indices, offsets, mode, per_sample_weights, include_last_offset != 0, padding_idx,
                       output, offset2bag, bag_size, max_indices, "aoti_torch_cpu__embedding_bag_forward_only");
}

AOTITorchError aotbuild_torch_cpu_segment_reduce(AtenTensorHandle data, const char* reduce, AtenTensorHandle* lengths,
                                                 AtenTensorHandle*, AtenTensorHandle* offsets, std::int64_t axis,
                                                 std::int32_t, double* initial, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_segment_reduce";
  return guarded([&] {
    const Tensor& given = checked(data, function, "data");
    const SegmentReduction reduction = segment_reduction(reduce, function);
    if (lengths == nullptr && offsets == nullptr) fail(function, "neither lengths nor offsets are given");
    const Tensor& bounds =
        lengths != nullptr ? checked(*lengths, function, "lengths") : checked(*offsets, function, "offsets");
    const std::int32_t along = checked_dim(axis, given.ndim, function);
    if (bounds.ndim != along + 1) {
      fail(function, "lengths or offsets have ", bounds.ndim, " dimensions, expected ", along + 1);
    }
    const TensorPtr dense = clone_contiguous(given, function);
    const TensorPtr marks = as_int64(bounds, function);
    const std::int64_t mark_count = bounds.sizes()[along];
    const std::int64_t segments = lengths != nullptr ? mark_count : mark_count - 1;
    std::int64_t outer = 1;
    for (std::int32_t d = 0; d < along; ++d) outer *= given.sizes()[d];
    std::int64_t inner = 1;
    for (std::int32_t d = along + 1; d < given.ndim; ++d) inner *= given.sizes()[d];
    const std::int64_t length = given.sizes()[along];
    TensorPtr out = make_reduced(given, given.dtype, along, segments);
    dispatch_real(given.dtype, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      for (std::int64_t row = 0; row < outer; ++row) {
        const std::int64_t* const mark = marks->data_as<std::int64_t>() + row * mark_count;
        std::int64_t begin = lengths != nullptr ? 0 : mark[0];
        for (std::int64_t segment = 0; segment < segments; ++segment) {
          const std::int64_t end = lengths != nullptr ? begin + mark[segment] : mark[segment + 1];
          if (begin < 0 || end < begin || end > length)
            fail(function, "a segment reaches beyond ", length, " elements");
          for (std::int64_t i = 0; i < inner; ++i) {
            double total = initial != nullptr ? *initial : segment_start(reduction);
            for (std::int64_t at = begin; at < end; ++at) {
              total = add_to_segment(total, convert<double>(dense->data_as<T>()[(row * length + at) * inner + i]),
                                     reduction);
            }
            // The mean of nothing is NaN, unless a first value was given.
            if (reduction == SegmentReduction::kMean && (end > begin || initial == nullptr)) {
              total = end > begin ? total / static_cast<double>(end - begin) : NAN;
            }
            out->data_as<T>()[(row * segments + segment) * inner + i] = convert<T>(total);
          }
          begin = end;
        }
      }
    });
    checked_result(ret, function) = out.release();
  });
}
