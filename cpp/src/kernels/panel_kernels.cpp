#include "kernels/panel_kernels.hpp"

#include <cstddef>
#include <string_view>
#include <utility>

#include "aotbuild/detail/runtime.hpp"
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
  if (name == "avx512" && cpu_supports(isa)) return &panels::avx512::kKernels;
  if (name == "avx2" && cpu_supports(isa)) return &panels::avx2::kKernels;
#endif
  return nullptr;
}

const PanelKernels& panel_kernels() noexcept {
  static const PanelKernels& best = best_kernels(panel_kernels_for);
  return best;
}

}  // namespace aotbuild::detail
