// The header of the processor's instructions.
#ifndef AOTBUILD_SRC_KERNELS_INTRINSICS_HPP_
#define AOTBUILD_SRC_KERNELS_INTRINSICS_HPP_

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#endif  // AOTBUILD_SRC_KERNELS_INTRINSICS_HPP_
