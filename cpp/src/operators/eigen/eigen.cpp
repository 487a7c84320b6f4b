// The C shim: eigenvalues and eigenvectors.
#include <complex>

#include "operators/eigen/linalg.hpp"

// After linalg.hpp, which renames Eigen's namespace.
#include <Eigen/Eigenvalues>

using namespace aotbuild::detail::eigen;  // NOLINT: this file implements C functions

namespace {

using Complex = std::complex<double>;

using ComplexMatrix = Eigen::MatrixXcd;

// Of length 1, and the largest component real, as LAPACK has them.
void normalize(ComplexMatrix* vectors) {
  for (Eigen::Index k = 0; k < vectors->cols(); ++k) {
    Eigen::Index largest = 0;
    vectors->col(k).cwiseAbs2().maxCoeff(&largest);
    const Complex value = (*vectors)(largest, k);
    const double length = vectors->col(k).norm();
    // A vector of real numbers keeps its sign.
    const Complex turn = value.imag() == 0 ? Complex(1) : std::conj(value) / std::abs(value);
    if (length > 0) vectors->col(k) *= turn / length;
  }
}

}  // namespace

AOTITorchError aotbuild_torch_cpu__linalg_eigh(AtenTensorHandle a, const char* uplo, std::int32_t compute_v,
                                               AtenTensorHandle* eigenvalues, AtenTensorHandle* eigenvectors) {
  constexpr const char* function = "aoti_torch_cpu__linalg_eigh";
  return guarded([&] {
    const Array given = checked_square(a, function, "A");
    const bool upper = uplo[0] == 'U' || uplo[0] == 'u';
    const Sizes batch = given.batch(2);
    const std::int64_t size = given.size(-1);
    const OwnedArray values(kDouble, joined(batch, {size}));
    check_real_type(given, function);
    const OwnedArray work = converted(given, kDouble);
    for (std::int64_t i = 0; size > 0 && i < count_of(batch); ++i) {
      Matrix lower = matrix(work, i);  // the half that the solver reads
      if (upper) lower.adjointInPlace();
      const Eigen::SelfAdjointEigenSolver<Matrix> solver(
          lower, compute_v != 0 ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
      if (solver.info() != Eigen::Success) fail("linalg.eigh", "the algorithm did not converge");
      vector(values, i) = solver.eigenvalues();
      if (compute_v != 0) matrix(work, i) = solver.eigenvectors();
    }
    if (compute_v != 0) {
      give(eigenvectors, work, given.dtype(), function);
    } else {
      give_absent(eigenvectors, given.dtype(), function);
    }
    give(eigenvalues, values, given.dtype(), function);
  });
}

AOTITorchError aotbuild_torch_cpu_linalg_eig(AtenTensorHandle self, AtenTensorHandle* eigenvalues,
                                             AtenTensorHandle* eigenvectors) {
  constexpr const char* function = "aoti_torch_cpu_linalg_eig";
  return guarded([&] {
    const Array given = checked_square(self, function, "self");
    const Sizes batch = given.batch(2);
    const std::int64_t size = given.size(-1);
    const OwnedArray values(kComplexDouble, joined(batch, {size}));
    const OwnedArray vectors(kComplexDouble, joined(batch, {size, size}));
    check_real_type(given, function);
    const OwnedArray work = converted(given, kDouble);
    for (std::int64_t i = 0; size > 0 && i < count_of(batch); ++i) {
      const Matrix one = matrix(work, i);
      const Eigen::EigenSolver<Matrix> solver(one, true);
      if (solver.info() != Eigen::Success) fail("linalg.eig", "the algorithm did not converge");
      Eigen::Map<Eigen::VectorXcd>(values.data<Complex>() + i * size, size) = solver.eigenvalues();
      ComplexMatrix found = solver.eigenvectors();
      normalize(&found);
      found.transposeInPlace();  // rows lie behind one another in the tensor
      Eigen::Map<ComplexMatrix>(vectors.data<Complex>() + i * size * size, size, size) = found;
    }
    const std::int32_t type = given.dtype() == kDouble ? kComplexDouble : AOTBUILD_KERNEL_COMPLEX64;
    give(eigenvalues, values, type, function);
    give(eigenvectors, vectors, type, function);
  });
}
