// The C shim: matrix products.
#include "kernels/matmul.hpp"

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

AOTITorchError product(AtenTensorHandle out, AtenTensorHandle a, AtenTensorHandle b, const char* function) {
  return guarded([&] {
    matmul(checked(out, function, "out"), checked(a, function, "self"), checked(b, function, "mat2"), nullptr, 1, 0,
           function);
  });
}

AOTITorchError sum_of_product(AtenTensorHandle out, AtenTensorHandle self, AtenTensorHandle a, AtenTensorHandle b,
                              double beta, double alpha, const char* function) {
  return guarded([&] {
    matmul(checked(out, function, "out"), checked(a, function, "mat1"), checked(b, function, "mat2"),
           &checked(self, function, "self"), alpha, beta, function);
  });
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_mm_out(AtenTensorHandle out, AtenTensorHandle self, AtenTensorHandle mat2) {
  return product(out, self, mat2, "aoti_torch_cpu_mm_out");
}

AOTITorchError aotbuild_torch_cpu_bmm_out(AtenTensorHandle out, AtenTensorHandle self, AtenTensorHandle mat2) {
  return product(out, self, mat2, "aoti_torch_cpu_bmm_out");
}

AOTITorchError aotbuild_torch_cpu_addmm_out(AtenTensorHandle out, AtenTensorHandle self, AtenTensorHandle mat1,
                                            AtenTensorHandle mat2, double beta, double alpha) {
  return sum_of_product(out, self, mat1, mat2, beta, alpha, "aoti_torch_cpu_addmm_out");
}

AOTITorchError aotbuild_torch_cpu_baddbmm_out(AtenTensorHandle out, AtenTensorHandle self, AtenTensorHandle batch1,
                                              AtenTensorHandle batch2, double beta, double alpha) {
  return sum_of_product(out, self, batch1, batch2, beta, alpha, "aoti_torch_cpu_baddbmm_out");
}
