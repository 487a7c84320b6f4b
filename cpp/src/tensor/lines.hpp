// Work along one dimension of tensors: lines, which operators such as sort and cumsum treat one at a time.
#ifndef AOTBUILD_SRC_TENSOR_LINES_HPP_
#define AOTBUILD_SRC_TENSOR_LINES_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/loops.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {

// A contiguous tensor with the sizes of `other`.
inline TensorPtr make_contiguous(const Tensor& other, ScalarType dtype) {
  return make_tensor(dtype, other.ndim, other.sizes(), nullptr);
}

// A contiguous tensor with the sizes of `other`, but `size` along `dim`; without `dim` when `size` is negative.
inline TensorPtr make_reduced(const Tensor& other, ScalarType dtype, std::int32_t dim, std::int64_t size) {
  std::vector<std::int64_t> sizes(other.sizes(), other.sizes() + other.ndim);
  if (other.ndim != 0 && size < 0) {
    sizes.erase(sizes.begin() + dim);
  } else if (other.ndim != 0) {
    sizes[static_cast<std::size_t>(dim)] = size;
  }
  return make_tensor(dtype, static_cast<std::int64_t>(sizes.size()), sizes.data(), nullptr);
}

// The size of a tensor along `dim`; a tensor of no dimensions is a line of one element.
inline std::int64_t length_along(const Tensor& tensor, std::int32_t dim) {
  return tensor.ndim == 0 ? 1 : tensor.sizes()[dim];
}

// The stride along `dim`, in elements.
inline std::int64_t stride_along(const Tensor& tensor, std::int32_t dim) {
  return tensor.ndim == 0 ? 1 : tensor.strides()[dim];
}

// Calls `body(starts)` with the first element of each line along `dim` of the tensors, which agree in all other sizes.
template <std::size_t kOperands, typename Body>
void for_each_line(const std::array<const Tensor*, kOperands>& tensors, std::int32_t dim, Body&& body) {
  StridedLoop<kOperands> loop;
  const Tensor& first = *tensors[0];
  for (std::int32_t d = 0; d < first.ndim; ++d) {
    if (d == dim) continue;
    typename StridedLoop<kOperands>::Strides strides;
    for (std::size_t i = 0; i < kOperands; ++i) {
      strides[i] = tensors[i]->strides()[d] * static_cast<std::int64_t>(tensors[i]->element_size());
    }
    loop.add_dim(first.sizes()[d], strides);
  }
  if (loop.is_empty()) return;
  typename StridedLoop<kOperands>::Pointers at;
  for (std::size_t i = 0; i < kOperands; ++i) at[i] = tensors[i]->template data_as<char>();
  loop.run(at, [&](typename StridedLoop<kOperands>::Pointers starts, std::int64_t count,
                   const typename StridedLoop<kOperands>::Strides& steps) {
    for (std::int64_t i = 0; i < count; ++i) {
      body(starts);
      for (std::size_t k = 0; k < kOperands; ++k) starts[k] += steps[k];
    }
  });
}

// Strided access to a line.
template <typename T>
class Line {
 public:
  Line(char* start, std::int64_t stride) : start_(reinterpret_cast<T*>(start)), stride_(stride) {}
  T& operator[](std::int64_t i) const { return start_[i * stride_]; }

 private:
  T* start_;
  std::int64_t stride_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_TENSOR_LINES_HPP_
