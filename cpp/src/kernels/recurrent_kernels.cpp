#include "kernels/recurrent_kernels.hpp"

#include <cmath>
#include <string_view>
#include <type_traits>

#include "aotbuild/detail/runtime.hpp"
#include "kernels/best_kernels.hpp"
#include "kernels/intrinsics.hpp"

namespace aotbuild::detail {

namespace {
namespace recurrent {

#define AOTBUILD_LOOPS "kernels/recurrent_loops.hpp"
#include "kernels/each_isa.hpp"

}  // namespace recurrent
}  // namespace

template <typename T>
const RecurrentKernels<T>* recurrent_kernels_for(const char* isa) noexcept {
  if (isa == nullptr) return &recurrent::portable::kKernels<T>;
#if defined(__x86_64__)
  const std::string_view name = isa;
  if constexpr (std::is_same_v<T, float>) {  // for double its code would be larger than what it wins
    if (name == "avx512" && cpu_supports(isa)) return &recurrent::avx512::kKernels<T>;
  }
  if (name == "avx2" && cpu_supports(isa)) return &recurrent::avx2::kKernels<T>;
#endif
  return nullptr;
}

template <typename T>
const RecurrentKernels<T>& recurrent_kernels() noexcept {
  static const RecurrentKernels<T>& best = best_kernels(recurrent_kernels_for<T>);
  return best;
}

template const RecurrentKernels<float>* recurrent_kernels_for(const char* isa) noexcept;
template const RecurrentKernels<double>* recurrent_kernels_for(const char* isa) noexcept;
template const RecurrentKernels<float>& recurrent_kernels() noexcept;
template const RecurrentKernels<double>& recurrent_kernels() noexcept;

}  // namespace aotbuild::detail
