// A stream that comes in chunks of any length: its results are those of the whole, to the last bit.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <vector>

#include "detector.hpp"

namespace {

constexpr std::int64_t kBands = 40;
constexpr std::int64_t kHidden = 64;

// One stream. Many of them share one model; each has a state of its own.
class Stream {
 public:
  explicit Stream(const Detector& model) : model_(model), state_(kHidden, 0.0F) {}

  // The probabilities of so many steps of kBands features each.
  std::vector<float> push(const float* features, std::int64_t steps) {
    const auto outputs = model_.run({{features, {1, steps, kBands}}, {state_.data(), {1, 1, kHidden}}});
    std::copy_n(outputs.state.data(), kHidden, state_.begin());
    return {outputs.probabilities.data(), outputs.probabilities.data() + steps};
  }

 private:
  const Detector& model_;
  std::vector<float> state_;
};

// What a microphone and a filter bank would give.
std::vector<float> made_up_features(std::int64_t steps) {
  std::vector<float> features(static_cast<std::size_t>(steps * kBands));
  for (std::size_t i = 0; i < features.size(); ++i) features[i] = std::sin(0.37F * static_cast<float>(i));
  return features;
}

}  // namespace

int main() {
  constexpr std::int64_t kSteps = 100;
  const Detector model;
  const std::vector<float> features = made_up_features(kSteps);
  const std::vector<float> whole = Stream(model).push(features.data(), kSteps);

  Stream stream(model);
  std::vector<float> chunks;
  for (std::int64_t begin = 0, length = 1; begin < kSteps; begin += length, length = length % 7 + 2) {
    length = std::min(length, kSteps - begin);
    const std::vector<float> chunk = stream.push(features.data() + begin * kBands, length);
    chunks.insert(chunks.end(), chunk.begin(), chunk.end());
  }

  std::cout << "steps: " << chunks.size() << ", the last probability: " << chunks.back() << '\n'
            << "in chunks as in one: " << (chunks == whole ? "the same bits" : "different") << '\n';
  return chunks == whole ? 0 : 1;
}
