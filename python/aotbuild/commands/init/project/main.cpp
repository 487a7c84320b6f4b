#include <iostream>
#include <vector>

#include "classifier.hpp"

int main() {
  const Classifier classifier;
  const std::vector<float> features = {5.1F, 3.5F, 1.4F, 0.2F, 6.7F, 3.0F, 5.2F, 2.3F};
  const auto outputs = classifier.run({{features.data(), {2, 4}}});
  for (int row = 0; row < 2; ++row) {
    for (int column = 0; column < 3; ++column) {
      std::cout << outputs.probabilities(row, column) << (column < 2 ? ' ' : '\n');
    }
  }
}
