// What the C ABI is made of, in one library with debug information: the table of a model's functions reaches every
// structure of aotbuild/c_api.h, the rest is what no function takes.
#include "aotbuild/c_api.h"

AOTBUILD_EXPORT const aotbuild_api aotbuild_model_api = {AOTBUILD_ABI_VERSION, sizeof(aotbuild_api), 0};
AOTBUILD_EXPORT int aotbuild_kernel_of(const aotbuild_kernel* kernel, enum aotbuild_dtype_code code);
int aotbuild_kernel_of(const aotbuild_kernel* kernel, enum aotbuild_dtype_code code) {
  return kernel != 0 && code != 0;
}
