// What generated run functions of models with RUNTIME torch are written in, over libtorch's C shim.
// Private to generated code.
#ifndef AOTBUILD_DETAIL_TORCH_WRAPPER_HPP_
#define AOTBUILD_DETAIL_TORCH_WRAPPER_HPP_

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/inductor/aoti_torch/c/shim_cpu.h>
#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>
#if __has_include(<torch/csrc/inductor/aoti_torch/generated/c_shim_aten.h>)
#include <torch/csrc/inductor/aoti_torch/generated/c_shim_aten.h>
#endif

#include "aotbuild/detail/torch_runtime.hpp"

#undef AOTI_TORCH_ERROR_CODE_CHECK
#undef AOTI_TORCH_CHECK

#define AOTBUILD_SHIM torch_shim

namespace aotbuild::detail {
inline namespace AOTBUILD_SHIM {

inline void check_shim(AOTITorchError status) {
  if (status != AOTI_TORCH_SUCCESS) throw_torch_error();
}

}  // namespace AOTBUILD_SHIM
}  // namespace aotbuild::detail

#include "aotbuild/detail/handles.hpp"

#endif  // AOTBUILD_DETAIL_TORCH_WRAPPER_HPP_
