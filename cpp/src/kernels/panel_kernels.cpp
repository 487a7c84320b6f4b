#include "kernels/panel_kernels.hpp"

#include <cstddef>
#include <initializer_list>
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

#if defined(__x86_64__)
// Bytes of the input are unsigned for these instructions.
constexpr PanelKernels kOfAvx512Bf16 =
    avx512::kernels_with(avx512::kProductOf<avx512::PairedTerms>, avx512::kProductOf<avx512::WidenedBytes>);
constexpr PanelKernels kOfAvx512Vnni =
    avx512::kernels_with(avx512::kProductOf<avx512::WidenedTerms>, avx512::kProductOf<avx512::FourBytes, 128>);
constexpr PanelKernels kOfAvxVnni =
    avx2::kernels_with(avx2::kProductOf<avx2::WidenedTerms>, avx2::kProductOf<avx2::FourBytes, 128>);
#elif defined(__aarch64__)
constexpr PanelKernels kOfDotprod =
    portable::kernels_with(portable::kProductOf<portable::WidenedTerms>, portable::kProductOf<portable::FourBytes>);
#endif

}  // namespace panels
}  // namespace

const PanelKernels* panel_kernels_for(const char* isa) noexcept {
  if (isa == nullptr) return &panels::portable::kKernels;
#if defined(__x86_64__)
  const std::string_view name = isa;
  if (name == "amx" && amx_is_allowed()) {
    static const PanelKernels amx = [] {
      PanelKernels kernels = panels::avx512::kKernels;
      kernels.products[static_cast<int>(PanelType::kBFloat16)] = {multiply_bf16_by_amx, 1, true, 0};
      kernels.products[static_cast<int>(PanelType::kInt8)] = {multiply_int8_by_amx, 1, true, 0};
      return kernels;
    }();
    return &amx;
  }
  if (name == "avx512bf16" && cpu_supports(isa)) return &panels::kOfAvx512Bf16;
  if (name == "avx512vnni" && cpu_supports(isa)) return &panels::kOfAvx512Vnni;
  if (name == "avx512" && cpu_supports(isa)) return &panels::avx512::kKernels;
  if (name == "avxvnni" && cpu_supports(isa)) return &panels::kOfAvxVnni;
  if (name == "avx2" && cpu_supports(isa)) return &panels::avx2::kKernels;
#elif defined(__aarch64__)
  if (std::string_view(isa) == "dotprod" && cpu_supports(isa)) return &panels::kOfDotprod;
#endif
  return nullptr;
}

const PanelKernels& panel_kernels() noexcept {
  static const PanelKernels& best = best_kernels(panel_kernels_for);
  return best;
}

namespace {

// The first of the sets that the machine has, or what is best for float32.
const PanelKernels& first_of(std::initializer_list<const char*> isas) noexcept {
  for (const char* const isa : isas) {
    const PanelKernels* const found = panel_kernels_for(isa);
    if (found != nullptr) return *found;
  }
  return panel_kernels();
}

const PanelKernels& bf16_kernels() noexcept {
#if defined(__x86_64__)
  // AVX512_BF16's instruction takes as long as four of float32 on other processors.
  if (__builtin_cpu_is("amd") != 0) return first_of({"amx", "avx512bf16"});
#endif
  return first_of({"amx"});
}

}  // namespace

const PanelKernels& panel_kernels(PanelType type) noexcept {
  if (type == PanelType::kFloat32) return panel_kernels();
  if (type == PanelType::kBFloat16) {
    static const PanelKernels& bf16 = bf16_kernels();
    return bf16;
  }
  static const PanelKernels& int8 = first_of({"amx", "avx512vnni", "avx512", "avxvnni", "dotprod"});
  return int8;
}

}  // namespace aotbuild::detail
