#include <array>
#include <cstdio>

#include "scorer.hpp"

int main() {
  const Scorer scorer;
  const std::array<float, 8> features = {1, 2, 3, 4, 5, 6, 7, 8};
  const auto outputs = scorer.run({{features.data(), {1, 8}}});
  std::printf("score: %.4f\n", outputs.output(0));
}
