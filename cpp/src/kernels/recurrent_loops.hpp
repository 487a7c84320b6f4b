// The loops of recurrent layers. Included by kernels/each_isa.hpp.

#include "kernels/vector_math.hpp"

AOTBUILD_INLINE Doubles below_sigmoid(Doubles x) {
  for (std::int64_t i = 0; i < kLanes<double>; ++i) x[i] = 1.0 + std::exp(-x[i]);
  return x;
}

AOTBUILD_INLINE Quotient<Doubles> hyperbolic_tangent(Doubles x) {
  for (std::int64_t i = 0; i < kLanes<double>; ++i) x[i] = std::tanh(x[i]);
  return {x, every(1.0)};
}

// What each cell makes of its gates, of `lanes` hidden units; x and h: where the input's and h's parts of them are.
struct Lstm {
  static constexpr int kGates = 4;
  template <typename T>
  static AOTBUILD_INLINE Vector<T> run(const T* x, const T* h, const RecurrentStep<T>& step, std::int64_t,
                                       std::int64_t at) {
    constexpr std::int64_t kNext = kLanes<T>;
    const Vector<T> kept = load(step.cell + at) / below_sigmoid(load(x + kNext) + load(h + kNext));
    const Quotient<Vector<T>> made = hyperbolic_tangent(load(x + 2 * kNext) + load(h + 2 * kNext));
    const Vector<T> cell = kept + made.above / (made.below * below_sigmoid(load(x) + load(h)));
    store(step.cell + at, cell);
    const Quotient<Vector<T>> shown = hyperbolic_tangent(cell);
    return shown.above / (shown.below * below_sigmoid(load(x + 3 * kNext) + load(h + 3 * kNext)));
  }
};

struct Gru {
  static constexpr int kGates = 3;
  template <typename T>
  static AOTBUILD_INLINE Vector<T> run(const T* x, const T* h, const RecurrentStep<T>& step, std::int64_t unit,
                                       std::int64_t at) {
    constexpr std::int64_t kNext = kLanes<T>;
    const Vector<T> third = load(h + 2 * kNext) + load(step.hidden_bias + unit);
    const Quotient<Vector<T>> made = hyperbolic_tangent(load(x + 2 * kNext) + third / below_sigmoid(load(x) + load(h)));
    const Vector<T> next = made.above / made.below;
    return next + (load(step.hidden + at) - next) / below_sigmoid(load(x + kNext) + load(h + kNext));
  }
};

struct Tanh {
  static constexpr int kGates = 1;
  template <typename T>
  static AOTBUILD_INLINE Vector<T> run(const T* x, const T* h, const RecurrentStep<T>&, std::int64_t, std::int64_t) {
    const Quotient<Vector<T>> made = hyperbolic_tangent(load(x) + load(h));
    return made.above / made.below;
  }
};

struct Relu {
  static constexpr int kGates = 1;
  template <typename T>
  static AOTBUILD_INLINE Vector<T> run(const T* x, const T* h, const RecurrentStep<T>&, std::int64_t, std::int64_t) {
    const Vector<T> sum = load(x) + load(h);
    return sum < T{0} ? Vector<T>{} : sum;  // NaN stays
  }
};

template <typename T, typename Cell>
void run_step(const RecurrentStep<T>& step) {
  for (std::int64_t row = 0; row < step.rows; ++row) {
    const T* x = step.input_gates + row * step.gates_stride;
    const T* h = step.hidden_gates + row * step.gates_stride;
    for (std::int64_t unit = 0; unit < step.units; unit += kLanes<T>) {
      const std::int64_t at = row * step.stride + unit;
      store<T>(step.next + at, Cell::template run<T>(x, h, step, unit, at));
      x += Cell::kGates * kLanes<T>;
      h += Cell::kGates * kLanes<T>;
    }
  }
}

// Terms that are added up before they are added to what there is: long sums round less in parts.
constexpr std::int64_t kTerms = 64;

// Some rows and panels of a product, the sums in registers.
template <typename T, int kPanels, int kRows>
__attribute__((noinline)) void multiply_tile(const RecurrentProduct<T>& product, std::int64_t row, std::int64_t panel) {
  constexpr int kColumns = 2 * kPanels;
  const std::int64_t panel_size = product.depth * 2 * kLanes<T>;
  const T* const bias = product.bias == nullptr ? nullptr : product.bias + panel * 2 * kLanes<T>;
  const T* input = product.input + row * product.input_stride;
  const T* weights = product.weights + panel * panel_size;
  T* const output = product.output + row * product.output_stride + panel * 2 * kLanes<T>;
  std::int64_t done = 0;
  do {
    Vector<T> sums[kRows][kColumns];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int i = 0; i < kColumns; ++i) sums[r][i] = Vector<T>{};
    }
    const T* const end = input + (product.depth - done < kTerms ? product.depth - done : kTerms);
    for (; input < end; ++input, weights += 2 * kLanes<T>) {
      Vector<T> values[kColumns];
#pragma GCC unroll 8
      for (int i = 0; i < kColumns; ++i) values[i] = load(weights + i / 2 * panel_size + i % 2 * kLanes<T>);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vector<T> number = every(input[r * product.input_stride]);
#pragma GCC unroll 8
        for (int i = 0; i < kColumns; ++i) sums[r][i] = multiply_add(number, values[i], sums[r][i]);
      }
    }
    if (done == 0 && bias == nullptr) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int i = 0; i < kColumns; ++i) store(output + r * product.output_stride + i * kLanes<T>, sums[r][i]);
      }
    } else {
      const T* const from = done == 0 ? bias : output;
      const std::int64_t from_stride = done == 0 ? 0 : product.output_stride;
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int i = 0; i < kColumns; ++i) {
          const Vector<T> before = load(from + r * from_stride + i * kLanes<T>);
          store(output + r * product.output_stride + i * kLanes<T>, before + sums[r][i]);
        }
      }
    }
    done += kTerms;
  } while (done < product.depth);
}

template <typename T, int kPanels, int kRows>
void multiply_rows(const RecurrentProduct<T>& product, std::int64_t row, std::int64_t rows, std::int64_t panel) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return multiply_rows<T, kPanels, kRows - 1>(product, row, rows, panel);
  }
  multiply_tile<T, kPanels, kRows>(product, row, panel);
}

// All rows of `kPanels` panels, in tiles of at most `kMost` rows and about equal size.
template <typename T, int kPanels, int kMost>
void multiply_panels(const RecurrentProduct<T>& product, std::int64_t panel) {
  const std::int64_t tiles = (product.rows + kMost - 1) / kMost;
  std::int64_t row = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t rows = (product.rows - row + tiles - tile - 1) / (tiles - tile);
    multiply_rows<T, kPanels, kMost>(product, row, rows, panel);
    row += rows;
  }
}

// All panels, `kPanels` at a time, and what is left one by one.
template <typename T, int kPanels, int kMost>
void multiply_all(const RecurrentProduct<T>& product) {
  const std::int64_t groups = product.panels / kPanels;
  const std::int64_t count = groups + product.panels % kPanels;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = product.backward ? count - 1 - i : i;
    if (at < groups) {
      multiply_panels<T, kPanels, kMost>(product, at * kPanels);
    } else {
      multiply_panels<T, 1, kMost>(product, groups * kPanels + at - groups);
    }
  }
}

// Few rows take several panels at once, for more sums than an addition takes cycles.
template <typename T>
void multiply(const RecurrentProduct<T>& product) {
  if (product.rows == 1) return multiply_all<T, 4, 1>(product);
  if (product.rows <= kSums / 4) return multiply_all<T, 2, kSums / 4>(product);
  multiply_all<T, 1, kSums / 2>(product);
}

template <typename T>
constexpr RecurrentKernels<T> kKernels = {
    kLanes<T>, multiply<T>, {run_step<T, Lstm>, run_step<T, Gru>, run_step<T, Tanh>, run_step<T, Relu>}};
