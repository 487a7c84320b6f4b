// A file's bytes as the golden file of a generated test: its tensors are read whole, or the test ends with a message
// that names the file.
#include <numeric>

#include "aotbuild/testing.hpp"
#include "promises.hpp"

namespace {

using namespace aotbuild::fuzz;
using namespace aotbuild::testing;

constexpr aotbuild_dtype kFloat = {AOTBUILD_FLOAT, 32, 1};
constexpr std::int64_t kShape[] = {2, 3};
constexpr aotbuild_weight_info kWeight = {sizeof kWeight, 2, "w", kShape, kFloat};
const aotbuild_weight_info* const kWeights[] = {&kWeight};

// Reads every byte, as a comparison does.
template <typename View>
double sum_of(const View& view) {
  double sum = 0;
  for (std::int64_t i = 0; i < view.numel(); ++i) sum += static_cast<double>(view.data()[i]);
  return sum;
}

double sum_of(const aotbuild_tensor& tensor) {
  std::size_t count = tensor.dtype.bits / 8;
  for (std::int32_t d = 0; d < tensor.ndim; ++d) count *= static_cast<std::size_t>(tensor.shape[d]);
  return std::accumulate(static_cast<const unsigned char*>(tensor.data),
                         static_cast<const unsigned char*>(tensor.data) + count, 0.0);
}

template <typename Read>
bool attempt(const std::string& path, const Read& read) {
  try {
    read();
    return true;
  } catch (const std::exception& error) {
    require(std::strstr(error.what(), path.c_str()) != nullptr,
            std::string("the message names the file: ") + error.what());
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  aotbuild_model_info info{};
  info.weight_count = 1;
  info.weights = kWeights;
  const File file(data, size);
  const std::string& path = file.path();
  attempt(path, [&] {
    const GoldenFile golden(path);
    attempt(path, [&] { sum_of(golden.get<const float, 2>("x")); });
    attempt(path, [&] { golden.tolerance("y"); });
    attempt(path, [&] { golden.rounded_error("y", "bfloat16"); });
    attempt(path, [&] { sum_of(golden.get("x", kFloat).c_tensor()); });
    attempt(path, [&] {
      const auto y = golden.get<const float, 2>("y");
      compare<float, 2>(copy_of(y).view(), y, 1e-5, 1e-5);
    });
    attempt(path, [&] {
      for (const auto& [name, tensor] : golden.weights(info)) sum_of(tensor.c_tensor());
    });
  });
  return 0;
}
