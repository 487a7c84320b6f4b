// Values of buffers: what a launch finds in them, and whether two candidates have computed the same.
#ifndef AOTBUILD_TOOLS_TUNE_COMPARE_HPP_
#define AOTBUILD_TOOLS_TUNE_COMPARE_HPP_

#include <random>
#include <string>
#include <vector>

#include "bundle.hpp"

namespace aotbuild::tune {

// The bundle's data, or numbers between -1 and 1, or zeros for an integer type: they may be indices.
std::vector<unsigned char> initial_value(const Argument& argument, const Bundle& bundle, std::mt19937_64& random);

// "" if both are the same up to the rounding of sums in another order; else the first element that is not.
std::string difference(const std::string& dtype, const std::vector<unsigned char>& values,
                       const std::vector<unsigned char>& expected);

}  // namespace aotbuild::tune

#endif  // AOTBUILD_TOOLS_TUNE_COMPARE_HPP_
