// Tensors whose last dimensions are space: what pools and samplers work on.
#ifndef AOTBUILD_SRC_OPERATORS_VOLUME_HPP_
#define AOTBUILD_SRC_OPERATORS_VOLUME_HPP_

#include <array>
#include <cstdint>
#include <vector>

#include "base/error.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {

// Sizes of the last three dimensions; missing ones are 1. What is before them counts planes.
struct Volume {
  std::array<std::int64_t, 3> sizes{1, 1, 1};
  std::int64_t planes = 1;

  std::int64_t elements() const { return sizes[0] * sizes[1] * sizes[2]; }
};

inline Volume volume_of(const Tensor& tensor, int rank, const char* function) {
  if (tensor.ndim != rank + 1 && tensor.ndim != rank + 2) {
    fail(function, "the input has ", tensor.ndim, " dimensions, expected ", rank + 1, " or ", rank + 2);
  }
  Volume volume;
  const std::int32_t first = tensor.ndim - rank;
  for (std::int32_t d = 0; d < first; ++d) volume.planes *= tensor.sizes()[d];
  for (std::int32_t d = 0; d < rank; ++d) {
    volume.sizes[static_cast<std::size_t>(3 - rank + d)] = tensor.sizes()[first + d];
  }
  return volume;
}

inline Volume resized(const Volume& volume, const std::int64_t* sizes, std::int64_t count, int rank,
                      const char* function) {
  if (sizes == nullptr || (count != rank && count != 1)) fail(function, count, " sizes, expected ", rank);
  Volume result = volume;
  for (int d = 0; d < rank; ++d) {
    const std::int64_t size = sizes[count == 1 ? 0 : d];
    if (size < 0) fail(function, "an output size is ", size);
    result.sizes[static_cast<std::size_t>(3 - rank + d)] = size;
  }
  return result;
}

inline TensorPtr make_volume(const Tensor& like, const Volume& volume, int rank, ScalarType dtype) {
  std::vector<std::int64_t> sizes(like.sizes(), like.sizes() + like.ndim - rank);
  sizes.insert(sizes.end(), volume.sizes.end() - rank, volume.sizes.end());
  return make_tensor(dtype, like.ndim, sizes.data(), nullptr);
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_OPERATORS_VOLUME_HPP_
