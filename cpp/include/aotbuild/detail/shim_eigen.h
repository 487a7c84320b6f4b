// Linear algebra and Fourier transforms of the C shim, which the runtime has where Eigen was found; see shim.h.
#ifndef AOTBUILD_DETAIL_SHIM_EIGEN_H_
#define AOTBUILD_DETAIL_SHIM_EIGEN_H_

#include "aotbuild/detail/shim.h"

// The arguments of the operators' schemas, then the results. A result that was not asked for, as the vectors where only
// singular values are wanted, is a tensor of size 0. They are hidden in each library that calls them: no part of the
// shared runtime.
#pragma GCC visibility push(hidden)
extern "C" {
AOTITorchError aotbuild_torch_cpu__linalg_check_errors(AtenTensorHandle info, const char* api_name, std::int32_t);
AOTITorchError aotbuild_torch_cpu_linalg_lu_factor_ex(AtenTensorHandle a, std::int32_t pivot, std::int32_t check_errors,
                                                      AtenTensorHandle* lu, AtenTensorHandle* pivots,
                                                      AtenTensorHandle* info);
AOTITorchError aotbuild_torch_cpu_linalg_lu(AtenTensorHandle a, std::int32_t pivot, AtenTensorHandle* permutation,
                                            AtenTensorHandle* lower, AtenTensorHandle* upper);
AOTITorchError aotbuild_torch_cpu_lu_unpack(AtenTensorHandle lu_data, AtenTensorHandle lu_pivots,
                                            std::int32_t unpack_data, std::int32_t unpack_pivots,
                                            AtenTensorHandle* permutation, AtenTensorHandle* lower,
                                            AtenTensorHandle* upper);
AOTITorchError aotbuild_torch_cpu_linalg_lu_solve(AtenTensorHandle lu, AtenTensorHandle pivots, AtenTensorHandle b,
                                                  std::int32_t left, std::int32_t adjoint, AtenTensorHandle* ret);
AOTITorchError aotbuild_torch_cpu__linalg_solve_ex(AtenTensorHandle a, AtenTensorHandle b, std::int32_t left,
                                                   std::int32_t check_errors, AtenTensorHandle* result,
                                                   AtenTensorHandle* lu, AtenTensorHandle* pivots,
                                                   AtenTensorHandle* info);
AOTITorchError aotbuild_torch_cpu_linalg_inv_ex(AtenTensorHandle a, std::int32_t check_errors,
                                                AtenTensorHandle* inverse, AtenTensorHandle* info);
AOTITorchError aotbuild_torch_cpu__linalg_det(AtenTensorHandle a, AtenTensorHandle* result, AtenTensorHandle* lu,
                                              AtenTensorHandle* pivots);
AOTITorchError aotbuild_torch_cpu__linalg_slogdet(AtenTensorHandle a, AtenTensorHandle* sign, AtenTensorHandle* logdet,
                                                  AtenTensorHandle* lu, AtenTensorHandle* pivots);
AOTITorchError aotbuild_torch_cpu_linalg_cholesky_ex(AtenTensorHandle self, std::int32_t upper,
                                                     std::int32_t check_errors, AtenTensorHandle* l,
                                                     AtenTensorHandle* info);
AOTITorchError aotbuild_torch_cpu_cholesky(AtenTensorHandle self, std::int32_t upper, AtenTensorHandle* ret);
AOTITorchError aotbuild_torch_cpu_cholesky_solve(AtenTensorHandle self, AtenTensorHandle input2, std::int32_t upper,
                                                 AtenTensorHandle* ret);
AOTITorchError aotbuild_torch_cpu_cholesky_inverse(AtenTensorHandle self, std::int32_t upper, AtenTensorHandle* ret);
AOTITorchError aotbuild_torch_cpu_linalg_solve_triangular(AtenTensorHandle self, AtenTensorHandle b, std::int32_t upper,
                                                          std::int32_t left, std::int32_t unitriangular,
                                                          AtenTensorHandle* ret);
AOTITorchError aotbuild_torch_cpu_triangular_solve(AtenTensorHandle self, AtenTensorHandle a, std::int32_t upper,
                                                   std::int32_t transpose, std::int32_t unitriangular,
                                                   AtenTensorHandle* solution, AtenTensorHandle* cloned_coefficient);
AOTITorchError aotbuild_torch_cpu_linalg_matrix_exp(AtenTensorHandle self, AtenTensorHandle* ret);
AOTITorchError aotbuild_torch_cpu_linalg_ldl_factor_ex(AtenTensorHandle self, std::int32_t hermitian,
                                                       std::int32_t check_errors, AtenTensorHandle* ld,
                                                       AtenTensorHandle* pivots, AtenTensorHandle* info);
AOTITorchError aotbuild_torch_cpu_linalg_ldl_solve(AtenTensorHandle ld, AtenTensorHandle pivots, AtenTensorHandle b,
                                                   std::int32_t hermitian, AtenTensorHandle* ret);
AOTITorchError aotbuild_torch_cpu_geqrf(AtenTensorHandle self, AtenTensorHandle* a, AtenTensorHandle* tau);
AOTITorchError aotbuild_torch_cpu_linalg_qr(AtenTensorHandle a, const char* mode, AtenTensorHandle* q,
                                            AtenTensorHandle* r);
AOTITorchError aotbuild_torch_cpu_linalg_householder_product(AtenTensorHandle input, AtenTensorHandle tau,
                                                             AtenTensorHandle* ret);
AOTITorchError aotbuild_torch_cpu_ormqr(AtenTensorHandle self, AtenTensorHandle input2, AtenTensorHandle input3,
                                        std::int32_t left, std::int32_t transpose, AtenTensorHandle* ret);
AOTITorchError aotbuild_torch_cpu__linalg_eigh(AtenTensorHandle a, const char* uplo, std::int32_t compute_v,
                                               AtenTensorHandle* eigenvalues, AtenTensorHandle* eigenvectors);
AOTITorchError aotbuild_torch_cpu_linalg_eig(AtenTensorHandle self, AtenTensorHandle* eigenvalues,
                                             AtenTensorHandle* eigenvectors);
AOTITorchError aotbuild_torch_cpu__linalg_svd(AtenTensorHandle a, std::int32_t full_matrices, std::int32_t compute_uv,
                                              const char**, AtenTensorHandle* u, AtenTensorHandle* s,
                                              AtenTensorHandle* vh);

AOTITorchError aotbuild_torch_cpu__fft_c2c(AtenTensorHandle self, const std::int64_t* dim, std::int64_t dim_len,
                                           std::int64_t normalization, std::int32_t forward, AtenTensorHandle* ret);
AOTITorchError aotbuild_torch_cpu__fft_r2c(AtenTensorHandle self, const std::int64_t* dim, std::int64_t dim_len,
                                           std::int64_t normalization, std::int32_t onesided, AtenTensorHandle* ret);
AOTITorchError aotbuild_torch_cpu__fft_c2r(AtenTensorHandle self, const std::int64_t* dim, std::int64_t dim_len,
                                           std::int64_t normalization, std::int64_t last_dim_size,
                                           AtenTensorHandle* ret);
}
#pragma GCC visibility pop

#define aoti_torch_cpu__linalg_check_errors aotbuild_torch_cpu__linalg_check_errors
#define aoti_torch_cpu_linalg_lu_factor_ex aotbuild_torch_cpu_linalg_lu_factor_ex
#define aoti_torch_cpu_linalg_lu aotbuild_torch_cpu_linalg_lu
#define aoti_torch_cpu_lu_unpack aotbuild_torch_cpu_lu_unpack
#define aoti_torch_cpu_linalg_lu_solve aotbuild_torch_cpu_linalg_lu_solve
#define aoti_torch_cpu__linalg_solve_ex aotbuild_torch_cpu__linalg_solve_ex
#define aoti_torch_cpu_linalg_inv_ex aotbuild_torch_cpu_linalg_inv_ex
#define aoti_torch_cpu__linalg_det aotbuild_torch_cpu__linalg_det
#define aoti_torch_cpu__linalg_slogdet aotbuild_torch_cpu__linalg_slogdet
#define aoti_torch_cpu_linalg_cholesky_ex aotbuild_torch_cpu_linalg_cholesky_ex
#define aoti_torch_cpu_cholesky aotbuild_torch_cpu_cholesky
#define aoti_torch_cpu_cholesky_solve aotbuild_torch_cpu_cholesky_solve
#define aoti_torch_cpu_cholesky_inverse aotbuild_torch_cpu_cholesky_inverse
#define aoti_torch_cpu_linalg_solve_triangular aotbuild_torch_cpu_linalg_solve_triangular
#define aoti_torch_cpu_triangular_solve aotbuild_torch_cpu_triangular_solve
#define aoti_torch_cpu_linalg_matrix_exp aotbuild_torch_cpu_linalg_matrix_exp
#define aoti_torch_cpu_linalg_ldl_factor_ex aotbuild_torch_cpu_linalg_ldl_factor_ex
#define aoti_torch_cpu_linalg_ldl_solve aotbuild_torch_cpu_linalg_ldl_solve
#define aoti_torch_cpu_geqrf aotbuild_torch_cpu_geqrf
#define aoti_torch_cpu_linalg_qr aotbuild_torch_cpu_linalg_qr
#define aoti_torch_cpu_linalg_householder_product aotbuild_torch_cpu_linalg_householder_product
#define aoti_torch_cpu_ormqr aotbuild_torch_cpu_ormqr
#define aoti_torch_cpu__linalg_eigh aotbuild_torch_cpu__linalg_eigh
#define aoti_torch_cpu_linalg_eig aotbuild_torch_cpu_linalg_eig
#define aoti_torch_cpu__linalg_svd aotbuild_torch_cpu__linalg_svd
#define aoti_torch_cpu__fft_c2c aotbuild_torch_cpu__fft_c2c
#define aoti_torch_cpu__fft_r2c aotbuild_torch_cpu__fft_r2c
#define aoti_torch_cpu__fft_c2r aotbuild_torch_cpu__fft_c2r

#endif  // AOTBUILD_DETAIL_SHIM_EIGEN_H_
