// Which of the kernels that are compiled for several instruction sets this machine runs.
#ifndef AOTBUILD_SRC_KERNELS_BEST_KERNELS_HPP_
#define AOTBUILD_SRC_KERNELS_BEST_KERNELS_HPP_

namespace aotbuild::detail {

// The best kernels for this machine. `kernels_for` returns those for an instruction set, null where the machine or the
// kernels lack it, and those for every machine where it is given null.
template <typename Kernels>
const Kernels& best_kernels(const Kernels* (*kernels_for)(const char* isa) noexcept) noexcept {
  for (const char* isa : {"avx512", "avx2"}) {
    if (const Kernels* kernels = kernels_for(isa)) return *kernels;
  }
  return *kernels_for(nullptr);
}

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_BEST_KERNELS_HPP_
