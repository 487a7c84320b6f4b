// Normalises 4096 rows of 1024 numbers on the GPU and compares one with the host's own calculation.
#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "rms_norm.hpp"

namespace {

constexpr int kRows = 4096;
constexpr int kColumns = 1024;
constexpr float kEpsilon = 1e-6F;

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

aotbuild::float16* allocate(std::size_t count) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, count * sizeof(aotbuild::float16)));
  return static_cast<aotbuild::float16*>(memory);
}

}  // namespace

int main() try {
  const RmsNorm rms_norm;
  std::vector<aotbuild::float16> x(std::size_t{kRows} * kColumns);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = aotbuild::float16(static_cast<float>(i % 37) / 8 - 2);
  const std::vector<aotbuild::float16> weight(kColumns, aotbuild::float16(0.5F));

  cudaStream_t stream = nullptr;
  check(cudaStreamCreate(&stream));
  const auto x_device = allocate(x.size());
  const auto weight_device = allocate(weight.size());
  const auto out_device = allocate(x.size());
  check(cudaMemcpyAsync(x_device, x.data(), 2 * x.size(), cudaMemcpyHostToDevice, stream));
  check(cudaMemcpyAsync(weight_device, weight.data(), 2 * weight.size(), cudaMemcpyHostToDevice, stream));
  rms_norm.launch({x_device, weight_device, out_device, kRows, kColumns, kEpsilon}, stream);
  std::vector<aotbuild::float16> out(x.size());
  check(cudaMemcpyAsync(out.data(), out_device, 2 * out.size(), cudaMemcpyDeviceToHost, stream));
  check(cudaStreamSynchronize(stream));

  const std::size_t last = std::size_t{kRows - 1} * kColumns;
  double squares = 0;
  for (int i = 0; i < kColumns; ++i) squares += std::pow(static_cast<double>(static_cast<float>(x[last + i])), 2);
  const double scale = 0.5 / std::sqrt(squares / kColumns + static_cast<double>(kEpsilon));
  double error = 0;
  for (int i = 0; i < kColumns; ++i) {
    const double expected = scale * static_cast<double>(static_cast<float>(x[last + i]));
    error = std::max(error, std::abs(expected - static_cast<double>(static_cast<float>(out[last + i]))));
  }
  std::printf("largest difference in the last row: %.2g\n", error);
  for (aotbuild::float16* memory : {x_device, weight_device, out_device}) check(cudaFree(memory));
  check(cudaStreamDestroy(stream));
  return error < 1e-3 ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
