// The C shim: QR factors, and the products of Householder reflectors that they are kept as.
#include <algorithm>
#include <string>

#include "operators/eigen/linalg.hpp"

// After linalg.hpp, which renames Eigen's namespace.
#include <Eigen/QR>

using namespace aotbuild::detail::eigen;  // NOLINT: this file implements C functions

namespace {

// The packed factors of a matrix as LAPACK's geqrf has them; its coefficients are the conjugates of Eigen's.
struct Reflectors {
  explicit Reflectors(const Matrix& a) {
    const Eigen::HouseholderQR<Matrix> qr(a);
    packed = qr.matrixQR();
    tau = qr.hCoeffs().conjugate();
  }
  Matrix packed;
  Vector tau;
};

// Reflectors below the diagonal of `packed`, the first `tau.size()` columns.
auto product_of(const Matrix& packed, const Vector& tau) {
  return Eigen::householderSequence(packed, tau).setLength(tau.size());
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_geqrf(AtenTensorHandle self, AtenTensorHandle* a, AtenTensorHandle* tau) {
  constexpr const char* function = "aoti_torch_cpu_geqrf";
  return guarded([&] {
    const Array given = checked_matrices(self, function, "self");
    const Sizes batch = given.batch(2);
    const std::int64_t steps = std::min(given.size(-2), given.size(-1));
    check_real_type(given, function);
    const OwnedArray packed = converted(given, kDouble);
    const OwnedArray coefficients(kDouble, joined(batch, {steps}));
    for (std::int64_t i = 0; steps > 0 && i < count_of(batch); ++i) {
      const Reflectors qr(matrix(packed, i));
      matrix(packed, i) = qr.packed;
      vector(coefficients, i) = qr.tau;
    }
    give(a, packed, given.dtype(), function);
    give(tau, coefficients, given.dtype(), function);
  });
}

AOTITorchError aotbuild_torch_cpu_linalg_qr(AtenTensorHandle a, const char* mode, AtenTensorHandle* q,
                                            AtenTensorHandle* r) {
  constexpr const char* function = "aoti_torch_cpu_linalg_qr";
  return guarded([&] {
    const Array given = checked_matrices(a, function, "A");
    const std::string kind(mode);
    if (kind != "reduced" && kind != "complete" && kind != "r") fail(function, "mode is '", kind, "'");
    const std::int64_t rows = given.size(-2);
    const std::int64_t columns = given.size(-1);
    const std::int64_t steps = std::min(rows, columns);
    const std::int64_t inner = kind == "complete" ? rows : steps;
    const Sizes batch = given.batch(2);
    check_real_type(given, function);
    const OwnedArray work = converted(given, kDouble);
    const bool with_q = kind != "r";
    const OwnedArray made_q(kDouble, with_q ? joined(batch, {rows, inner}) : kAbsent);
    const OwnedArray made_r(kDouble, joined(batch, {inner, columns}));
    for (std::int64_t i = 0; i < count_of(batch); ++i) {
      if (steps == 0) {
        if (with_q) matrix(made_q, i).setIdentity();
        continue;
      }
      const Reflectors qr(matrix(work, i));
      matrix(made_r, i) = Matrix(qr.packed.topRows(inner).triangularView<Eigen::Upper>());
      if (!with_q) continue;
      Matrix product = Matrix::Identity(rows, inner);
      product.applyOnTheLeft(product_of(qr.packed, qr.tau));
      matrix(made_q, i) = product;
    }
    give(q, made_q, given.dtype(), function);
    give(r, made_r, given.dtype(), function);
  });
}

AOTITorchError aotbuild_torch_cpu_linalg_householder_product(AtenTensorHandle input, AtenTensorHandle tau,
                                                             AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_linalg_householder_product";
  return guarded([&] {
    const Array given = checked_matrices(input, function, "input");
    const Array coefficients(tau, function, "tau");
    const Sizes batch = given.batch(2);
    if (coefficients.ndim() != given.ndim() - 1) fail(function, "tau has ", coefficients.ndim(), " dimensions");
    const std::int64_t columns = given.size(-1);
    if (coefficients.size(-1) > columns) fail(function, "tau has more elements than columns");
    check_real_type(given, function);
    const OwnedArray result = converted(given, kDouble);
    const OwnedArray factors = converted(coefficients, kDouble);
    for (std::int64_t i = 0; result.numel() > 0 && i < count_of(batch); ++i) {
      const Matrix packed = matrix(result, i);
      const Vector values = vector(factors, i);
      Matrix product = Matrix::Identity(packed.rows(), packed.cols());
      product.applyOnTheLeft(product_of(packed, values));
      matrix(result, i) = product;
    }
    give(ret, result, given.dtype(), function);
  });
}

AOTITorchError aotbuild_torch_cpu_ormqr(AtenTensorHandle self, AtenTensorHandle input2, AtenTensorHandle input3,
                                        std::int32_t left, std::int32_t transpose, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_ormqr";
  return guarded([&] {
    const Array reflectors = checked_matrices(self, function, "self");
    const Array coefficients(input2, function, "input2");
    const Array other = checked_matrices(input3, function, "input3");
    const std::int64_t size = reflectors.size(-2);
    const std::int64_t rows = other.size(-2);
    const std::int64_t columns = other.size(-1);
    if ((left != 0 ? rows : columns) != size) fail(function, "a product of ", size, " by ", rows, " by ", columns);
    if (other.batch(2) != reflectors.batch(2)) fail(function, "the batches differ");
    check_real_type(other, function);
    const OwnedArray packed = converted(reflectors, kDouble);
    const OwnedArray factors = converted(coefficients, kDouble);
    const OwnedArray result = converted(other, kDouble);
    for (std::int64_t i = 0; result.numel() > 0 && i < count_of(other.batch(2)); ++i) {
      const Matrix below = matrix(packed, i);
      const Vector values = vector(factors, i);
      const auto q = product_of(below, values);
      Matrix product = matrix(result, i);
      if (left != 0 && transpose != 0) {
        product.applyOnTheLeft(q.adjoint());
      } else if (left != 0) {
        product.applyOnTheLeft(q);
      } else if (transpose != 0) {
        product.applyOnTheRight(q.adjoint());
      } else {
        product.applyOnTheRight(q);
      }
      matrix(result, i) = product;
    }
    give(ret, result, other.dtype(), function);
  });
}
