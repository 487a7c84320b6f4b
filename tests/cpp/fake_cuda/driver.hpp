// The functions of the driver that a program uses beside a model or a kernel.
#ifndef AOTBUILD_TESTS_CPP_FAKE_CUDA_DRIVER_HPP_
#define AOTBUILD_TESTS_CPP_FAKE_CUDA_DRIVER_HPP_

#include <cstddef>

extern "C" {
int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void** context, int device);
int cuDevicePrimaryCtxRelease_v2(int device);
int cuCtxPushCurrent_v2(void* context);
int cuCtxPopCurrent_v2(void** context);
int cuMemAlloc_v2(unsigned long long* memory, std::size_t nbytes);
int cuMemFree_v2(unsigned long long memory);
int cuStreamCreate(void** stream, unsigned flags);
int cuStreamDestroy_v2(void* stream);
int cuStreamSynchronize(void* stream);
int cuStreamBeginCapture_v2(void* stream, int mode);
int cuStreamEndCapture(void* stream, void** graph);
int cuGraphDestroy(void* graph);
}

#endif  // AOTBUILD_TESTS_CPP_FAKE_CUDA_DRIVER_HPP_
