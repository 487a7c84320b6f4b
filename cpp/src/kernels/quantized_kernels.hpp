// Loops over quantized numbers, for the instruction set of this machine.
#ifndef AOTBUILD_SRC_KERNELS_QUANTIZED_KERNELS_HPP_
#define AOTBUILD_SRC_KERNELS_QUANTIZED_KERNELS_HPP_

#include <cstdint>

namespace aotbuild::detail {

// Rows of `values` of multiply().
constexpr std::int64_t kTileColumns = 4;
// Values of one vector of the widest instruction set: `depth` of multiply() is a multiple.
constexpr std::int64_t kTileVector = 16;
// The most rows of an input that multiply() takes.
constexpr std::int64_t kMaxTileRows = 6;

struct QuantizedKernels {
  // values[i] = (quantized[i] - zero) * scale, for 8 and for 4 bits; of the latter `count` is a multiple of 32, in the
  // order of WeightSpec::four_bits.
  void (*dequantize8)(const std::int8_t* quantized, std::int32_t zero, float scale, std::int64_t count, float* values);
  void (*dequantize4)(const std::uint8_t* quantized, std::int32_t zero, float scale, std::int64_t count, float* values);
  // sums[r][c] = input[r] . values[c] over `depth` numbers; so far apart are the rows of each.
  using Multiply = void (*)(const float* input, std::int64_t input_stride, const float* values,
                            std::int64_t values_stride, std::int64_t depth, float (*sums)[kTileColumns]);
  Multiply multiply[kMaxTileRows];  // by the number of rows less one
  std::int64_t tile_rows;           // that many rows at a time are fastest
};

// The best that this machine runs.
const QuantizedKernels& quantized_kernels() noexcept;
// For "avx512" or "avx2", null where this machine does not run it; those for a null `isa` run everywhere.
const QuantizedKernels* quantized_kernels_for(const char* isa) noexcept;

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_QUANTIZED_KERNELS_HPP_
