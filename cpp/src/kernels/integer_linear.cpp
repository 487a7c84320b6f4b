#include "kernels/integer_linear.hpp"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/packing.hpp"
#include "kernels/panel_kernels.hpp"

namespace aotbuild::detail {

namespace {

constexpr std::int64_t kBytesOfWord = 4;

// Words of one thread's rows that are made at a time: they stay in its caches.
constexpr std::int64_t kIntegerWords = 1 << 19;
constexpr std::int64_t kLeastIntegerRows = 16;

// Words that a thread is woken to make.
constexpr std::int64_t kIntegerShare = 1 << 15;

const PanelMultiplication& int8_multiplication() { return panel_kernels(PanelType::kInt8).of(PanelType::kInt8); }

// The bytes of a row in words; what the last one lacks is zero.
template <typename Write>
void each_word(const std::int8_t* from, std::int64_t count, const Write& write) {
  const std::int64_t whole = count / kBytesOfWord;
  for (std::int64_t i = 0; i < whole; ++i) {
    std::uint32_t word;
    std::memcpy(&word, from + i * kBytesOfWord, sizeof word);
    write(i, word);
  }
  if (count % kBytesOfWord == 0) return;
  std::uint32_t word = 0;
  std::memcpy(&word, from + whole * kBytesOfWord, static_cast<std::size_t>(count % kBytesOfWord));
  write(whole, word);
}

// Two numbers of 16 bits in a word.
std::uint32_t pair_of(std::int8_t first, std::int8_t second) {
  return static_cast<std::uint16_t>(first) | static_cast<std::uint32_t>(static_cast<std::uint16_t>(second)) << 16;
}

// A row as PanelMultiplication::words and offset say, and zeros up to `words`.
void copy_row(const PanelMultiplication& how, const std::int8_t* from, std::int64_t count, std::int64_t words,
              std::uint32_t* to) {
  const std::int64_t made = pieces(count, kBytesOfWord) * how.words;
  if (how.words == 2) {
    each_word(from, count, [&](std::int64_t i, std::uint32_t word) {
      const auto byte = [word](int place) { return static_cast<std::int8_t>(word >> 8 * place & 0xffU); };
      to[2 * i] = pair_of(byte(0), byte(2));
      to[2 * i + 1] = pair_of(byte(1), byte(3));
    });
  } else {
    const std::uint32_t sign = how.offset != 0 ? 0x80808080U : 0;
    each_word(from, count, [&](std::int64_t i, std::uint32_t word) { to[i] = word ^ sign; });
  }
  std::fill(to + made, to + words, 0U);
}

}  // namespace

IntegerLinear::IntegerLinear(const std::int8_t* weight, std::int64_t in_features, std::int64_t out_features,
                             Arena& arena)
    : in_features_(in_features) {
  const std::int64_t depth = pieces(in_features, kBytesOfWord);
  const std::int64_t values = packed_values(depth, out_features);
  const std::int64_t panel_values = packed_values(depth, kPanelColumns);
  const std::int64_t padded = pieces(out_features, kPanelColumns) * kPanelColumns;
  auto* const words = reinterpret_cast<std::uint32_t*>(
      arena.allocate(static_cast<std::size_t>(values + padded) * sizeof(std::uint32_t)));
  std::uint32_t* const bias = words + values;
  std::fill(words, bias + padded, 0U);
  const auto offset = static_cast<std::uint32_t>(int8_multiplication().offset);
#pragma omp parallel for if (values > kIntegerShare)
  for (std::int64_t column = 0; column < out_features; ++column) {
    const std::int8_t* const from = weight + column * in_features;
    std::uint32_t* const to = words + column / kPanelColumns * panel_values + column % kPanelColumns;
    each_word(from, in_features, [&](std::int64_t i, std::uint32_t word) { to[i * kPanelColumns] = word; });
    // What the offset of the input adds to a sum.
    std::uint32_t sum = 0;
    for (std::int64_t i = 0; i < in_features; ++i) sum += static_cast<std::uint32_t>(from[i]);
    bias[column] = 0U - offset * sum;
  }
  panels_ = {reinterpret_cast<const float*>(words), reinterpret_cast<const float*>(bias), depth, out_features,
             PanelType::kInt8};
}

void IntegerLinear::run(Workspace& workspace, const std::int8_t* input, std::int64_t rows, std::int32_t* output) const {
  const PanelMultiplication& how = int8_multiplication();
  const std::int64_t columns = panels_.columns;
  if (panels_.depth == 0) return std::fill(output, output + rows * columns, 0);
  const std::int64_t words = pieces(panels_.depth, kPanelRows) * kPanelRows * how.words;
  const auto rows_at = [](const void* data, std::int64_t stride, std::int64_t count) {
    return Rows{static_cast<float*>(const_cast<void*>(data)), stride, count};
  };
  // Rows are read where they lie, if they are whole words for tiles and do not share few sets of the cache.
  const bool is_like_weights = how.words == 1 && how.offset == 0 && in_features_ == kBytesOfWord * words;
  if (is_like_weights && (words % kEvilValues != 0 || rows == 1)) {
    return multiply_panels(workspace, rows_at(input, words, rows), panels_, Activation::kNone, 0,
                           rows_at(output, columns, rows));
  }
  const std::int64_t stride = row_stride(words);
  const std::int64_t most = std::max(kLeastIntegerRows, kIntegerWords * omp_get_max_threads() / stride);
  const std::int64_t blocks = pieces(rows, most);
  const ScratchBuffer buffer(workspace, static_cast<std::size_t>(pieces(rows, blocks) * stride) * sizeof(float));
  auto* const copied = static_cast<std::uint32_t*>(buffer.data());
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t first = rows * block / blocks;
    const std::int64_t count = rows * (block + 1) / blocks - first;
#pragma omp parallel for if (count * words > kIntegerShare)
    for (std::int64_t row = 0; row < count; ++row) {
      copy_row(how, input + (first + row) * in_features_, in_features_, words, copied + row * stride);
    }
    multiply_panels(workspace, rows_at(copied, stride, count), panels_, Activation::kNone, 0,
                    rows_at(output + first * columns, columns, count));
  }
}

}  // namespace aotbuild::detail
