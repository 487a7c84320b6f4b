// A stand-in for NCCL, over the stand-in for the driver: ranks are threads of one process. A collective operation is
// done when the streams of all ranks have come to it.
#ifndef AOTBUILD_TESTS_CPP_FAKE_CUDA_FAKE_NCCL_HPP_
#define AOTBUILD_TESTS_CPP_FAKE_CUDA_FAKE_NCCL_HPP_

#include <string>

namespace fake_nccl {

// Forgets everything: release 2.21, no failures.
void reset();
void set_version(int version);
// The calls of `function` after `skip` more return `error`, once.
void fail(const std::string& function, int error, int skip = 0);
// The other ranks notice from now on that this one is gone.
void lose(int rank);

int failures();       // that were asked for and have not come
int communicators();  // that were made and not destroyed
int operations();     // that were done, by all ranks

}  // namespace fake_nccl

#endif  // AOTBUILD_TESTS_CPP_FAKE_CUDA_FAKE_NCCL_HPP_
