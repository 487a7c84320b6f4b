// A file's bytes as weights: for a new model and for one that is in use. A file is taken or refused with a message; a
// model whose file is refused goes on with the weights that it had.
#include <random>

#include "fuzz_model.hpp"

using namespace aotbuild::fuzz;

#ifdef AOTBUILD_FUZZER
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

// Mostly the length before the header is made to fit it: few other files get past the first check.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
  constexpr std::size_t kLength = 8;  // of the number before the header
  size = LLVMFuzzerMutate(data, size, most);
  std::minstd_rand random(seed);
  if (size <= kLength || random() % 8 == 0) return size;
  const std::uint8_t* const begin = data + kLength;
  const std::uint8_t* last = nullptr;
  for (const std::uint8_t* at = begin; at != data + size; ++at) last = *at == '}' ? at : last;
  if (last == nullptr) return size;
  const auto length = static_cast<std::uint64_t>(last + 1 - begin);
  for (std::size_t i = 0; i < kLength; ++i) data[i] = static_cast<std::uint8_t>(length >> (8 * i));
  return size;
}
#endif

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ModelBuilder builder = make_builder();
  static const aotbuild::detail::ModelSpec& spec = builder.spec();
  static Model used(spec);
  static std::vector<float> before = outputs_of(used.handle);
  const File file(data, size);
  aotbuild_options options = default_options();
  options.weights_file = file.path().c_str();
  const Model made(spec, options);
  require(made.status == AOTBUILD_OK || made.status == AOTBUILD_INVALID_WEIGHTS, "a file is taken or refused");
  if (made.status != AOTBUILD_OK) {
    require(made.handle == nullptr, "no model of a refused file");
    require(std::strstr(aotbuild_last_error(), file.path().c_str()) != nullptr, "the message names the file");
  }
  require(aotbuild_model_load_weights(used.handle, file.path().c_str()) == made.status, "both ways to load agree");
  const std::vector<float> after = outputs_of(used.handle);
  if (made.status == AOTBUILD_OK) {
    require(same(outputs_of(made.handle), after), "the same weights give the same outputs");
    before = after;
  } else {
    require(same(after, before), "a model goes on with the weights that it had");
  }
  return 0;
}
