// The C shim: writes through indices.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

#include "aotbuild/detail/shim.h"
#include "base/loops.hpp"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

enum class Reduction { kAssign, kSum, kProduct, kMean, kMaximum, kMinimum };

Reduction reduction_named(const char* name, const char* function) {
  const std::string_view text = name != nullptr ? name : "";
  if (text == "sum" || text == "add") return Reduction::kSum;
  if (text == "prod" || text == "multiply") return Reduction::kProduct;
  if (text == "mean") return Reduction::kMean;
  if (text == "amax") return Reduction::kMaximum;
  if (text == "amin") return Reduction::kMinimum;
  fail(function, "unknown reduction '", text, "', expected sum, prod, mean, amax or amin");
}

// NaN wins, as in torch.
template <typename T>
bool replaces(T candidate, T current, Reduction reduction) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(current)) return false;
    if (std::isnan(candidate)) return true;
  }
  return reduction == Reduction::kMaximum ? candidate > current : candidate < current;
}

template <typename T>
T combine(T current, T value, Reduction reduction) {
  using Sum = Accumulator<T>;
  const Sum a = convert<Sum>(current);
  const Sum b = convert<Sum>(value);
  switch (reduction) {
    case Reduction::kAssign:
      return value;
    case Reduction::kSum:
    case Reduction::kMean:
      return convert<T>(static_cast<Sum>(a + b));
    case Reduction::kProduct:
      return convert<T>(static_cast<Sum>(a * b));
    case Reduction::kMaximum:
    case Reduction::kMinimum:
      if constexpr (!is_complex<Sum>) return replaces(b, a, reduction) ? value : current;
      break;
  }
  return value;
}

std::int64_t index_at(const char* at, ScalarType dtype) {
  if (dtype == ScalarType::kInt32) {
    std::int32_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  std::int64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

void check_index_type(const Tensor& index, const char* function) {
  if (index.dtype != ScalarType::kInt64 && index.dtype != ScalarType::kInt32) {
    fail(function, "indices have type ", dtype_name(index.dtype), ", expected int64 or int32");
  }
}

void copy_unless_same(Tensor& out, const Tensor& self, const char* function) {
  if (out.data() != self.data()) copy(out, self, function);
}

// out[.., index[i..], ..] = combine(out[..], source[i..]); `scalar` in place of `source` when that is null.
void scatter(Tensor& out, const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor* source,
             double scalar, Reduction reduction, bool include_self, const char* function) {
  check_index_type(index, function);
  const std::int32_t along = checked_dim(dim, out.ndim, function);
  if (index.ndim != out.ndim || (source != nullptr && (source->ndim != out.ndim || source->dtype != out.dtype))) {
    fail(function, "index of sizes ", format_dims(index.ndim, index.sizes()), " does not fit a tensor of sizes ",
         format_dims(out.ndim, out.sizes()), ", or the source is of another rank or type");
  }
  copy_unless_same(out, self, function);
  if (index.numel() == 0) return;
  const auto width = static_cast<std::int64_t>(out.element_size());
  StridedLoop<3> loop;  // out without `dim`, index, source
  for (std::int32_t d = 0; d < out.ndim; ++d) {
    const std::int64_t size = index.sizes()[d];
    if ((d != along && size > out.sizes()[d]) || (source != nullptr && size > source->sizes()[d])) {
      fail(function, "index of sizes ", format_dims(index.ndim, index.sizes()), " is larger than the tensor of sizes ",
           format_dims(out.ndim, out.sizes()), " or the source");
    }
    loop.add_dim(size, {d == along ? 0 : out.strides()[d] * width,
                        index.strides()[d] * static_cast<std::int64_t>(index.element_size()),
                        source != nullptr ? source->strides()[d] * width : 0});
  }
  const std::int64_t limit = out.ndim == 0 ? 1 : out.sizes()[along];
  const std::int64_t step = out.ndim == 0 ? 0 : out.strides()[along] * width;

  // How often each element was written, for means and for results without the elements of `self`.
  TensorPtr counts;
  if (reduction == Reduction::kMean || (reduction != Reduction::kAssign && !include_self)) {
    counts = make_tensor(ScalarType::kInt64, out.ndim, out.sizes(), out.strides());
    const std::int64_t first = 0;
    fill(*counts, &first, function);
  }
  dispatch(out.dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T value_of_scalar = convert<T>(scalar);
    char* const source_data = source != nullptr ? source->data_as<char>() : nullptr;
    loop.run({out.data_as<char>(), index.data_as<char>(), source_data},
             [&](const std::array<char*, 3>& at, std::int64_t count, const std::array<std::int64_t, 3>& steps) {
               for (std::int64_t i = 0; i < count; ++i) {
                 const std::int64_t position = index_at(at[1] + i * steps[1], index.dtype);
                 if (position < 0 || position >= limit) {
                   fail(function, "index ", position, " is out of bounds for dimension ", dim, " of size ", limit);
                 }
                 auto* target = reinterpret_cast<T*>(at[0] + i * steps[0] + position * step);
                 const T value =
                     source != nullptr ? *reinterpret_cast<const T*>(at[2] + i * steps[2]) : value_of_scalar;
                 bool is_first = false;
                 if (counts != nullptr) {
                   const std::int64_t element = target - out.data_as<T>();  // counts has the strides of out
                   is_first = ++counts->data_as<std::int64_t>()[element] == 1 && !include_self;
                 }
                 *target = is_first ? value : combine(*target, value, reduction);
               }
             });
    if (reduction != Reduction::kMean) return;
    StridedLoop<2> divide;
    for (std::int32_t d = 0; d < out.ndim; ++d) {
      divide.add_dim(out.sizes()[d], {out.strides()[d] * width, counts->strides()[d] * 8});
    }
    divide.run({out.data_as<char>(), counts->data_as<char>()},
               [&](const std::array<char*, 2>& at, std::int64_t count, const std::array<std::int64_t, 2>& steps) {
                 for (std::int64_t i = 0; i < count; ++i) {
                   auto* target = reinterpret_cast<T*>(at[0] + i * steps[0]);
                   std::int64_t written;
                   std::memcpy(&written, at[1] + i * steps[1], sizeof written);
                   const std::int64_t terms = written + (include_self ? 1 : 0);
                   if (written == 0) continue;
                   if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
                     // torch rounds the mean of integers down.
                     const auto total = static_cast<std::int64_t>(*target);
                     const std::int64_t mean = total / terms - (total % terms != 0 && total < 0 ? 1 : 0);
                     *target = static_cast<T>(mean);
                   } else {
                     using Sum = Accumulator<T>;
                     *target = convert<T>(static_cast<Sum>(convert<Sum>(*target) / convert<Sum>(double(terms))));
                   }
                 }
               });
  });
}

// out[indices...] = values, or += where `accumulate`. Null entries of `indices` stand for whole dimensions.
void index_put(Tensor& out, const std::vector<const Tensor*>& indices, const Tensor& values, bool accumulate,
               const char* function) {
  if (indices.size() > static_cast<std::size_t>(out.ndim)) {
    fail(function, indices.size(), " indices for a tensor of ", out.ndim, " dimensions");
  }
  if (values.dtype != out.dtype) {
    fail(function, "values have type ", dtype_name(values.dtype), ", expected ", dtype_name(out.dtype));
  }
  // All indices have one shape after broadcasting.
  std::vector<std::int64_t> shape;
  std::vector<std::size_t> indexed;
  for (std::size_t d = 0; d < indices.size(); ++d) {
    if (indices[d] == nullptr) continue;
    const Tensor& index = *indices[d];
    check_index_type(index, function);
    indexed.push_back(d);
    const auto rank = static_cast<std::size_t>(index.ndim);
    if (shape.size() < rank) shape.insert(shape.begin(), rank - shape.size(), 1);
    for (std::size_t i = 0; i < rank; ++i) {
      std::int64_t& size = shape[shape.size() - rank + i];
      if (size == 1) size = index.sizes()[i];
      if (index.sizes()[i] != size && index.sizes()[i] != 1) fail(function, "indices cannot be broadcast together");
    }
  }
  // The result's dimensions: those of the indices stand where the indices were when these are neighbours, else first.
  const bool adjacent = !indexed.empty() && indexed.back() - indexed.front() + 1 == indexed.size();
  const std::size_t place = adjacent ? indexed.front() : 0;
  struct Dim {
    std::int64_t size;
    std::int64_t out_stride;
    std::int64_t value_stride;
    std::vector<std::int64_t> index_strides;
  };
  std::vector<Dim> dims;
  const auto add_index_dims = [&] {
    for (std::size_t i = 0; i < shape.size(); ++i) {
      Dim dim{shape[i], 0, 0, {}};
      for (const std::size_t d : indexed) {
        const Tensor& index = *indices[d];
        const auto own = static_cast<std::int64_t>(i) - static_cast<std::int64_t>(shape.size()) + index.ndim;
        const bool moves = own >= 0 && index.sizes()[own] != 1;
        dim.index_strides.push_back(moves ? index.strides()[own] * static_cast<std::int64_t>(index.element_size()) : 0);
      }
      dims.push_back(std::move(dim));
    }
  };
  for (std::size_t d = 0; d < static_cast<std::size_t>(out.ndim); ++d) {
    if (d == place) add_index_dims();
    if (d < indices.size() && indices[d] != nullptr) continue;
    dims.push_back({out.sizes()[d], out.strides()[d], 0, std::vector<std::int64_t>(indexed.size(), 0)});
  }
  const auto lead = static_cast<std::int64_t>(dims.size()) - values.ndim;
  if (lead < 0) fail(function, "values have ", values.ndim, " dimensions, expected at most ", dims.size());
  for (std::int64_t d = 0; d < values.ndim; ++d) {
    Dim& dim = dims[static_cast<std::size_t>(lead + d)];
    if (values.sizes()[d] == 1) continue;
    if (values.sizes()[d] != dim.size) fail(function, "values cannot be broadcast to the indexed elements");
    dim.value_stride = values.strides()[d];
  }
  if (std::any_of(dims.begin(), dims.end(), [](const Dim& dim) { return dim.size == 0; })) return;

  dispatch(out.dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::vector<std::int64_t> counter(dims.size(), 0);
    std::vector<const char*> index_at_dim;
    for (const std::size_t d : indexed) index_at_dim.push_back(indices[d]->template data_as<char>());
    T* target = out.data_as<T>();
    const T* value = values.data_as<T>();
    while (true) {
      std::int64_t offset = 0;
      for (std::size_t k = 0; k < indexed.size(); ++k) {
        const std::int64_t size = out.sizes()[indexed[k]];
        const std::int64_t given = index_at(index_at_dim[k], indices[indexed[k]]->dtype);
        const std::int64_t position = given < 0 ? given + size : given;
        if (position < 0 || position >= size) {
          fail(function, "index ", given, " is out of bounds for dimension ", indexed[k], " of size ", size);
        }
        offset += position * out.strides()[indexed[k]];
      }
      target[offset] = combine(target[offset], *value, accumulate ? Reduction::kSum : Reduction::kAssign);
      std::size_t d = dims.size();
      while (d > 0) {
        --d;
        const Dim& dim = dims[d];
        const std::int64_t moves = ++counter[d] < dim.size ? 1 : 1 - dim.size;
        target += moves * dim.out_stride;
        value += moves * dim.value_stride;
        for (std::size_t k = 0; k < indexed.size(); ++k) index_at_dim[k] += moves * dim.index_strides[k];
        if (moves == 1) break;
        counter[d] = 0;
        if (d == 0) return;
      }
      if (dims.empty()) return;
    }
  });
}

// What a mask over some dimensions of `out`, which begin at `place`, selects: for each of them the indices.
std::vector<TensorPtr> selected(const Tensor& mask, const Tensor& out, std::size_t place, const char* function) {
  const auto rank = static_cast<std::size_t>(mask.ndim);
  if (rank == 0 || place + rank > static_cast<std::size_t>(out.ndim) ||
      !std::equal(mask.sizes(), mask.sizes() + rank, out.sizes() + place)) {
    fail(function, "a mask of sizes ", format_dims(mask.ndim, mask.sizes()), " at dimension ", place,
         " does not fit a tensor of sizes ", format_dims(out.ndim, out.sizes()));
  }
  const TensorPtr dense = clone_contiguous(mask, function);
  const bool* const elements = dense->data_as<bool>();
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < dense->numel(); ++i) {
    if (elements[i]) places.push_back(i);
  }
  const auto count = static_cast<std::int64_t>(places.size());
  std::vector<TensorPtr> result(rank);
  for (std::size_t d = rank; d > 0; --d) {
    const std::int64_t size = mask.sizes()[d - 1];
    const std::int64_t stride = 1;
    result[d - 1] = make_tensor(ScalarType::kInt64, 1, &count, &stride);
    for (std::size_t i = 0; i < places.size(); ++i) {
      result[d - 1]->data_as<std::int64_t>()[i] = places[i] % size;
      places[i] /= size;
    }
  }
  return result;
}

AOTITorchError guarded_scatter(AtenTensorHandle out, AtenTensorHandle self, std::int64_t dim, AtenTensorHandle index,
                               AtenTensorHandle source, const char* reduce, bool include_self, const char* function) {
  return guarded([&] {
    const Reduction reduction = reduce == nullptr ? Reduction::kAssign : reduction_named(reduce, function);
    scatter(checked(out, function, "out"), checked(self, function, "self"), dim, checked(index, function, "index"),
            &checked(source, function, "source"), 0, reduction, include_self, function);
  });
}

}  // namespace

AOTITorchError aotbuild_torch_index_put_out(AtenTensorHandle out, AtenTensorHandle self,
                                            const AtenTensorHandle* indices, std::uint32_t index_count,
                                            AtenTensorHandle values, bool accumulate) {
  constexpr const char* function = "aoti_torch_index_put_out";
  return guarded([&] {
    Tensor& target = checked(out, function, "out");
    if (indices == nullptr) fail(function, "argument 'indices' is null");
    std::vector<const Tensor*> given;
    std::vector<TensorPtr> of_masks;
    for (std::uint32_t i = 0; i < index_count; ++i) {
      const bool is_whole = indices[i] == nullptr || indices[i]->storage == nullptr;
      if (is_whole || indices[i]->dtype != ScalarType::kBool) {
        given.push_back(is_whole ? nullptr : indices[i]);
        continue;
      }
      for (TensorPtr& index : selected(*indices[i], target, given.size(), function)) {
        given.push_back(index.get());
        of_masks.push_back(std::move(index));
      }
    }
    copy_unless_same(target, checked(self, function, "self"), function);
    index_put(target, given, checked(values, function, "values"), accumulate, function);
  });
}

AOTITorchError aotbuild_torch_scatter_out(AtenTensorHandle out, AtenTensorHandle self, std::int64_t dim,
                                          AtenTensorHandle index, AtenTensorHandle source) {
  return guarded_scatter(out, self, dim, index, source, nullptr, true, "aoti_torch_scatter_out");
}

AOTITorchError aotbuild_torch_scatter_reduce_out(AtenTensorHandle out, AtenTensorHandle self, std::int64_t dim,
                                                 AtenTensorHandle index, AtenTensorHandle source, const char* reduce,
                                                 std::int32_t include_self) {
  return guarded_scatter(out, self, dim, index, source, reduce != nullptr ? reduce : "", include_self != 0,
                         "aoti_torch_scatter_reduce_out");
}

AOTITorchError aotbuild_torch_cpu_scatter_src_out(AtenTensorHandle out, AtenTensorHandle self, std::int64_t dim,
                                                  AtenTensorHandle index, AtenTensorHandle source) {
  return guarded_scatter(out, self, dim, index, source, nullptr, true, "aoti_torch_cpu_scatter_src_out");
}

AOTITorchError aotbuild_torch_cpu_scatter_value_out(AtenTensorHandle out, AtenTensorHandle self, std::int64_t dim,
                                                    AtenTensorHandle index, double value) {
  constexpr const char* function = "aoti_torch_cpu_scatter_value_out";
  return guarded([&] {
    scatter(checked(out, function, "out"), checked(self, function, "self"), dim, checked(index, function, "index"),
            nullptr, value, Reduction::kAssign, true, function);
  });
}

AOTITorchError aotbuild_torch_cpu_scatter_reduce_two_out(AtenTensorHandle out, AtenTensorHandle self, std::int64_t dim,
                                                         AtenTensorHandle index, AtenTensorHandle source,
                                                         const char* reduce, std::int32_t include_self) {
  return guarded_scatter(out, self, dim, index, source, reduce != nullptr ? reduce : "", include_self != 0,
                         "aoti_torch_cpu_scatter_reduce_two_out");
}
