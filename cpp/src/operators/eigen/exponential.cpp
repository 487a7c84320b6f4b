// The C shim: the exponential of a matrix.
#include "operators/eigen/linalg.hpp"

// After linalg.hpp, which renames Eigen's namespace.
#include <unsupported/Eigen/MatrixFunctions>

using namespace aotbuild::detail::eigen;  // NOLINT: this file implements C functions

AOTITorchError aotbuild_torch_cpu_linalg_matrix_exp(AtenTensorHandle self, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_linalg_matrix_exp";
  return guarded([&] {
    const Array given = checked_square(self, function, "self");
    check_real_type(given, function);
    const OwnedArray result = converted(given, kDouble);
    for (std::int64_t i = 0; i < count_of(given.batch(2)); ++i) {
      const Matrix power = matrix(result, i);
      matrix(result, i) = power.exp();
    }
    give(ret, result, given.dtype(), function);
  });
}
