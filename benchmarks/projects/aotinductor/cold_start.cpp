// From process start to the first embedding with AOTInductor's C++ loader: cold_start <tokens> <package.pt2>
#include "cold_start.hpp"

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " <tokens> <package.pt2>\n";
    return 2;
  }
  const c10::InferenceMode inference;
  cold_start::Tokens tokens = cold_start::read_tokens(argv[1]);
  torch::inductor::AOTIModelPackageLoader loader(argv[2]);
  const auto as_tensor = [&](std::vector<std::int64_t>& values) {
    return torch::from_blob(values.data(), {cold_start::kBatch, tokens.length()}, torch::kInt64);
  };
  const std::vector<at::Tensor> outputs = loader.run({as_tensor(tokens.ids), as_tensor(tokens.mask)});
  cold_start::answer(outputs[0].contiguous().const_data_ptr<float>(), static_cast<std::size_t>(outputs[0].numel()));
}
