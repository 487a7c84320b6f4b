#include "kernels/amx_kernels.hpp"

#include <algorithm>
#include <cstdint>

#include "kernels/packing.hpp"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>

#include "aotbuild/detail/runtime.hpp"
#include "base/system.hpp"
#include "kernels/intrinsics.hpp"
#endif

namespace aotbuild::detail {

#if defined(__x86_64__) && defined(__linux__)

namespace {

constexpr std::int64_t kTileRows = 16;
constexpr std::int64_t kTileWords = 16;  // of a row: terms in pairs, or columns
constexpr std::int64_t kWordBytes = 4;

// Of the input's rows, which stay in the second cache while the weights pass.
constexpr std::int64_t kBlockWords = 200 << 10;

// What the instruction LDTILECFG reads (Intel's manual, volume 1, chapter 18).
struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

// Tiles 0 to 3 are sums, 0 and 1 of the upper rows; 4 and 5 are the rows of the input, 6 and 7 the weights.
TileConfiguration configuration_of(std::int64_t upper, std::int64_t lower) {
  TileConfiguration result;
  for (int tile = 0; tile < 8; ++tile) {
    result.row_bytes[tile] = kTileWords * kWordBytes;
    result.rows[tile] = kTileRows;
  }
  for (const int tile : {0, 1, 4}) result.rows[tile] = static_cast<std::uint8_t>(upper);
  for (const int tile : {2, 3, 5}) result.rows[tile] = static_cast<std::uint8_t>(std::max<std::int64_t>(1, lower));
  return result;
}

// 32 columns of up to 32 rows of sums, without the bias. `next`: what is read after the weights.
struct TileBlock {
  const char* input;
  std::int64_t input_stride;  // in bytes, as all of these
  const char* weights;
  std::int64_t steps;  // of kTileWords words
  const char* next;
  std::int64_t next_step;
  float* sums;
};

#define AOTBUILD_AMX __attribute__((target("amx-tile,amx-bf16,amx-int8,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))

constexpr std::int64_t kPanelBytes = kPanelColumns * kWordBytes;

// Adds the products of tiles. The instructions have the numbers of their tiles in them.
#define AOTBUILD_ADD_PRODUCTS(sums, input, weights) \
  if constexpr (kType == PanelType::kInt8) {        \
    _tile_dpbssd(sums, input, weights);             \
  } else {                                          \
    _tile_dpbf16ps(sums, input, weights);           \
  }

template <PanelType kType>
AOTBUILD_AMX void multiply_both(const TileBlock& block) {
  const char* upper = block.input;
  const char* lower = block.input + kTileRows * block.input_stride;
  const char* weights = block.weights;
  const char* next = block.next;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::int64_t step = 0; step < block.steps; ++step) {
    for (std::int64_t at = 0; at < block.next_step; at += 64) __builtin_prefetch(next + at, 0, 2);
    next += block.next_step;
    _tile_loadd(4, upper, block.input_stride);
    _tile_loadd(6, weights, kPanelBytes);
    _tile_loadd(7, weights + kPanelBytes / 2, kPanelBytes);
    _tile_loadd(5, lower, block.input_stride);
    AOTBUILD_ADD_PRODUCTS(0, 4, 6)
    AOTBUILD_ADD_PRODUCTS(1, 4, 7)
    AOTBUILD_ADD_PRODUCTS(2, 5, 6)
    AOTBUILD_ADD_PRODUCTS(3, 5, 7)
    upper += kTileWords * kWordBytes;
    lower += kTileWords * kWordBytes;
    weights += kTileWords * kPanelBytes;
  }
  _tile_stored(0, block.sums, kPanelBytes);
  _tile_stored(1, block.sums + kTileWords, kPanelBytes);
  _tile_stored(2, block.sums + kTileRows * kPanelColumns, kPanelBytes);
  _tile_stored(3, block.sums + kTileRows * kPanelColumns + kTileWords, kPanelBytes);
}

template <PanelType kType>
AOTBUILD_AMX void multiply_upper(const TileBlock& block) {
  const char* upper = block.input;
  const char* weights = block.weights;
  _tile_zero(0);
  _tile_zero(1);
  for (std::int64_t step = 0; step < block.steps; ++step) {
    _tile_loadd(4, upper, block.input_stride);
    _tile_loadd(6, weights, kPanelBytes);
    _tile_loadd(7, weights + kPanelBytes / 2, kPanelBytes);
    AOTBUILD_ADD_PRODUCTS(0, 4, 6)
    AOTBUILD_ADD_PRODUCTS(1, 4, 7)
    upper += kTileWords * kWordBytes;
    weights += kTileWords * kPanelBytes;
  }
  _tile_stored(0, block.sums, kPanelBytes);
  _tile_stored(1, block.sums + kTileWords, kPanelBytes);
}

#undef AOTBUILD_ADD_PRODUCTS

// Adds the bias to sums, and what the lower bound of ReLU leaves.
AOTBUILD_AMX void add_bias(const float* bias, std::int64_t rows, bool is_relu, float* sums) {
  const __m512 low = _mm512_set1_ps(is_relu ? 0.0F : -__builtin_inff());
  const __m512 first = _mm512_loadu_ps(bias);
  const __m512 second = _mm512_loadu_ps(bias + kTileWords);
  for (std::int64_t row = 0; row < rows; ++row, sums += kPanelColumns) {
    _mm512_store_ps(sums, _mm512_max_ps(low, _mm512_add_ps(_mm512_load_ps(sums), first)));
    _mm512_store_ps(sums + kTileWords, _mm512_max_ps(low, _mm512_add_ps(_mm512_load_ps(sums + kTileWords), second)));
  }
}

// The nearest bfloat16 of each, ties to even, in the lower halves: as BFloat16's constructor.
AOTBUILD_AMX __m256i narrowed(__m512 value) {
  const __m512i word = _mm512_castps_si512(value);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(word, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(word, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(
      _mm512_mask_blend_epi32(is_nan, _mm512_srli_epi32(rounded, 16), _mm512_set1_epi32(0x7fc0)));
}

__mmask32 mask_of_columns(std::int64_t columns) {
  return columns >= kPanelColumns ? ~__mmask32{0} : static_cast<__mmask32>((1ULL << columns) - 1U);
}

// Writes the columns that there are.
AOTBUILD_AMX void write_rows(const float* sums, std::int64_t rows, std::int64_t columns, std::uint16_t* output,
                             std::int64_t output_stride) {
  const __mmask32 mask = mask_of_columns(columns);
  for (std::int64_t row = 0; row < rows; ++row, sums += kPanelColumns, output += output_stride) {
    const __m512i low = _mm512_castsi256_si512(narrowed(_mm512_load_ps(sums)));
    const __m512i both = _mm512_inserti64x4(low, narrowed(_mm512_load_ps(sums + kTileWords)), 1);
    _mm512_mask_storeu_epi16(output, mask, both);
  }
}

// The same of sums as they are.
AOTBUILD_AMX void write_words(const float* sums, std::int64_t rows, std::int64_t columns, float* output,
                              std::int64_t output_stride) {
  const __mmask32 mask = mask_of_columns(columns);
  for (std::int64_t row = 0; row < rows; ++row, sums += kPanelColumns, output += output_stride) {
    _mm512_mask_storeu_ps(output, static_cast<__mmask16>(mask), _mm512_load_ps(sums));
    if (columns <= kTileWords) continue;
    _mm512_mask_storeu_ps(output + kTileWords, static_cast<__mmask16>(mask >> kTileWords),
                          _mm512_load_ps(sums + kTileWords));
  }
}

// Adds the bias to sums of integers.
AOTBUILD_AMX void add_integer_bias(const float* bias, std::int64_t rows, float* sums) {
  const __m512i first = _mm512_loadu_si512(bias);
  const __m512i second = _mm512_loadu_si512(bias + kTileWords);
  for (std::int64_t row = 0; row < rows; ++row, sums += kPanelColumns) {
    _mm512_store_si512(sums, _mm512_add_epi32(_mm512_load_si512(sums), first));
    _mm512_store_si512(sums + kTileWords, _mm512_add_epi32(_mm512_load_si512(sums + kTileWords), second));
  }
}

// What is left to do for a block's sums: bias, activation, and writing them.
template <PanelType kType>
AOTBUILD_AMX void finish_block(const PanelProduct& product, ActivationFunction activate, std::int64_t row,
                               std::int64_t rows, std::int64_t column, float* sums) {
  if constexpr (kType == PanelType::kInt8) {
    add_integer_bias(product.bias + column, rows, sums);
  } else {
    add_bias(product.bias + column, rows, product.activation == Activation::kRelu, sums);
    if (activate != nullptr) activate({sums, kPanelColumns, sums, kPanelColumns, rows, kPanelColumns, product.alpha});
  }
  const std::int64_t to = row * product.output_stride + column;
  if (product.rounds) {
    write_rows(sums, rows, product.columns - column, reinterpret_cast<std::uint16_t*>(product.output) + to,
               product.output_stride);
  } else {
    write_words(sums, rows, product.columns - column, product.output + to, product.output_stride);
  }
}

// `activate`: null for none, and for ReLU.
template <PanelType kType>
AOTBUILD_AMX void multiply_all(const PanelProduct& product, ActivationFunction activate) {
  alignas(64) float sums[2 * kTileRows * kPanelColumns];
  const std::int64_t steps = pieces(product.depth, kTileWords);
  const std::int64_t panels = pieces(product.columns, kPanelColumns);
  const std::int64_t whole = product.rows / (2 * kTileRows);
  const std::int64_t rest = product.rows % (2 * kTileRows);
  const std::int64_t blocks = whole + (rest > 0 ? 1 : 0);
  // A block asks for its share of the next panel; with one block the processor's own prefetching does better.
  const std::int64_t share = pieces(pieces(kTileWords * kPanelBytes, blocks), 64) * 64;
  const TileConfiguration full = configuration_of(kTileRows, kTileRows);
  const TileConfiguration last =
      configuration_of(std::min(rest, kTileRows), std::max<std::int64_t>(0, rest - kTileRows));
  if (whole > 0) _tile_loadconfig(&full);
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    const std::int64_t column = panel * kPanelColumns;
    const float* const weights = product.weights + panel * product.panel_stride;
    const char* const next =
        reinterpret_cast<const char*>(panel + 1 < panels ? weights + product.panel_stride : weights);
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t row = block * 2 * kTileRows;
      const std::int64_t rows = std::min(2 * kTileRows, product.rows - row);
      const TileBlock at{reinterpret_cast<const char*>(product.input + row * product.input_stride),
                         product.input_stride * kWordBytes,
                         reinterpret_cast<const char*>(weights),
                         steps,
                         next + block * share * steps,
                         blocks > 1 ? share : 0,
                         sums};
      const bool is_last = block == whole;
      if (is_last && (panel == 0 || whole > 0)) _tile_loadconfig(&last);
      if (rows > kTileRows) {
        multiply_both<kType>(at);
      } else {
        multiply_upper<kType>(at);
      }
      if (is_last && whole > 0) _tile_loadconfig(&full);
      finish_block<kType>(product, activate, row, rows, column, sums);
    }
  }
  _tile_release();
}

// Intel's manual, volume 2, "CPUID": AMX-BF16, AMX-TILE and AMX-INT8; XCR0 has the system's word for both parts of the
// state.
AOTBUILD_AMX bool has_amx() {
  unsigned int a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c >> 27 & 1U) == 0) return false;  // OSXSAVE
  unsigned int low = 0;
  unsigned int high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low >> 17 & 3U) != 3) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1U) != 0 && (d >> 24 & 3U) == 3;
}

}  // namespace

bool amx_is_allowed() noexcept {
  static const bool result = cpu_supports("avx512") && has_amx() && os::allows_tiles();
  return result;
}

namespace {

template <PanelType kType>
void multiply_blocks(const PanelProduct& product, ActivationFunction activate) {
  const std::int64_t most = std::max(2 * kTileRows, kBlockWords / product.depth);
  const std::int64_t blocks = pieces(product.rows, most);
  for (std::int64_t block = 0; block < blocks; ++block) {
    // In whole tiles, but for the last.
    const std::int64_t tiles = pieces(product.rows, 2 * kTileRows);
    const std::int64_t first = tiles * block / blocks * 2 * kTileRows;
    PanelProduct part = product;
    part.rows = std::min(product.rows, tiles * (block + 1) / blocks * 2 * kTileRows) - first;
    part.input += first * product.input_stride;
    const std::int64_t number_bytes = product.rounds ? 2 : 4;  // of the output
    part.output = reinterpret_cast<float*>(reinterpret_cast<char*>(product.output) +
                                           first * product.output_stride * number_bytes);
    multiply_all<kType>(part, activate);
  }
}

}  // namespace

void multiply_bf16_by_amx(const PanelProduct& product) {
  const bool is_left = product.activation != Activation::kNone && product.activation != Activation::kRelu;
  multiply_blocks<PanelType::kBFloat16>(
      product, is_left ? panel_kernels().activate[static_cast<int>(product.activation)] : nullptr);
}

void multiply_int8_by_amx(const PanelProduct& product) { multiply_blocks<PanelType::kInt8>(product, nullptr); }

#else

bool amx_is_allowed() noexcept { return false; }
void multiply_bf16_by_amx(const PanelProduct&) {}
void multiply_int8_by_amx(const PanelProduct&) {}

#endif

}  // namespace aotbuild::detail
