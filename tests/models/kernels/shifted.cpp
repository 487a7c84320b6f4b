// A kernel over aotbuild/kernel.h, which knows nothing of libtorch.
#include <aotbuild/kernel.h>

extern "C" AOTITorchError shifted(AtenTensorHandle x, double by, AtenTensorHandle* result) {
  AtenTensorHandle rows = nullptr;
  aotbuild_kernel_tensor in, out;
  if (aotbuild_kernel_contiguous(x, &rows)) return AOTI_TORCH_FAILURE;
  if (aotbuild_kernel_describe(rows, &in) || aotbuild_kernel_allocate(in.dtype, in.ndim, in.sizes, result) ||
      aotbuild_kernel_describe(*result, &out)) {
    return AOTI_TORCH_FAILURE;
  }
  for (int64_t i = 0; i < in.numel; ++i) {
    static_cast<float*>(out.data)[i] = static_cast<const float*>(in.data)[i] + static_cast<float>(by);
  }
  aotbuild_kernel_release(rows);
  return AOTI_TORCH_SUCCESS;
}
