// What tests of kernels over packed float32 weights share.
#ifndef AOTBUILD_TESTS_CPP_PANEL_TEST_HPP_
#define AOTBUILD_TESTS_CPP_PANEL_TEST_HPP_

#include <memory>
#include <vector>

#include "kernels/panel_kernels.hpp"

namespace aotbuild::testing {

// Those of every instruction set that this machine has, and the tiles of AVX-512 on every machine.
std::vector<const detail::PanelKernels*> all_kernels();

// Copies of `values` that end where readable memory does, or begin where it does, so that nobody reads beyond them
// unnoticed.
std::shared_ptr<float> before_the_end_of_memory(const std::vector<float>& values);
std::shared_ptr<float> from_the_start_of_memory(const std::vector<float>& values);

}  // namespace aotbuild::testing

#endif  // AOTBUILD_TESTS_CPP_PANEL_TEST_HPP_
