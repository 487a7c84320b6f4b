// Copies between tensors of any strides and element types, and fills.
#ifndef AOTBUILD_SRC_TENSOR_COPY_HPP_
#define AOTBUILD_SRC_TENSOR_COPY_HPP_

#include "base/loops.hpp"
#include "tensor/tensor.hpp"

namespace aotbuild::detail {

// destination[...] = source[...], converted to the destination's type; `source` is broadcast as in torch.
// The two must not overlap. `function` begins error texts.
void copy(Tensor& destination, const Tensor& source, const char* function);

// The loop of that copy over all elements; throws where the sizes do not fit.
StridedLoop<2> copy_loop(const Tensor& destination, const Tensor& source, const char* function);

// Every element becomes the one at `value`, of the destination's type.
void fill(Tensor& destination, const void* value, const char* function);

TensorPtr clone_contiguous(const Tensor& tensor, const char* function);
// As torch.clone: the same strides when dense, else contiguous.
TensorPtr clone_preserving(const Tensor& tensor, const char* function);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_TENSOR_COPY_HPP_
