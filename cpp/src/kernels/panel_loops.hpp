// The loops of products over weights in panels, and activations (panel_kernels.hpp). Included by each_isa.hpp.

#include "kernels/vector_math.hpp"

constexpr std::int64_t kWidth = kLanes<float>;
constexpr std::int64_t kPanelVectors = kPanelColumns / kWidth;

// Tiles are rows x vectors of sums, which fill the registers: many rows take kWide vectors at a time, few take twice as
// many, for as many sums as an addition takes cycles, and one row takes kRowVectors, for as many streams of weights.
constexpr int kWide = kBytes == 16 && kSums > 12 ? 4 : 2;
constexpr int kWiderSums = kSums > 12 ? kSums - 4 : kSums;  // four vectors of weights need registers as well
constexpr int kMaxRows = (kWide > 2 ? kWiderSums : kSums) / kWide;
constexpr int kFewRows = kWiderSums / (2 * kWide);
constexpr int kRowVectors = kSums > 12 ? 16 : 8;

struct Tile {
  const float* input;
  std::int64_t input_stride;
  std::int64_t input_half;  // from the first row to the first of the second half, which is no longer than the first
  const float* weights;
  std::int64_t panel_stride;
  std::int64_t depth;
  std::int64_t runs;        // of `depth` terms each
  std::int64_t input_step;  // from the end of a run to the next one
  std::int64_t weights_step;
  const float* before;  // what the sums are added to
  std::int64_t before_stride;
  std::int64_t before_half;
  float* output;
  std::int64_t output_stride;
  std::int64_t output_half;
  float low;         // what is less becomes this
  const char* next;  // what is read after this: a cache line of it is asked for with each term
  std::int64_t next_step;
};

struct Sums {
  float* data;
  std::int64_t stride;
};

// Rows of the first half of a tile.
template <int kRows>
constexpr int kHalf = (kRows + 1) / 2;

template <typename Terms, int kVectors, int kRows>
AOTBUILD_INLINE void store_tile(const Tile& tile, const Floats (&sums)[kRows][kVectors]) {
  const Floats low = every(tile.low);
  const float* before = tile.before;
  const std::int64_t before_stride = tile.before_stride;
  float* output = tile.output;
  const std::int64_t output_stride = tile.output_stride;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    if (r == kHalf<kRows>) {
      before = tile.before + tile.before_half;
      output = tile.output + tile.output_half;
    }
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      store(output + v * kWidth, Terms::total(load(before + v * kWidth), sums[r][v], low));
    }
    before += before_stride;
    output += output_stride;
  }
}

// A word of any kind: an operation on floats may change its bits.
AOTBUILD_INLINE Floats every_word(const float* word) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, word, sizeof bits);
  return reinterpret_cast<Floats>(bits - Words{});
}

// The sums of floating-point numbers.
struct FloatSums {
  static AOTBUILD_INLINE Floats number(const float* word) { return every(*word); }
  static AOTBUILD_INLINE Floats total(Floats before, Floats sum, Floats low) { return at_least(low, before + sum); }
};

// What a word of the weights is, and how many words of the input it meets.
struct Float32Terms : FloatSums {
  static constexpr int kNumbers = 1;
  static AOTBUILD_INLINE Floats value(Floats word, int) { return word; }
  static AOTBUILD_INLINE Floats multiply(Floats number, Floats value, Floats sum) {
    return multiply_add(number, value, sum);
  }
};

// Two of bfloat16, which are float32 without its lower half; so are the products, and the input is float32.
struct WidenedTerms : FloatSums {
  static constexpr int kNumbers = 2;
  static AOTBUILD_INLINE Floats value(Floats word, int which) {
    const auto bits = reinterpret_cast<Words>(word);
    return reinterpret_cast<Floats>(which == 0 ? bits << 16 : bits & 0xffff0000U);
  }
  static AOTBUILD_INLINE Floats multiply(Floats number, Floats value, Floats sum) {
    return multiply_add(number, value, sum);
  }
};

// Two of bfloat16, and so is what a word of the input has: an instruction adds both products to a sum.
struct PairedTerms : FloatSums {
  static constexpr int kNumbers = 1;
  static AOTBUILD_INLINE Floats number(const float* word) { return every_word(word); }
  static AOTBUILD_INLINE Floats value(Floats word, int) { return word; }
  // A template, as few instruction sets have it.
  template <typename Vector>
  static AOTBUILD_INLINE Vector multiply(Vector number, Vector value, Vector sum) {
    return multiply_pairs(number, value, sum);
  }
};

// The sums of integers, which wrap around; vectors of floats hold their bits.
struct IntegerSums {
  static AOTBUILD_INLINE Floats number(const float* word) { return every_word(word); }
  static AOTBUILD_INLINE Floats total(Floats before, Floats sum, Floats) {
    return reinterpret_cast<Floats>(reinterpret_cast<Words>(before) + reinterpret_cast<Words>(sum));
  }
};

// The sum of the products of both numbers of 16 bits in each word: for instruction sets that have none of their own.
template <typename Vector>
AOTBUILD_INLINE Vector multiply_shorts(Vector a, Vector b) {
  const auto first = (reinterpret_cast<Integers>(a) << 16 >> 16) * (reinterpret_cast<Integers>(b) << 16 >> 16);
  const auto second = (reinterpret_cast<Integers>(a) >> 16) * (reinterpret_cast<Integers>(b) >> 16);
  return reinterpret_cast<Vector>(first + second);
}

// Four of int8, widened to 16 bits: the first and the third, and the others.
struct WidenedBytes : IntegerSums {
  static constexpr int kNumbers = 2;
  static AOTBUILD_INLINE Floats value(Floats word, int which) {
    const auto shorts = reinterpret_cast<Shorts>(word);
    return reinterpret_cast<Floats>(which == 0 ? shorts << 8 >> 8 : shorts >> 8);
  }
  static AOTBUILD_INLINE Floats multiply(Floats number, Floats value, Floats sum) {
    const auto products = reinterpret_cast<Words>(multiply_shorts(number, value));
    return reinterpret_cast<Floats>(reinterpret_cast<Words>(sum) + products);
  }
};

// Four of int8, and so is what a word of the input has: an instruction adds the products to a sum.
struct FourBytes : IntegerSums {
  static constexpr int kNumbers = 1;
  static AOTBUILD_INLINE Floats value(Floats word, int) { return word; }
  // Templates, as few instruction sets have it.
  template <typename Vector>
  static AOTBUILD_INLINE Vector multiply(Vector number, Vector value, Vector sum) {
    return multiply_bytes(number, value, sum);
  }
};

// Adds one term to every sum of a tile: `number_of(r)` times half `which` of the weights. What there is less of is kept
// in registers, the other passes.
template <typename Terms, int kVectors, int kRows, typename NumberOf>
AOTBUILD_INLINE void add_term(const NumberOf& number_of, const float* weights, int which, std::int64_t panel_stride,
                              Floats (&sums)[kRows][kVectors]) {
  const auto value_of = [&](int v) __attribute__((always_inline)) {
    return Terms::value(load(weights + v / kPanelVectors * panel_stride + v % kPanelVectors * kWidth), which);
  };
  if constexpr (kRows < kVectors) {
    Floats numbers[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) numbers[r] = number_of(r);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const Floats value = value_of(v);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sums[r][v] = Terms::multiply(numbers[r], value, sums[r][v]);
    }
  } else {
    Floats values[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) values[v] = value_of(v);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Floats number = number_of(r);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) sums[r][v] = Terms::multiply(number, values[v], sums[r][v]);
    }
  }
}

// Asks for a line of memory.
AOTBUILD_INLINE void ask_for(const char* line) {
  if constexpr (kAskingReads) {
    static_cast<void>(*static_cast<const volatile char*>(line));
  } else {
    __builtin_prefetch(line, 0, 2);
  }
}

template <typename Terms, int kVectors, int kRows>
__attribute__((noinline)) void multiply_tile(const Tile& tile) noexcept {
  constexpr bool kAsks = kVectors == kWide && kRows > kFewRows;
  const std::int64_t stride = tile.input_stride;
  const char* next = tile.next;
  const float* weights = tile.weights;
  // Four rows have one pointer: an address is a pointer and one, two or three strides. No array of pointers: GCC 12
  // takes a loop over it for a reason to unroll the one around it 16 times.
  const float* first = tile.input;
  const float* first4 = first + 4 * stride;
  const float* second = first + tile.input_half;
  const float* second4 = second + 4 * stride;
  const auto number_of = [&](int r) __attribute__((always_inline)) {
    const int q = r < kHalf<kRows> ? r : r - kHalf<kRows>;
    const float* const rows = r < kHalf<kRows> ? (q < 4 ? first : first4) : (q < 4 ? second : second4);
    return Terms::number(rows + q % 4 * stride);
  };
  Floats sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) sums[r][v] = Floats{};
  }
  for (std::int64_t run = 0; run < tile.runs; ++run) {
    const float* const end = first + tile.depth * Terms::kNumbers;
    while (first < end) {
      if constexpr (kAsks) {
        ask_for(next);
        next += tile.next_step;
      }
#pragma GCC unroll 2
      for (int which = 0; which < Terms::kNumbers; ++which) {
        add_term<Terms, kVectors, kRows>(number_of, weights, which, tile.panel_stride, sums);
        ++first;
        ++first4;
        ++second;
        ++second4;
      }
      weights += kPanelColumns;
    }
    first += tile.input_step;
    first4 += tile.input_step;
    second += tile.input_step;
    second4 += tile.input_step;
    weights += tile.weights_step;
  }
  store_tile<Terms, kVectors, kRows>(tile, sums);
}

using TileFunction = void (*)(const Tile&) noexcept;

// Those of kVectors, by their rows less one.
template <typename Terms, int kVectors, typename Rows>
struct Tiles;
template <typename Terms, int kVectors, int... kLess>
struct Tiles<Terms, kVectors, std::integer_sequence<int, kLess...>> {
  static constexpr TileFunction kAll[] = {multiply_tile<Terms, kVectors, kLess + 1>...};
};
template <int kVectors>
constexpr int kMostRows = kVectors > 2 * kWide ? 1 : (kVectors > kWide ? kFewRows : kMaxRows);
template <typename Terms, int kVectors>
using TilesOf = Tiles<Terms, kVectors, std::make_integer_sequence<int, kMostRows<kVectors>>>;

// Activations. NaN stays in all of them.
template <Activation kActivation>
AOTBUILD_INLINE Floats activated(Floats x, float alpha) {
  if constexpr (kActivation == Activation::kRelu) {
    return x < 0.0F ? Floats{} : x;
  } else if constexpr (kActivation == Activation::kLeakyRelu) {
    return x > 0.0F ? x : x * alpha;
  } else if constexpr (kActivation == Activation::kHardswish) {
    const Floats shifted = x + 3.0F;
    const Floats low = shifted < 0.0F ? Floats{} : shifted;
    return x * (low > 6.0F ? every(6.0F) : low) / 6.0F;
  } else if constexpr (kActivation == Activation::kGelu) {
    return gelu(x);
  } else if constexpr (kActivation == Activation::kGeluTanh) {
    // x sigmoid(2u), which is x (1 + tanh(u)) / 2
    const Floats cube = x * x * x;
    return x / below_sigmoid(1.5957691F * multiply_add(cube, every(0.044715F), x));
  } else if constexpr (kActivation == Activation::kSilu) {
    return x / below_sigmoid(x);
  } else if constexpr (kActivation == Activation::kTanh) {
    const Quotient<Floats> made = hyperbolic_tangent(x);
    return made.above / made.below;
  } else {
    return x;
  }
}

template <Activation kActivation>
__attribute__((noinline)) void activate(const ActivatedRows& rows) noexcept {
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    const float* from = rows.from + row * rows.from_stride;
    float* to = rows.to + row * rows.to_stride;
    std::int64_t left = rows.columns;
    for (; left >= kWidth; left -= kWidth, from += kWidth, to += kWidth) {
      store(to, activated<kActivation>(load(from), rows.alpha));
    }
    if (left > 0) store_part(to, activated<kActivation>(load_part(from, left), rows.alpha), left);
  }
}

constexpr ActivationFunction kActivate[] = {activate<Activation::kNone>,      activate<Activation::kRelu>,
                                            activate<Activation::kGelu>,      activate<Activation::kGeluTanh>,
                                            activate<Activation::kSilu>,      activate<Activation::kTanh>,
                                            activate<Activation::kHardswish>, activate<Activation::kLeakyRelu>};

// Those of the columns from `vector` on, from term `k` on.
AOTBUILD_INLINE const float* weights_of(const PanelProduct& product, std::int64_t vector, std::int64_t k) {
  return product.weights + vector / kPanelVectors * product.panel_stride + vector % kPanelVectors * kWidth +
         k * kPanelColumns;
}

// The least value that the last terms of a sum leave.
AOTBUILD_INLINE float low_of(Activation activation, bool is_last) {
  return is_last && activation == Activation::kRelu ? 0.0F : -__builtin_inff();
}

// Adds `terms` words of the weights from `k` on to a tile of sums; the first are added to the bias. `next`: what is
// read after this.
template <typename Terms, int kVectors>
AOTBUILD_INLINE void add_terms(const PanelProduct& product, std::int64_t row, std::int64_t rows, std::int64_t vector,
                               std::int64_t k, std::int64_t terms, const Sums& sums, const char* next,
                               std::int64_t next_step) {
  const std::int64_t skipped = k - first_term(product.depth, product.begin, product.terms);
  const float* const input = product.input + row * product.input_stride + skipped * Terms::kNumbers;
  const std::int64_t half = (rows + 1) / 2;
  const float* const before = k == 0 ? product.bias + vector * kWidth : sums.data;
  const std::int64_t before_stride = k == 0 ? 0 : sums.stride;
  TilesOf<Terms, kVectors>::kAll[rows - 1](
      {input, product.input_stride, half * product.input_stride, weights_of(product, vector, k), product.panel_stride,
       terms, 1, 0, 0, before, before_stride, half * before_stride, sums.data, sums.stride, half * sums.stride,
       low_of(product.activation, k + terms == product.depth), next, next_step});
}

// Activations that a tile has no bound for.
AOTBUILD_INLINE bool is_left(Activation activation) {
  return activation != Activation::kNone && activation != Activation::kRelu;
}

// Writes a tile of sums, or the part of it that is in the output.
AOTBUILD_INLINE void write_sums(const PanelProduct& product, std::int64_t row, std::int64_t rows, std::int64_t column,
                                std::int64_t columns, const Sums& sums) {
  float* const output = product.output + row * product.output_stride + column;
  if (sums.data == output && !is_left(product.activation)) return;
  const std::int64_t left = product.columns - column;
  kActivate[static_cast<int>(product.activation)](
      {sums.data, sums.stride, output, product.output_stride, rows, left < columns ? left : columns, product.alpha});
}

// All terms of few rows, vectors [vector, end).
template <typename Terms, int kVectors>
void multiply_few(const PanelProduct& product, std::int64_t vector, std::int64_t end) {
  constexpr std::int64_t kColumns = kVectors * kWidth;
  alignas(kBytes) float buffer[kSums * kWidth];
  const auto* const here = reinterpret_cast<const char*>(product.weights);
  for (; vector < end; vector += kVectors) {
    const std::int64_t column = vector * kWidth;
    const bool is_direct = !is_left(product.activation) && product.columns - column >= kColumns;
    const Sums sums = is_direct ? Sums{product.output + column, product.output_stride} : Sums{buffer, kColumns};
    for (std::int64_t part = 0; part < product.end; ++part) {
      const std::int64_t k = first_term(product.depth, part, product.terms);
      const std::int64_t terms = first_term(product.depth, part + 1, product.terms) - k;
      add_terms<Terms, kVectors>(product, 0, product.rows, vector, k, terms, sums, here, 0);
    }
    write_sums(product, 0, product.rows, column, kColumns, sums);
  }
}

// What tiles ask for while some terms of vectors pass: from `next` on, so much with each term.
struct Asked {
  const char* next;
  std::int64_t step;
};

template <int kVectors>
AOTBUILD_INLINE Asked asked_by_tiles(const PanelProduct& product, std::int64_t vector, std::int64_t k,
                                     std::int64_t terms, bool is_last, std::int64_t tiles) {
  constexpr std::int64_t kLine = kPanelColumns * static_cast<std::int64_t>(sizeof(float));
  if constexpr (kAskingReads) {
    // Reads stay within the weights, and hold up what follows: each pass over a panel asks for a share of the next.
    constexpr std::int64_t kPasses = kPanelVectors / kVectors;
    const std::int64_t next = vector / kPanelVectors + 1;
    const bool asks = next * kPanelColumns < product.columns;
    const std::int64_t step = asks ? kLine / (kPasses * tiles) : 0;
    const float* const from = weights_of(product, asks ? next * kPanelVectors : vector, k);
    return {reinterpret_cast<const char*>(from) + vector % kPanelVectors / kVectors * tiles * step * terms, step};
  }
  const float* const after = weights_of(product, is_last ? vector + kVectors : vector,
                                        is_last ? first_term(product.depth, product.begin, product.terms) : k + terms);
  return {reinterpret_cast<const char*>(after), (kLine + tiles - 1) / tiles};
}

// All rows, kVectors from `vector` on, in tiles of about equal size, the sums in the output or beside it. Each part of
// the weights stays in the first cache while the rows pass, and they ask for their shares of the part after it.
template <typename Terms, int kVectors>
void multiply_columns(const PanelProduct& product, std::int64_t vector, const Sums& all) {
  const std::int64_t tiles = (product.rows + kMaxRows - 1) / kMaxRows;
  const std::int64_t rows = product.rows / tiles;
  const std::int64_t longer = product.rows % tiles;
  for (std::int64_t part = product.begin; part < product.end; ++part) {
    const std::int64_t k = first_term(product.depth, part, product.terms);
    const std::int64_t terms = first_term(product.depth, part + 1, product.terms) - k;
    Asked asked = asked_by_tiles<kVectors>(product, vector, k, terms, part + 1 == product.end, tiles);
    std::int64_t row = 0;
    for (std::int64_t tile = 0; tile < tiles; ++tile, asked.next += asked.step * terms) {
      const std::int64_t count = tile < longer ? rows + 1 : rows;
      const Sums sums{all.data + row * all.stride, all.stride};
      add_terms<Terms, kVectors>(product, row, count, vector, k, terms, sums, asked.next, asked.step);
      if (k + terms == product.depth) {
        write_sums(product, row, count, vector * kWidth, kVectors * kWidth, sums);
      }
      row += count;
    }
  }
}

template <typename Terms>
void multiply(const PanelProduct& product) {
  const std::int64_t vectors = (product.columns + kWidth - 1) / kWidth;
  if (product.rows <= kFewRows) {
    const std::int64_t first = product.rows == 1 ? vectors / kRowVectors * kRowVectors : 0;
    if (product.rows == 1) multiply_few<Terms, kRowVectors>(product, 0, first);
    // What two panels are one tile of may end with one.
    const std::int64_t held = (product.columns + kPanelColumns - 1) / kPanelColumns * kPanelVectors;
    const std::int64_t last = first + (held - first) / (2 * kWide) * 2 * kWide;
    multiply_few<Terms, 2 * kWide>(product, first, last < vectors ? last : vectors);
    return multiply_few<Terms, kWide>(product, last, vectors);
  }
  const std::int64_t whole = product.columns / (kWide * kWidth) * kWide;
  for (std::int64_t vector = 0; vector < whole; vector += kWide) {
    multiply_columns<Terms, kWide>(product, vector, {product.output + vector * kWidth, product.output_stride});
  }
  if (whole == vectors) return;
  const Sums beside{product.beside, kWide * kWidth};
  if (vectors - whole > kWide / 2) return multiply_columns<Terms, kWide>(product, whole, beside);
  const bool is_whole = product.columns - whole * kWidth == kWide / 2 * kWidth;
  const Sums direct{product.output + whole * kWidth, product.output_stride};
  multiply_columns<Terms, kWide / 2>(product, whole, is_whole ? direct : beside);
}

#include "kernels/window_loops.hpp"
// After the places.
#include "kernels/convolution_loops.hpp"
#include "kernels/depthwise_loops.hpp"
#include "kernels/winograd_loops.hpp"

template <typename Terms, int kOffset = 0>
constexpr PanelMultiplication kProductOf = {multiply<Terms>, Terms::kNumbers, false, kOffset};

constexpr PanelKernels kernels_with(const PanelMultiplication& bf16, const PanelMultiplication& int8) {
  return {kMaxRows,        kFewRows, {kProductOf<Float32Terms>, bf16, int8}, convolve, depthwise, winograd_input,
          winograd_output, kActivate};
}

constexpr PanelKernels kKernels = kernels_with(kProductOf<WidenedTerms>, kProductOf<WidenedBytes>);
