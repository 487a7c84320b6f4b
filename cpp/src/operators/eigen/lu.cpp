// The C shim: LU factors, and what is solved with them.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "operators/eigen/linalg.hpp"

// After linalg.hpp, which renames Eigen's namespace.
#include <Eigen/LU>

using namespace aotbuild::detail::eigen;  // NOLINT: this file implements C functions

namespace {

// Batches of square or other matrices with their LU factors by rows: those of LAPACK's getrf.
struct Factors {
  explicit Factors(const Array& a)
      : lu(converted(a, kDouble)),
        pivots(kInt, joined(a.batch(2), {std::min(a.size(-2), a.size(-1))})),
        info(kInt, a.batch(2)) {}

  OwnedArray lu;      // in double precision
  OwnedArray pivots;  // int32, counted from 1
  OwnedArray info;    // int32: the first diagonal element of U that is zero, counted from 1, or 0
};

// Factorises a matrix in place, with the row that each step exchanged its own with.
void factorize(MatrixMap a, std::int32_t* pivots, bool exchanges) {
  Matrix lu = a;
  const Eigen::Index steps = std::min(lu.rows(), lu.cols());
  if (exchanges && lu.rows() == lu.cols() && steps > 0) {
    const Eigen::PartialPivLU<Matrix> factors(lu);
    a = factors.matrixLU();
    // The sequence of exchanges whose product is Eigen's permutation.
    const auto& target = factors.permutationP().indices();
    std::vector<Eigen::Index> row_at(static_cast<std::size_t>(steps));
    std::vector<Eigen::Index> wanted(static_cast<std::size_t>(steps));
    for (Eigen::Index i = 0; i < steps; ++i) {
      row_at[static_cast<std::size_t>(i)] = i;
      wanted[static_cast<std::size_t>(target[i])] = i;
    }
    for (Eigen::Index k = 0; k < steps; ++k) {
      Eigen::Index from = k;
      while (row_at[static_cast<std::size_t>(from)] != wanted[static_cast<std::size_t>(k)]) ++from;
      std::swap(row_at[static_cast<std::size_t>(k)], row_at[static_cast<std::size_t>(from)]);
      pivots[k] = static_cast<std::int32_t>(from + 1);
    }
    return;
  }
  for (Eigen::Index k = 0; k < steps; ++k) {
    Eigen::Index pivot = 0;
    if (exchanges) lu.col(k).tail(lu.rows() - k).cwiseAbs().maxCoeff(&pivot);
    pivots[k] = static_cast<std::int32_t>(k + pivot + 1);
    if (pivot != 0) lu.row(k).swap(lu.row(k + pivot));
    if (lu(k, k) == 0) continue;
    const Eigen::Index rows = lu.rows() - k - 1;
    lu.col(k).tail(rows) /= lu(k, k);
    lu.bottomRightCorner(rows, lu.cols() - k - 1).noalias() -= lu.col(k).tail(rows) * lu.row(k).tail(lu.cols() - k - 1);
  }
  a = lu;
}

Factors factorize(const Array& a, bool exchanges, const char* function) {
  check_real_type(a, function);
  Factors factors(a);
  const std::int64_t steps = factors.pivots.size(-1);
  for (std::int64_t i = 0; i < factors.info.numel(); ++i) {
    const MatrixMap lu = matrix(factors.lu, i);
    factorize(lu, factors.pivots.data<std::int32_t>() + i * steps, exchanges);
    std::int32_t zero = 0;
    for (Eigen::Index k = 0; k < steps && zero == 0; ++k) {
      if (lu(k, k) == 0) zero = static_cast<std::int32_t>(k + 1);
    }
    factors.info.data<std::int32_t>()[i] = zero;
  }
  return factors;
}

// Exchanges rows as the factorisation did, or in the reverse order.
void exchange_rows(Matrix& matrix, const std::int32_t* pivots, std::int64_t count, bool reverse) {
  for (std::int64_t step = 0; step < count; ++step) {
    const std::int64_t k = reverse ? count - 1 - step : step;
    const std::int64_t other = pivots[k] - 1;
    if (other != k) matrix.row(k).swap(matrix.row(other));
  }
}

// x = A^-1 x by the factors of A; with `adjoint`, by the inverse of its adjoint.
void solve_factors(const MatrixMap& lu, const std::int32_t* pivots, bool adjoint, Matrix& x) {
  if (!adjoint) {
    exchange_rows(x, pivots, lu.rows(), false);
    lu.triangularView<Eigen::UnitLower>().solveInPlace(x);
    lu.triangularView<Eigen::Upper>().solveInPlace(x);
    return;
  }
  lu.adjoint().triangularView<Eigen::Lower>().solveInPlace(x);
  lu.adjoint().triangularView<Eigen::UnitUpper>().solveInPlace(x);
  exchange_rows(x, pivots, lu.rows(), true);
}

// Solves with the factors of a batch: A x = b, with `left` unset x A = b. `b` has matrices and the batch of the result.
void solve_batch(const Array& lu, const std::int32_t* pivots, const Array& b, bool left, bool adjoint) {
  const std::int64_t size = lu.size(-1);
  for (std::int64_t i = 0; i < count_of(b.batch(2)); ++i) {
    const MatrixMap factors = matrix(lu, i);
    MatrixMap right = matrix(b, i);
    Matrix x;
    if (left) {
      x = right;
    } else {
      x = right.adjoint();  // x A = b is A^H x^H = b^H
    }
    solve_factors(factors, pivots + i * size, left == adjoint, x);
    if (left) {
      right = x;
    } else {
      right = x.adjoint();
    }
  }
}

// The sign of a permutation that a sequence of exchanges makes.
double sign_of(const std::int32_t* pivots, std::int64_t count) {
  double sign = 1;
  for (std::int64_t k = 0; k < count; ++k) {
    if (pivots[k] != k + 1) sign = -sign;
  }
  return sign;
}

// A permutation matrix P with A = P L U, of `rows` rows.
void fill_permutation(double* p, std::int64_t rows, const std::int32_t* pivots, std::int64_t count) {
  Matrix permutation = Matrix::Identity(rows, rows);
  exchange_rows(permutation, pivots, count, false);
  MatrixMap(p, rows, rows) = permutation.transpose();
}

// L and U as matrices of their own.
void unpack(const Array& packed, AtenTensorHandle* lower, AtenTensorHandle* upper, std::int32_t dtype,
            const char* function) {
  const std::int64_t rows = packed.size(-2);
  const std::int64_t columns = packed.size(-1);
  const std::int64_t steps = std::min(rows, columns);
  const Sizes batch = packed.batch(2);
  check_real_type(packed, function);
  const OwnedArray lu = converted(packed, kDouble);
  const OwnedArray l(kDouble, joined(batch, {rows, steps}));
  const OwnedArray u(kDouble, joined(batch, {steps, columns}));
  for (std::int64_t i = 0; i < count_of(batch); ++i) {
    const MatrixMap both = matrix(lu, i);
    matrix(l, i) = Matrix(both.leftCols(steps).triangularView<Eigen::UnitLower>());
    matrix(u, i) = Matrix(both.topRows(steps).triangularView<Eigen::Upper>());
  }
  give(lower, l, dtype, function);
  give(upper, u, dtype, function);
}

OwnedArray permutations(const Array& pivots, std::int64_t rows, const char* function) {
  const OwnedArray steps = converted(pivots, kInt);
  const std::int64_t count = steps.size(-1);
  const Sizes batch = steps.batch(1);
  OwnedArray p(kDouble, joined(batch, {rows, rows}));
  for (std::int64_t i = 0; i < count_of(batch); ++i) {
    const std::int32_t* const pivot = steps.data<std::int32_t>() + i * count;
    for (std::int64_t k = 0; k < count; ++k) {
      if (pivot[k] < 1 || pivot[k] > rows) fail(function, "pivot ", pivot[k], " of a matrix of ", rows, " rows");
    }
    fill_permutation(p.data<double>() + i * rows * rows, rows, pivot, count);
  }
  return p;
}

// A vector b of linalg.solve: its sizes are those of A without the last, or it has one dimension.
bool is_vector(const Array& a, const Array& b) {
  return b.ndim() == 1 || (b.ndim() == a.ndim() - 1 && b.sizes() == a.batch(1));
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_linalg_lu_factor_ex(AtenTensorHandle a, std::int32_t pivot, std::int32_t check_errors,
                                                      AtenTensorHandle* lu, AtenTensorHandle* pivots,
                                                      AtenTensorHandle* info) {
  constexpr const char* function = "aoti_torch_cpu_linalg_lu_factor_ex";
  return guarded([&] {
    const Array given = checked_matrices(a, function, "A");
    Factors factors = factorize(given, pivot != 0, function);
    if (check_errors != 0) check_info(factors.info, "linalg.lu_factor");
    give(lu, factors.lu, given.dtype(), function);
    factors.pivots.give(pivots, function);
    factors.info.give(info, function);
  });
}

AOTITorchError aotbuild_torch_cpu_linalg_lu(AtenTensorHandle a, std::int32_t pivot, AtenTensorHandle* permutation,
                                            AtenTensorHandle* lower, AtenTensorHandle* upper) {
  constexpr const char* function = "aoti_torch_cpu_linalg_lu";
  return guarded([&] {
    const Array given = checked_matrices(a, function, "A");
    const Factors factors = factorize(given, pivot != 0, function);
    unpack(factors.lu, lower, upper, given.dtype(), function);
    if (pivot == 0) return give_absent(permutation, given.dtype(), function);
    give(permutation, permutations(factors.pivots, given.size(-2), function), given.dtype(), function);
  });
}

AOTITorchError aotbuild_torch_cpu_lu_unpack(AtenTensorHandle lu_data, AtenTensorHandle lu_pivots,
                                            std::int32_t unpack_data, std::int32_t unpack_pivots,
                                            AtenTensorHandle* permutation, AtenTensorHandle* lower,
                                            AtenTensorHandle* upper) {
  constexpr const char* function = "aoti_torch_cpu_lu_unpack";
  return guarded([&] {
    const Array data = checked_matrices(lu_data, function, "LU_data");
    if (unpack_data != 0) {
      unpack(data, lower, upper, data.dtype(), function);
    } else {
      give_absent(lower, data.dtype(), function);
      give_absent(upper, data.dtype(), function);
    }
    if (unpack_pivots == 0) return give_absent(permutation, data.dtype(), function);
    const Array pivots(lu_pivots, function, "LU_pivots");
    give(permutation, permutations(pivots, data.size(-2), function), data.dtype(), function);
  });
}

AOTITorchError aotbuild_torch_cpu_linalg_lu_solve(AtenTensorHandle lu, AtenTensorHandle pivots, AtenTensorHandle b,
                                                  std::int32_t left, std::int32_t adjoint, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_linalg_lu_solve";
  return guarded([&] {
    const Array factors = checked_square(lu, function, "LU");
    const Array right = checked_matrices(b, function, "B");
    const Sizes batch = broadcast(factors.batch(2), right.batch(2), function);
    const std::int64_t size = factors.size(-1);
    const std::int64_t rows = right.size(-2);
    const std::int64_t columns = right.size(-1);
    if ((left != 0 ? rows : columns) != size) fail(function, "B has ", rows, " by ", columns, ", LU ", size);
    const OwnedArray steps = converted(Array(pivots, function, "pivots"), kInt, joined(batch, {size}));
    check_real_type(right, function);
    const OwnedArray both = converted(factors, kDouble, joined(batch, {size, size}));
    const OwnedArray x = converted(right, kDouble, joined(batch, {rows, columns}));
    solve_batch(both, steps.data<std::int32_t>(), x, left != 0, adjoint != 0);
    give(ret, x, right.dtype(), function);
  });
}

AOTITorchError aotbuild_torch_cpu__linalg_solve_ex(AtenTensorHandle a, AtenTensorHandle b, std::int32_t left,
                                                   std::int32_t check_errors, AtenTensorHandle* result,
                                                   AtenTensorHandle* lu, AtenTensorHandle* pivots,
                                                   AtenTensorHandle* info) {
  constexpr const char* function = "aoti_torch_cpu__linalg_solve_ex";
  return guarded([&] {
    const Array given = checked_square(a, function, "A");
    const Array right(b, function, "B");
    const bool vector_b = is_vector(given, right);
    Factors factors = factorize(given, true, function);
    if (check_errors != 0) check_info(factors.info, "linalg.solve");
    const std::int64_t size = given.size(-1);
    const Sizes own = vector_b ? joined(right.batch(1), {size, 1}) : right.sizes();
    const Sizes b_batch(own.begin(), own.end() - 2);
    const Sizes batch = broadcast(given.batch(2), b_batch, function);
    const Sizes sizes = joined(batch, {own[own.size() - 2], own.back()});
    if ((left != 0 || vector_b ? sizes[sizes.size() - 2] : sizes.back()) != size) {
      fail(function, "B has ", sizes[sizes.size() - 2], " by ", sizes.back(), ", A ", size);
    }
    check_real_type(given, function);
    const OwnedArray both = converted(factors.lu, kDouble, joined(batch, {size, size}));
    const OwnedArray steps = converted(factors.pivots, kInt, joined(batch, {size}));
    const OwnedArray flat = converted(right, kDouble);
    const OwnedArray columns = viewed(flat, own, row_major(own));
    const OwnedArray x = converted(columns, kDouble, sizes);
    solve_batch(both, steps.data<std::int32_t>(), x, left != 0 || vector_b, false);
    const Sizes shape = vector_b ? joined(batch, {size}) : sizes;
    const OwnedArray shaped = viewed(x, shape, row_major(shape));
    give(result, shaped, given.dtype(), function);
    give(lu, factors.lu, given.dtype(), function);
    factors.pivots.give(pivots, function);
    factors.info.give(info, function);
  });
}

AOTITorchError aotbuild_torch_cpu_linalg_inv_ex(AtenTensorHandle a, std::int32_t check_errors,
                                                AtenTensorHandle* inverse, AtenTensorHandle* info) {
  constexpr const char* function = "aoti_torch_cpu_linalg_inv_ex";
  return guarded([&] {
    const Array given = checked_square(a, function, "A");
    Factors factors = factorize(given, true, function);
    if (check_errors != 0) check_info(factors.info, "linalg.inv");
    check_real_type(given, function);
    const OwnedArray result(kDouble, factors.lu.sizes());
    for (std::int64_t i = 0; i < count_of(given.batch(2)); ++i) matrix(result, i).setIdentity();
    solve_batch(factors.lu, factors.pivots.data<std::int32_t>(), result, true, false);
    give(inverse, result, given.dtype(), function);
    factors.info.give(info, function);
  });
}

AOTITorchError aotbuild_torch_cpu__linalg_det(AtenTensorHandle a, AtenTensorHandle* result, AtenTensorHandle* lu,
                                              AtenTensorHandle* pivots) {
  constexpr const char* function = "aoti_torch_cpu__linalg_det";
  return guarded([&] {
    const Array given = checked_square(a, function, "A");
    const std::int64_t size = given.size(-1);
    Factors factors = factorize(given, true, function);
    check_real_type(given, function);
    const OwnedArray values(kDouble, given.batch(2));
    for (std::int64_t i = 0; i < values.numel(); ++i) {
      const double sign = sign_of(factors.pivots.data<std::int32_t>() + i * size, size);
      values.data<double>()[i] = matrix(factors.lu, i).diagonal().prod() * sign;
    }
    give(result, values, given.dtype(), function);
    give(lu, factors.lu, given.dtype(), function);
    factors.pivots.give(pivots, function);
  });
}

AOTITorchError aotbuild_torch_cpu__linalg_slogdet(AtenTensorHandle a, AtenTensorHandle* sign, AtenTensorHandle* logdet,
                                                  AtenTensorHandle* lu, AtenTensorHandle* pivots) {
  constexpr const char* function = "aoti_torch_cpu__linalg_slogdet";
  return guarded([&] {
    const Array given = checked_square(a, function, "A");
    const std::int64_t size = given.size(-1);
    Factors factors = factorize(given, true, function);
    const OwnedArray logs(kDouble, given.batch(2));
    check_real_type(given, function);
    const OwnedArray signs(kDouble, given.batch(2));
    for (std::int64_t i = 0; i < signs.numel(); ++i) {
      const auto diagonal = matrix(factors.lu, i).diagonal();
      double product = sign_of(factors.pivots.data<std::int32_t>() + i * size, size);
      double sum = 0;
      for (Eigen::Index k = 0; k < size; ++k) {
        const double length = std::abs(diagonal[k]);
        product *= length == 0 ? 0 : diagonal[k] / length;
        sum += std::log(length);
      }
      signs.data<double>()[i] = product;
      logs.data<double>()[i] = sum;
    }
    give(sign, signs, given.dtype(), function);
    give(logdet, logs, given.dtype(), function);
    give(lu, factors.lu, given.dtype(), function);
    factors.pivots.give(pivots, function);
  });
}
