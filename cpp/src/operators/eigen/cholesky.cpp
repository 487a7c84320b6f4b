// The C shim: Cholesky factors, and what is solved with them and with triangular matrices.
#include "operators/eigen/linalg.hpp"

// After linalg.hpp, which renames Eigen's namespace.
#include <Eigen/Cholesky>

using namespace aotbuild::detail::eigen;  // NOLINT: this file implements C functions

namespace {

// Solves triangular systems; the results have `batch` and the element type of `b`.
void solve_triangular(const Array& a, const Array& b, const Sizes& batch, bool upper, bool left, bool transpose,
                      bool unit, AtenTensorHandle* ret, const char* function) {
  const std::int64_t size = a.size(-1);
  const std::int64_t rows = b.size(-2);
  const std::int64_t columns = b.size(-1);
  if ((left ? rows : columns) != size) fail(function, "matrices of ", rows, " by ", columns, " do not fit to ", size);
  check_real_type(b, function);
  const OwnedArray factors = converted(a, kDouble, joined(batch, {size, size}));
  const OwnedArray result = converted(b, kDouble, joined(batch, {rows, columns}));
  for (std::int64_t i = 0; i < count_of(batch); ++i) {
    // x A = b is A^T x^T = b^T, and the transposed of an upper triangle is a lower one.
    const bool transposed = transpose == left;
    Matrix t = matrix(factors, i);
    if (transposed) t.transposeInPlace();
    MatrixMap right = matrix(result, i);
    Matrix x;
    if (left) {
      x = right;
    } else {
      x = right.transpose();
    }
    if (upper != transposed) {
      if (unit) {
        t.triangularView<Eigen::UnitUpper>().solveInPlace(x);
      } else {
        t.triangularView<Eigen::Upper>().solveInPlace(x);
      }
    } else if (unit) {
      t.triangularView<Eigen::UnitLower>().solveInPlace(x);
    } else {
      t.triangularView<Eigen::Lower>().solveInPlace(x);
    }
    if (left) {
      right = x;
    } else {
      right = x.transpose();
    }
  }
  give(ret, result, b.dtype(), function);
}

// Cholesky factors; `info` gets the order of the first leading minor that is not positive, or 0.
void cholesky(const Array& a, bool upper, AtenTensorHandle* ret, const Array& info, const char* function) {
  const Sizes batch = a.batch(2);
  check_real_type(a, function);
  const OwnedArray result = converted(a, kDouble);
  for (std::int64_t i = 0; i < count_of(batch); ++i) {
    MatrixMap l = matrix(result, i);
    Matrix given = l;
    if (upper) given.adjointInPlace();
    const Eigen::LLT<Matrix> factor(given);
    Matrix lower = factor.matrixLLT().triangularView<Eigen::Lower>();
    std::int32_t failed = 0;
    if (factor.info() != Eigen::Success) {  // Eigen does not say where it stopped
      for (Eigen::Index k = 1; k <= given.rows() && failed == 0; ++k) {
        const Matrix minor = given.topLeftCorner(k, k);
        if (minor.llt().info() != Eigen::Success) failed = static_cast<std::int32_t>(k);
      }
    }
    info.data<std::int32_t>()[i] = failed;
    if (upper) lower.adjointInPlace();
    l = lower;
  }
  give(ret, result, a.dtype(), function);
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_linalg_cholesky_ex(AtenTensorHandle self, std::int32_t upper,
                                                     std::int32_t check_errors, AtenTensorHandle* l,
                                                     AtenTensorHandle* info) {
  constexpr const char* function = "aoti_torch_cpu_linalg_cholesky_ex";
  return guarded([&] {
    const Array given = checked_square(self, function, "self");
    OwnedArray failed(kInt, given.batch(2));
    cholesky(given, upper != 0, l, failed, function);
    if (check_errors != 0) check_info(failed, "linalg.cholesky");
    failed.give(info, function);
  });
}

AOTITorchError aotbuild_torch_cpu_cholesky(AtenTensorHandle self, std::int32_t upper, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_cholesky";
  return guarded([&] {
    const Array given = checked_square(self, function, "self");
    const OwnedArray failed(kInt, given.batch(2));
    AtenTensorHandle made = nullptr;
    cholesky(given, upper != 0, &made, failed, function);
    OwnedArray result(made);
    check_info(failed, "cholesky");
    result.give(ret, function);
  });
}

AOTITorchError aotbuild_torch_cpu_cholesky_solve(AtenTensorHandle self, AtenTensorHandle input2, std::int32_t upper,
                                                 AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_cholesky_solve";
  return guarded([&] {
    const Array right = checked_matrices(self, function, "self");
    const Array factor = checked_square(input2, function, "input2");
    const Sizes batch = broadcast(right.batch(2), factor.batch(2), function);
    const std::int64_t size = factor.size(-1);
    const std::int64_t columns = right.size(-1);
    if (right.size(-2) != size) fail(function, "the sizes of self and input2 do not fit");
    check_real_type(right, function);
    const OwnedArray factors = converted(factor, kDouble, joined(batch, {size, size}));
    const OwnedArray result = converted(right, kDouble, joined(batch, {size, columns}));
    for (std::int64_t i = 0; i < count_of(batch); ++i) {
      Matrix l = matrix(factors, i);
      if (upper != 0) l.adjointInPlace();
      Matrix x = matrix(result, i);
      l.triangularView<Eigen::Lower>().solveInPlace(x);
      l.adjoint().triangularView<Eigen::Upper>().solveInPlace(x);
      matrix(result, i) = x;
    }
    give(ret, result, right.dtype(), function);
  });
}

AOTITorchError aotbuild_torch_cpu_cholesky_inverse(AtenTensorHandle self, std::int32_t upper, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_cholesky_inverse";
  return guarded([&] {
    const Array factor = checked_square(self, function, "self");
    check_real_type(factor, function);
    const OwnedArray result = converted(factor, kDouble);
    for (std::int64_t i = 0; i < count_of(factor.batch(2)); ++i) {
      Matrix l = matrix(result, i);
      if (upper != 0) l.adjointInPlace();
      Matrix x = Matrix::Identity(l.rows(), l.cols());
      l.triangularView<Eigen::Lower>().solveInPlace(x);
      matrix(result, i) = x.adjoint() * x;
    }
    give(ret, result, factor.dtype(), function);
  });
}

AOTITorchError aotbuild_torch_cpu_linalg_solve_triangular(AtenTensorHandle self, AtenTensorHandle b, std::int32_t upper,
                                                          std::int32_t left, std::int32_t unitriangular,
                                                          AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_linalg_solve_triangular";
  return guarded([&] {
    const Array a = checked_square(self, function, "self");
    const Array right = checked_matrices(b, function, "B");
    const Sizes batch = broadcast(a.batch(2), right.batch(2), function);
    solve_triangular(a, right, batch, upper != 0, left != 0, false, unitriangular != 0, ret, function);
  });
}

AOTITorchError aotbuild_torch_cpu_triangular_solve(AtenTensorHandle self, AtenTensorHandle a, std::int32_t upper,
                                                   std::int32_t transpose, std::int32_t unitriangular,
                                                   AtenTensorHandle* solution, AtenTensorHandle* cloned_coefficient) {
  constexpr const char* function = "aoti_torch_cpu_triangular_solve";
  return guarded([&] {
    const Array right = checked_matrices(self, function, "self");
    const Array factor = checked_square(a, function, "A");
    const Sizes batch = broadcast(factor.batch(2), right.batch(2), function);
    solve_triangular(factor, right, batch, upper != 0, true, transpose != 0, unitriangular != 0, solution, function);
    const std::int64_t size = factor.size(-1);
    converted(factor, factor.dtype(), joined(batch, {size, size})).give(cloned_coefficient, function);
  });
}
