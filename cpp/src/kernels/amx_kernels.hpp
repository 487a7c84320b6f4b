// Products of bfloat16 by the tiles of AMX, which Intel's server processors have from 2023 on.
#ifndef AOTBUILD_SRC_KERNELS_AMX_KERNELS_HPP_
#define AOTBUILD_SRC_KERNELS_AMX_KERNELS_HPP_

#include "kernels/panel_kernels.hpp"

namespace aotbuild::detail {

// Whether this machine has them and the system lets this process use them, for which it asks once.
bool amx_is_allowed() noexcept;

// PanelKernels::multiply_bf16 for all terms at once. Rows of the input and of a panel are padded with zeros to a
// multiple of kPanelRows words.
void multiply_bf16_by_amx(const PanelProduct& product);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_AMX_KERNELS_HPP_
