// OpenMP's functions where there is no OpenMP, as in WebAssembly: programs have one thread. Their pragmas are ignored.
#ifndef AOTBUILD_SINGLE_THREAD_OMP_H_
#define AOTBUILD_SINGLE_THREAD_OMP_H_

inline int omp_get_max_threads() { return 1; }
inline int omp_get_num_threads() { return 1; }
inline int omp_get_thread_num() { return 0; }
inline int omp_get_num_procs() { return 1; }
inline int omp_in_parallel() { return 0; }
inline void omp_set_num_threads(int) {}
inline int omp_get_dynamic() { return 0; }
inline void omp_set_dynamic(int) {}

#endif  // AOTBUILD_SINGLE_THREAD_OMP_H_
