// The C shim: factors L D L^T of symmetric matrices, with blocks of one and of two in D (Bunch and Kaufman 1977).
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "operators/eigen/linalg.hpp"

using namespace aotbuild::detail::eigen;  // NOLINT: this file implements the C functions of the runtime

namespace {

using Pivots = Eigen::Map<Eigen::Matrix<std::int32_t, Eigen::Dynamic, 1>>;

// Which row becomes the pivot of column `k`, and of how many columns its block is.
struct Choice {
  Eigen::Index row;
  Eigen::Index step;
  bool is_singular;
};

Choice choose_pivot(const Matrix& a, Eigen::Index k) {
  const double alpha = (1 + std::sqrt(17.0)) / 8;
  const Eigen::Index size = a.rows();
  const double diagonal = std::abs(a(k, k));
  Eigen::Index largest = k;
  double in_column = 0;
  if (k + 1 < size) {
    in_column = a.col(k).tail(size - k - 1).cwiseAbs().maxCoeff(&largest);
    largest += k + 1;
  }
  if (std::max(diagonal, in_column) == 0 || std::isnan(diagonal)) return {k, 1, true};
  if (diagonal >= alpha * in_column) return {k, 1, false};
  double in_row = a.row(largest).segment(k, largest - k).cwiseAbs().maxCoeff();
  if (largest + 1 < size) {
    in_row = std::max(in_row, a.col(largest).tail(size - largest - 1).cwiseAbs().maxCoeff());
  }
  if (diagonal >= alpha * in_column * (in_column / in_row)) return {k, 1, false};
  if (std::abs(a(largest, largest)) >= alpha * in_row) return {largest, 1, false};
  return {largest, 2, false};
}

// Exchanges rows and columns `from` and `to` > `from` of what is left of the lower triangle.
void exchange(Matrix& a, Eigen::Index from, Eigen::Index to) {
  const Eigen::Index below = a.rows() - to - 1;
  a.col(from).tail(below).swap(a.col(to).tail(below));
  for (Eigen::Index i = from + 1; i < to; ++i) std::swap(a(i, from), a(to, i));
  std::swap(a(from, from), a(to, to));
}

// The columns `k` and `k + 1` of L, and what remains without them.
void eliminate_two(Matrix& a, Eigen::Index k) {
  const double off = a(k + 1, k);
  const double d11 = a(k + 1, k + 1) / off;
  const double d22 = a(k, k) / off;
  const double scale = 1 / (d11 * d22 - 1) / off;
  for (Eigen::Index j = k + 2; j < a.rows(); ++j) {
    const double first = scale * (d11 * a(j, k) - a(j, k + 1));
    const double second = scale * (d22 * a(j, k + 1) - a(j, k));
    const Eigen::Index rest = a.rows() - j;
    a.col(j).tail(rest) -= a.col(k).tail(rest) * first + a.col(k + 1).tail(rest) * second;
    a(j, k) = first;
    a(j, k + 1) = second;
  }
}

// The lower triangle becomes L and D; returns LAPACK's info. `pivots` are LAPACK's: from 1, negative for blocks of two.
std::int32_t factorize(Matrix& a, Pivots pivots) {
  std::int32_t info = 0;
  const Eigen::Index size = a.rows();
  for (Eigen::Index k = 0; k < size;) {
    const Choice pivot = choose_pivot(a, k);
    if (pivot.is_singular && info == 0) info = static_cast<std::int32_t>(k) + 1;
    const Eigen::Index last = k + pivot.step - 1;
    if (pivot.row != last) {
      exchange(a, last, pivot.row);
      if (pivot.step == 2) std::swap(a(k + 1, k), a(pivot.row, k));
    }
    const auto number = static_cast<std::int32_t>(pivot.row) + 1;
    pivots(k) = pivot.step == 1 ? number : -number;
    if (pivot.step == 2) {
      pivots(k + 1) = -number;
      eliminate_two(a, k);
    } else if (!pivot.is_singular) {
      const Eigen::Index rest = size - k - 1;
      const Vector column = a.col(k).tail(rest) / a(k, k);
      for (Eigen::Index j = 0; j < rest; ++j) {
        a.col(k + 1 + j).tail(rest - j) -= column(j) * a.col(k).tail(rest - j);
      }
      a.col(k).tail(rest) = column;
    }
    k += pivot.step;
  }
  return info;
}

// `b` becomes the solution of L D L^T x = b.
void solve(const Matrix& a, Pivots pivots, Matrix& b) {
  const Eigen::Index size = a.rows();
  for (Eigen::Index k = 0; k < size;) {
    const bool is_one = pivots(k) > 0;
    const Eigen::Index last = is_one ? k : k + 1;
    const Eigen::Index row = std::abs(pivots(k)) - 1;
    const Eigen::Index rest = size - last - 1;
    if (row != last) b.row(row).swap(b.row(last));
    for (Eigen::Index i = k; i <= last; ++i) b.bottomRows(rest) -= a.col(i).tail(rest) * b.row(i);
    if (is_one) {
      b.row(k) /= a(k, k);
    } else {
      const double off = a(k + 1, k);
      const double first = a(k, k) / off;
      const double second = a(k + 1, k + 1) / off;
      const Eigen::RowVectorXd upper = b.row(k) / off;
      const Eigen::RowVectorXd lower = b.row(k + 1) / off;
      b.row(k) = (second * upper - lower) / (first * second - 1);
      b.row(k + 1) = (first * lower - upper) / (first * second - 1);
    }
    k = last + 1;
  }
  for (Eigen::Index k = size - 1; k >= 0;) {
    const Eigen::Index first = pivots(k) > 0 ? k : k - 1;
    const Eigen::Index rest = size - k - 1;
    for (Eigen::Index i = first; i <= k; ++i) b.row(i) -= a.col(i).tail(rest).transpose() * b.bottomRows(rest);
    const Eigen::Index row = std::abs(pivots(k)) - 1;
    if (row != k) b.row(row).swap(b.row(k));
    k = first - 1;
  }
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_linalg_ldl_factor_ex(AtenTensorHandle self, std::int32_t, std::int32_t check_errors,
                                                       AtenTensorHandle* ld, AtenTensorHandle* pivots,
                                                       AtenTensorHandle* info) {
  constexpr const char* function = "aoti_torch_cpu_linalg_ldl_factor_ex";
  return guarded([&] {
    const Array given = checked_square(self, function, "self");
    check_real_type(given, function);
    const Sizes batch = given.batch(2);
    const std::int64_t size = given.size(-1);
    const OwnedArray factors = converted(given, kDouble);
    OwnedArray places(kInt, joined(batch, {size}));
    OwnedArray failed(kInt, batch);
    for (std::int64_t i = 0; i < count_of(batch); ++i) {
      Matrix a = matrix(factors, i).triangularView<Eigen::Lower>();
      failed.data<std::int32_t>()[i] = factorize(a, Pivots(places.data<std::int32_t>() + i * size, size));
      matrix(factors, i) = a;
    }
    if (check_errors != 0) check_info(failed, "linalg.ldl_factor_ex");
    give(ld, factors, given.dtype(), function);
    places.give(pivots, function);
    failed.give(info, function);
  });
}

AOTITorchError aotbuild_torch_cpu_linalg_ldl_solve(AtenTensorHandle ld, AtenTensorHandle pivots, AtenTensorHandle b,
                                                   std::int32_t, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_linalg_ldl_solve";
  return guarded([&] {
    const Array factor = checked_square(ld, function, "LD");
    const Array right = checked_matrices(b, function, "B");
    const Array places(pivots, function, "pivots");
    check_real_type(factor, function);
    const std::int64_t size = factor.size(-1);
    const Sizes batch = broadcast(factor.batch(2), right.batch(2), function);
    if (right.size(-2) != size || places.ndim() < 1 || places.size(-1) != size) {
      fail(function, "the sizes of LD, pivots and B do not fit");
    }
    const OwnedArray factors = converted(factor, kDouble, joined(batch, {size, size}));
    const OwnedArray rows = converted(places, kInt, joined(batch, {size}));
    const OwnedArray result = converted(right, kDouble, joined(batch, {size, right.size(-1)}));
    for (std::int64_t i = 0; i < count_of(batch); ++i) {
      const Matrix a = matrix(factors, i);
      const Pivots numbers(rows.data<std::int32_t>() + i * size, size);
      for (std::int64_t k = 0; k < size; ++k) {
        if (numbers(k) == 0 || std::abs(numbers(k)) > size) fail(function, "a pivot is ", numbers(k));
      }
      Matrix x = matrix(result, i);
      solve(a, numbers, x);
      matrix(result, i) = x;
    }
    give(ret, result, right.dtype(), function);
  });
}
