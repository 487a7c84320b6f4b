// How floating-point operations round, and what they do with numbers that are too small.
#ifndef AOTBUILD_SRC_BASE_ARITHMETIC_HPP_
#define AOTBUILD_SRC_BASE_ARITHMETIC_HPP_

#include <cstdint>
#include <vector>

namespace aotbuild::detail {

// Makes arithmetic what the C++ standard library starts a program with, for the length of a scope and for all threads
// of its parallel regions: rounding to nearest, no flushing of subnormal numbers to zero, no traps. Audio code and what
// is linked with -ffast-math flush; the same call would give other results there.
class DefaultArithmetic {
 public:
  DefaultArithmetic();
  ~DefaultArithmetic();
  DefaultArithmetic(const DefaultArithmetic&) = delete;
  DefaultArithmetic& operator=(const DefaultArithmetic&) = delete;

 private:
  // The control registers of each thread before; empty when this thread's was right.
  std::vector<std::uint64_t> previous_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_BASE_ARITHMETIC_HPP_
