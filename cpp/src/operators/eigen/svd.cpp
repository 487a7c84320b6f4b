// The C shim: the singular value decomposition.
#include <algorithm>

#include "operators/eigen/linalg.hpp"

// After linalg.hpp, which renames Eigen's namespace.
#include <Eigen/SVD>

using namespace aotbuild::detail::eigen;  // NOLINT: this file implements C functions

AOTITorchError aotbuild_torch_cpu__linalg_svd(AtenTensorHandle a, std::int32_t full_matrices, std::int32_t compute_uv,
                                              const char**, AtenTensorHandle* u, AtenTensorHandle* s,
                                              AtenTensorHandle* vh) {
  constexpr const char* function = "aoti_torch_cpu__linalg_svd";
  return guarded([&] {
    const Array given = checked_matrices(a, function, "A");
    const std::int64_t rows = given.size(-2);
    const std::int64_t columns = given.size(-1);
    const std::int64_t rank = std::min(rows, columns);
    const Sizes batch = given.batch(2);
    const OwnedArray values(kDouble, joined(batch, {rank}));
    check_real_type(given, function);
    const bool vectors = compute_uv != 0;
    const bool full = full_matrices != 0;
    const OwnedArray work = converted(given, kDouble);
    const OwnedArray left(kDouble, vectors ? joined(batch, {rows, full ? rows : rank}) : kAbsent);
    const OwnedArray right(kDouble, vectors ? joined(batch, {full ? columns : rank, columns}) : kAbsent);
    const unsigned options = !vectors ? 0U
                             : full   ? unsigned{Eigen::ComputeFullU} | unsigned{Eigen::ComputeFullV}
                                      : unsigned{Eigen::ComputeThinU} | unsigned{Eigen::ComputeThinV};
    for (std::int64_t i = 0; i < count_of(batch); ++i) {
      if (rank == 0) {
        if (vectors) matrix(left, i).setIdentity();
        if (vectors) matrix(right, i).setIdentity();
        continue;
      }
      const Matrix one = matrix(work, i);
      if (!one.allFinite()) fail("linalg.svd", "the input has a value that is not finite");
      const Eigen::BDCSVD<Matrix> svd(one, options);
      if (svd.info() != Eigen::Success) fail("linalg.svd", "the algorithm did not converge");
      vector(values, i) = svd.singularValues();
      if (!vectors) continue;
      matrix(left, i) = svd.matrixU();
      matrix(right, i) = svd.matrixV().adjoint();
    }
    give(u, left, given.dtype(), function);
    give(vh, right, given.dtype(), function);
    give(s, values, given.dtype(), function);
  });
}
