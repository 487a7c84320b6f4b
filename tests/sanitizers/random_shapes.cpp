// Calls one of the linked models with the inputs of a file, each in memory of exactly its size, and writes what comes.
//
// Usage: random_shapes MODEL CASES RESULTS [WEIGHTS]. CASES: for each call its inputs; RESULTS: for each call its
// status, the last error's length and text, and, with status 0, the outputs. A tensor is its rank, its sizes and its
// contiguous bytes; all numbers are int64. tests/models/random_shapes.py writes the one and reads the other.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "aotbuild/c_api.h"

// AOTBUILD_MODELS is X(first) X(second) ...
#define X(NAME) extern "C" const aotbuild_api* NAME##_api(void);
AOTBUILD_MODELS
#undef X

namespace {

const aotbuild_api* find(const std::string& name) {
#define X(NAME) \
  if (name == #NAME) return NAME##_api();
  AOTBUILD_MODELS
#undef X
  return nullptr;
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

std::size_t bytes_of(const aotbuild_tensor& tensor) {
  std::size_t bytes = tensor.dtype.bits / 8;
  for (std::int32_t d = 0; d < tensor.ndim; ++d) bytes *= static_cast<std::size_t>(tensor.shape[d]);
  return bytes;
}

std::int64_t read_number(std::istream& in) {
  std::int64_t value = 0;
  in.read(reinterpret_cast<char*>(&value), sizeof value);
  return value;
}

void write_number(std::ostream& out, std::int64_t value) {
  out.write(reinterpret_cast<const char*>(&value), sizeof value);
}

void write_tensor(std::ostream& out, const aotbuild_tensor& tensor) {
  write_number(out, tensor.ndim);
  for (std::int32_t d = 0; d < tensor.ndim; ++d) write_number(out, tensor.shape[d]);
  const std::size_t width = tensor.dtype.bits / 8;
  const std::size_t count = bytes_of(tensor) / width;
  std::vector<std::int64_t> index(static_cast<std::size_t>(tensor.ndim));
  for (std::size_t n = 0; n < count; ++n) {
    std::int64_t offset = 0;
    for (std::size_t d = 0; d < index.size(); ++d) offset += index[d] * tensor.strides[d];
    out.write(static_cast<const char*>(tensor.data) + static_cast<std::size_t>(offset) * width,
              static_cast<std::streamsize>(width));
    for (std::size_t d = index.size(); d-- > 0;) {
      if (++index[d] < tensor.shape[d]) break;
      index[d] = 0;
    }
  }
}

// The call's inputs; false at the end of the file.
bool call(const aotbuild_api& api, aotbuild_model* model, std::istream& in, std::ostream& out) {
  const aotbuild_method_info& info = *api.describe()->methods[0];
  std::vector<aotbuild_tensor> inputs(info.input_count);
  std::vector<std::vector<std::int64_t>> shapes(info.input_count);
  std::vector<std::unique_ptr<void, Free>> memory;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (in.peek() == std::istream::traits_type::eof()) return false;
    shapes[i].resize(static_cast<std::size_t>(read_number(in)));
    for (std::int64_t& size : shapes[i]) size = read_number(in);
    inputs[i].device = {AOTBUILD_CPU, 0};
    inputs[i].dtype = info.inputs[i]->dtype;
    inputs[i].ndim = static_cast<std::int32_t>(shapes[i].size());
    inputs[i].shape = shapes[i].data();
    const std::size_t bytes = bytes_of(inputs[i]);
    memory.emplace_back(std::malloc(bytes));
    in.read(static_cast<char*>(memory.back().get()), static_cast<std::streamsize>(bytes));
    inputs[i].data = memory.back().get();
  }
  std::vector<aotbuild_tensor> outputs(info.output_count);
  aotbuild_result* result = nullptr;
  const aotbuild_status status =
      api.run(model, 0, nullptr, inputs.data(), inputs.size(), outputs.data(), outputs.size(), &result);
  const std::string error = status == AOTBUILD_OK ? "" : api.last_error();
  write_number(out, status);
  write_number(out, static_cast<std::int64_t>(error.size()));
  out << error;
  if (status == AOTBUILD_OK) {
    for (const aotbuild_tensor& output : outputs) write_tensor(out, output);
  }
  if (result != nullptr) api.destroy_result(result);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const aotbuild_api* const api = argc == 4 || argc == 5 ? find(argv[1]) : nullptr;
  if (api == nullptr) {
    std::cerr << "usage: random_shapes MODEL CASES RESULTS [WEIGHTS]\n";
    return 2;
  }
  aotbuild_options options{};
  options.struct_size = sizeof options;
  options.weights_file = argc == 5 ? argv[4] : nullptr;
  aotbuild_model* model = nullptr;
  if (api->create(&options, &model) != AOTBUILD_OK) {
    std::cerr << api->last_error() << "\n";
    return 2;
  }
  std::ifstream in(argv[2], std::ios::binary);
  std::ofstream out(argv[3], std::ios::binary);
  while (call(*api, model, in, out)) out.flush();  // what came before a crash is known
  api->destroy(model);
  return 0;
}
