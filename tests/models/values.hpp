// The elements of a model's output, for programs that compare models.
#ifndef AOTBUILD_TESTS_MODELS_VALUES_HPP_
#define AOTBUILD_TESTS_MODELS_VALUES_HPP_

#include <vector>

template <typename Tensor>
std::vector<float> values(const Tensor& tensor) {
  const auto view = tensor.view();
  return {view.data(), view.data() + view.numel()};
}

#endif  // AOTBUILD_TESTS_MODELS_VALUES_HPP_
