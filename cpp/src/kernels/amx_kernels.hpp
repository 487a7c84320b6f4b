// Products of bfloat16 and of int8 by the tiles of AMX, which Intel's server processors have from 2023 on.
#ifndef AOTBUILD_SRC_KERNELS_AMX_KERNELS_HPP_
#define AOTBUILD_SRC_KERNELS_AMX_KERNELS_HPP_

#include "kernels/panel_kernels.hpp"

namespace aotbuild::detail {

// Whether this machine has them and the system lets this process use them, for which it asks once.
bool amx_is_allowed() noexcept;

// PanelMultiplication::run of either type, for all terms at once.
void multiply_bf16_by_amx(const PanelProduct& product);
void multiply_int8_by_amx(const PanelProduct& product);

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_AMX_KERNELS_HPP_
