#include "kernels/recurrent_kernels.hpp"

#include <cmath>
#include <string_view>
#include <type_traits>

#include "aotbuild/detail/runtime.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace aotbuild::detail {

namespace {

// What every machine of the architecture has.
namespace recurrent_portable {

constexpr std::int64_t kBytes = 16;
using Floats = float __attribute__((vector_size(kBytes)));
using Doubles = double __attribute__((vector_size(kBytes)));
#if defined(__aarch64__)
constexpr int kSums = 28;
inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return reinterpret_cast<Floats>(
      vfmaq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a), reinterpret_cast<float32x4_t>(b)));
}
#else
constexpr int kSums = 12;
inline Floats multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }
#endif
inline Doubles multiply_add(Doubles a, Doubles b, Doubles c) { return a * b + c; }

#include "kernels/recurrent_loops.hpp"

}  // namespace recurrent_portable

#if defined(__x86_64__)

// The functions between these lines are compiled for one instruction set, and called where the machine has it.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace recurrent_avx2 {

constexpr std::int64_t kBytes = 32;
constexpr int kSums = 12;
using Floats = float __attribute__((vector_size(kBytes)));
using Doubles = double __attribute__((vector_size(kBytes)));
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Doubles multiply_add(Doubles a, Doubles b, Doubles c) { return _mm256_fmadd_pd(a, b, c); }

#include "kernels/recurrent_loops.hpp"

}  // namespace recurrent_avx2

#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")
#endif

namespace recurrent_avx512 {

constexpr std::int64_t kBytes = 64;
constexpr int kSums = 28;
using Floats = float __attribute__((vector_size(kBytes)));
using Doubles = double __attribute__((vector_size(kBytes)));
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Doubles multiply_add(Doubles a, Doubles b, Doubles c) { return _mm512_fmadd_pd(a, b, c); }

#include "kernels/recurrent_loops.hpp"

}  // namespace recurrent_avx512

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

}  // namespace

template <typename T>
const RecurrentKernels<T>* recurrent_kernels_for(const char* isa) noexcept {
  if (isa == nullptr) return &recurrent_portable::kKernels<T>;
#if defined(__x86_64__)
  const std::string_view name = isa;
  if constexpr (std::is_same_v<T, float>) {  // for double its code would be larger than what it wins
    if (name == "avx512" && cpu_supports(isa)) return &recurrent_avx512::kKernels<T>;
  }
  if (name == "avx2" && cpu_supports(isa)) return &recurrent_avx2::kKernels<T>;
#endif
  return nullptr;
}

template <typename T>
const RecurrentKernels<T>& recurrent_kernels() noexcept {
  static const RecurrentKernels<T>& best = []() -> const RecurrentKernels<T>& {
    for (const char* isa : {"avx512", "avx2"}) {
      if (const RecurrentKernels<T>* kernels = recurrent_kernels_for<T>(isa)) return *kernels;
    }
    return *recurrent_kernels_for<T>(nullptr);
  }();
  return best;
}

template const RecurrentKernels<float>* recurrent_kernels_for(const char* isa) noexcept;
template const RecurrentKernels<double>* recurrent_kernels_for(const char* isa) noexcept;
template const RecurrentKernels<float>& recurrent_kernels() noexcept;
template const RecurrentKernels<double>& recurrent_kernels() noexcept;

}  // namespace aotbuild::detail
