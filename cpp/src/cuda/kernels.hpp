// The kernels of a model, chosen for a device, loaded, and launched.
#ifndef AOTBUILD_SRC_CUDA_KERNELS_HPP_
#define AOTBUILD_SRC_CUDA_KERNELS_HPP_

#include <memory>
#include <vector>

#include "aotbuild/detail/cuda_spec.hpp"
#include "cuda/device.hpp"
#include "cuda/products.hpp"

namespace aotbuild::detail::cuda {

// The best of the variants that the device loads. Throws Error(AOTBUILD_UNSUPPORTED_HARDWARE) that begins with the
// device's model() and lists what is inside.
const VariantSpec& choose_variant(const VariantSpec* variants, std::size_t count, const CudaDevice& device);

class CudaKernels {
 public:
  // Loads everything now, so that no call waits for it, and decides about products. The context must be current.
  CudaKernels(std::shared_ptr<CudaDevice> device, const CudaVariantSpec& variant);
  ~CudaKernels();
  CudaKernels(const CudaKernels&) = delete;
  CudaKernels& operator=(const CudaKernels&) = delete;

  // What a launch of so many blocks needs of CudaKernelSpec::scratch_bytes; 0 where there is no such kernel.
  std::size_t scratch_bytes(int kernel, std::size_t blocks) const;
  const CudaKernelSpec& spec(int kernel) const { return variant_.kernels[kernel]; }

  // As context_launch, with an address for scratch memory where the kernel needs some. `follows_kernel`: whether the
  // last work on the stream is a kernel, before and after.
  void launch(int kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z, void** arguments, Stream stream,
              bool* follows_kernel) const;

  // The name of the kernel that has written `code` (context_index_error); null for none.
  const char* name_of(std::int32_t code) const;

 private:
  void load();
  Function load_function(Module module, const CudaKernelSpec& kernel) const;
  void unload() noexcept;

  std::shared_ptr<CudaDevice> device_;
  const CudaVariantSpec& variant_;
  std::vector<Module> modules_;
  std::vector<Function> functions_;
  std::unique_ptr<CudaProducts> products_;
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_KERNELS_HPP_
