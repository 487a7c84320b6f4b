#include <iostream>
#include <vector>

#include "classifier.hpp"

int main() {
  const Classifier classifier;
  const std::vector<float> features(2 * 4, 1.0F);
  const auto outputs = classifier.run({{features.data(), {2, 4}}});
  std::cout << outputs.output(0, 0) << '\n';
}
