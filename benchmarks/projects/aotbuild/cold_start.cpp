// From process start to the first embedding with the library of this project: cold_start <tokens>
#include "cold_start.hpp"

#include "minilm.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " <tokens>\n";
    return 2;
  }
  const cold_start::Tokens tokens = cold_start::read_tokens(argv[1]);
  const Minilm encoder;
  const Minilm::Outputs outputs = encoder.run({
      {tokens.ids.data(), {cold_start::kBatch, cold_start::kLength}},
      {tokens.mask.data(), {cold_start::kBatch, cold_start::kLength}},
  });
  cold_start::answer(outputs.output.data(), static_cast<std::size_t>(outputs.output.numel()));
}
