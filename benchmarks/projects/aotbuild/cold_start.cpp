// From process start to the first embedding with the library of this project: cold_start <tokens>
#include "cold_start.hpp"

#include MODEL_HEADER

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " <tokens>\n";
    return 2;
  }
  const cold_start::Tokens tokens = cold_start::read_tokens(argv[1]);
  const MODEL_CLASS encoder;
  const MODEL_CLASS::Outputs outputs = encoder.run({
      {tokens.ids.data(), {cold_start::kBatch, tokens.length()}},
      {tokens.mask.data(), {cold_start::kBatch, tokens.length()}},
  });
  cold_start::answer(outputs.output.data(), static_cast<std::size_t>(outputs.output.numel()));
}
