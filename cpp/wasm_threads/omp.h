// OpenMP's functions in WebAssembly with threads: cpp/src/base/openmp_wasm.cpp.
#ifndef AOTBUILD_WASM_THREADS_OMP_H_
#define AOTBUILD_WASM_THREADS_OMP_H_

extern "C" {
int omp_get_max_threads();
int omp_get_num_threads();
int omp_get_thread_num();
int omp_get_num_procs();
int omp_in_parallel();
void omp_set_num_threads(int count);
int omp_get_dynamic();
void omp_set_dynamic(int is_dynamic);
}

#endif  // AOTBUILD_WASM_THREADS_OMP_H_
