// Matrix products by cuBLASLt, where the machine has it and it is faster than the model's own kernels.
#ifndef AOTBUILD_SRC_CUDA_PRODUCTS_HPP_
#define AOTBUILD_SRC_CUDA_PRODUCTS_HPP_

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "aotbuild/detail/cuda_spec.hpp"
#include "cuda/device.hpp"

namespace aotbuild::detail::cuda {

struct BlasLibrary;  // cuBLASLt's functions

class CudaProducts {
 public:
  // Launches a kernel of the variant as context_launch does.
  using Launch = std::function<void(const CudaProductSpec& product, void** arguments, Stream stream)>;

  // Times each product of the variant both ways, and keeps those that the library computes faster. The context must be
  // current. Where there is no library, or not enough memory for the operands, it keeps none.
  CudaProducts(const std::shared_ptr<CudaDevice>& device, const CudaVariantSpec& variant, const Launch& launch);
  ~CudaProducts();
  CudaProducts(const CudaProducts&) = delete;
  CudaProducts& operator=(const CudaProducts&) = delete;

  // False if the kernel is to be launched. `arguments` as for context_launch.
  bool compute(int kernel, void** arguments, Stream stream) const;

 private:
  struct Plan;

  std::unique_ptr<Plan> make_plan(const CudaProductSpec& product) const;
  void time(const CudaVariantSpec& variant, const Launch& launch);

  const std::shared_ptr<CudaDevice> device_;
  const BlasLibrary* library_ = nullptr;
  void* handle_ = nullptr;
  std::vector<std::unique_ptr<Plan>> plans_;  // by kernel; null: its own code
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_PRODUCTS_HPP_
