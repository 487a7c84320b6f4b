// Activations that layers apply themselves. Convolutions leave them to oneDNN where its values are eager PyTorch's.
#ifndef AOTBUILD_SRC_KERNELS_ACTIVATION_HPP_
#define AOTBUILD_SRC_KERNELS_ACTIVATION_HPP_

#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>

#include "aotbuild/detail/spec.h"
#include "tensor/dtype.hpp"

namespace aotbuild::detail {

// Whether convolutions of oneDNN apply `activation` with eager PyTorch's values. Its ReLU is a
// maximum, which makes 0 of NaN, or in deconvolutions a product, which makes NaN of -inf; its hardswish divides before
// it multiplies, and so has a value where eager overflows. What it does right was found with every kernel that it has
// for SSE4.1, AVX2 and AVX-512. ResNet-18 and 50 take as long with ReLU over the output (31.8 and 76.6 ms, one thread).
bool is_post_op(Activation activation, double alpha) noexcept;

// Adds `activation` as the last step of a primitive, where it is a post-op.
void append_activation(dnnl::post_ops* post_ops, Activation activation, double alpha);

// Applies an activation that is no post-op to what a primitive has written: `rows` rows that lie `stride` values apart.
void finish_activation(void* data, ScalarType dtype, std::int64_t rows, std::int64_t columns, std::int64_t stride,
                       Activation activation, double alpha);

// Applies any activation to `count` values.
void activate(float* values, std::int64_t count, Activation activation, double alpha) noexcept;
double apply_activation(double value, Activation activation, double alpha) noexcept;
float apply_activation(float value, Activation activation, double alpha) noexcept;

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_ACTIVATION_HPP_
