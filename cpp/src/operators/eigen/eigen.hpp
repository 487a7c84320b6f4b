// How the runtime includes Eigen: this file comes before every other header of Eigen.
#ifndef AOTBUILD_SRC_OPERATORS_EIGEN_EIGEN_HPP_
#define AOTBUILD_SRC_OPERATORS_EIGEN_EIGEN_HPP_

// Eigen's functions are templates, which programs that use Eigen themselves may have compiled for another instruction
// set; a namespace of the runtime's own keeps the linker from taking one for the other.
#define Eigen aotbuild_eigen
#define EIGEN_MPL2_ONLY
#define EIGEN_NO_DEBUG  // the callers check arguments, and an assertion would end the process
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>

#endif  // AOTBUILD_SRC_OPERATORS_EIGEN_EIGEN_HPP_
