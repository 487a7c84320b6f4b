// A stand-in for cuBLASLt, over the stand-in for the driver: products of float32 matrices.
#ifndef AOTBUILD_TESTS_CPP_FAKE_CUDA_FAKE_CUBLASLT_HPP_
#define AOTBUILD_TESTS_CPP_FAKE_CUDA_FAKE_CUBLASLT_HPP_

namespace fake_cublaslt {

// Forgets everything: no product takes time, all are supported.
void reset();
void set_microseconds(double of_a_product);
// cublasLtMatmulAlgoGetHeuristic finds nothing from now on.
void support_nothing();

int products();  // that were queued
int live();      // objects that were created and not destroyed

}  // namespace fake_cublaslt

#endif  // AOTBUILD_TESTS_CPP_FAKE_CUDA_FAKE_CUBLASLT_HPP_
