#include "kernels/panel_kernels.hpp"

#include <cstddef>
#include <string_view>
#include <utility>

#include "aotbuild/detail/runtime.hpp"
#include "kernels/amx_kernels.hpp"
#include "kernels/best_kernels.hpp"
#include "kernels/intrinsics.hpp"
#include "kernels/packing.hpp"

namespace aotbuild::detail {

namespace {
namespace panels {

#define AOTBUILD_LOOPS "kernels/panel_loops.hpp"
#include "kernels/each_isa.hpp"

}  // namespace panels
}  // namespace

const PanelKernels* panel_kernels_for(const char* isa) noexcept {
  if (isa == nullptr) return &panels::portable::kKernels;
#if defined(__x86_64__)
  const std::string_view name = isa;
  if (name == "amx" && amx_is_allowed()) {
    static const PanelKernels amx = [] {
      PanelKernels kernels = panels::avx512::kKernels;
      kernels.multiply_bf16 = multiply_bf16_by_amx;
      kernels.takes_words = true;
      kernels.has_tiles = true;
      return kernels;
    }();
    return &amx;
  }
  if (name == "avx512bf16" && cpu_supports(isa)) return &panels::avx512::kKernelsOf<panels::avx512::PairedTerms>;
  if (name == "avx512" && cpu_supports(isa)) return &panels::avx512::kKernels;
  if (name == "avx2" && cpu_supports(isa)) return &panels::avx2::kKernels;
#endif
  return nullptr;
}

const PanelKernels& panel_kernels() noexcept {
  static const PanelKernels& best = best_kernels(panel_kernels_for);
  return best;
}

const PanelKernels& bf16_kernels() noexcept {
  static const PanelKernels& best = []() -> const PanelKernels& {
#if defined(__x86_64__)
    // AVX512_BF16's instruction takes as long as four of float32 on other processors.
    const PanelKernels* found = panel_kernels_for("amx");
    if (found == nullptr && __builtin_cpu_is("amd") != 0) found = panel_kernels_for("avx512bf16");
    if (found != nullptr) return *found;
#endif
    return panel_kernels();
  }();
  return best;
}

}  // namespace aotbuild::detail
