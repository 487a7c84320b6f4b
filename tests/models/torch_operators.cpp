// Operators of a C++ library, as users have them: one registered with libtorch, one as a function of its C shim.
#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/inductor/aoti_torch/utils.h>
#include <torch/library.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace {

std::tuple<at::Tensor, std::vector<at::Tensor>> mix(
    const at::Tensor& x, const std::optional<at::Tensor>& bias, at::TensorList parts,
    const c10::List<std::optional<at::Tensor>>& masks, std::int64_t rows, double scale, const at::Scalar& alpha,
    bool negate, c10::string_view mode, at::IntArrayRef dims, std::optional<at::ArrayRef<double>> factors,
    const c10::List<bool>& flags, at::ScalarType dtype, std::optional<at::Device> /*device*/,
    std::optional<std::int64_t> n) {
  at::Tensor total = x * scale + alpha + static_cast<std::int64_t>(mode.size());
  for (const std::int64_t dim : dims) total = total + dim;
  for (const double factor : factors.value_or(at::ArrayRef<double>())) total = total + factor;
  for (const bool flag : flags) total = total + static_cast<std::int64_t>(flag);
  if (bias) total = total + *bias;
  for (const std::optional<at::Tensor>& mask : masks) {
    if (mask) total = total + *mask;
  }
  if (negate) total = -total;
  std::vector<at::Tensor> scaled;
  for (const at::Tensor& part : parts) scaled.push_back(part * n.value_or(1));
  return {total.slice(0, 0, rows).to(dtype), scaled};
}

}  // namespace

TORCH_LIBRARY(aotbuild_test, library) {
  library.def(
      "mix(Tensor x, Tensor? bias, Tensor[] parts, Tensor?[] masks, int rows, float scale, Scalar alpha, bool negate, "
      "str mode, int[] dims, float[]? factors, bool[] flags, ScalarType dtype, Device? device=None, *, SymInt? n=None) "
      "-> (Tensor, Tensor[])");
  library.impl("mix", &mix);
}

extern "C" __attribute__((visibility("default"))) AOTITorchError aotbuild_test_scaled(AtenTensorHandle x, double by,
                                                                                      AtenTensorHandle* result) {
  AOTI_TORCH_CONVERT_EXCEPTION_TO_ERROR_CODE({
    const at::Tensor scaled = *torch::aot_inductor::tensor_handle_to_tensor_pointer(x) * by;
    *result = torch::aot_inductor::new_tensor_handle(at::Tensor(scaled));
  });
}
