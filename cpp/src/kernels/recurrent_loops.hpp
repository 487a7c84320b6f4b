// The loops of recurrent layers, included once for each instruction set into a namespace of its own, which has
// kBytes, kSums (how many vectors of sums registers hold) and multiply_add of vectors.

#define AOTBUILD_INLINE __attribute__((always_inline)) inline

using Words = std::int32_t __attribute__((vector_size(kBytes)));

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  using Type = Floats;
};
template <>
struct VectorOf<double> {
  using Type = Doubles;
};
template <typename T>
using Vector = typename VectorOf<T>::Type;
template <typename T>
constexpr std::int64_t kLanes = kBytes / static_cast<std::int64_t>(sizeof(T));

template <typename T>
AOTBUILD_INLINE Vector<T> load(const T* from) {
  Vector<T> value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
AOTBUILD_INLINE void store(T* to, Vector<T> value) {
  __builtin_memcpy(to, &value, sizeof value);
}

template <typename T>
AOTBUILD_INLINE Vector<T> every(T value) {
  return value - Vector<T>{};
}

// e^x to half a unit more than exact rounding: x = n log(2) + r, and a polynomial of r whose error is 5e-11.
AOTBUILD_INLINE Floats exponential(Floats x) {
  x = x > 89.0F ? every(89.0F) : x;  // infinite, and NaN stays
  x = x < -87.0F ? every(-87.0F) : x;
  const Floats magic = every(12582912.0F);  // 1.5 * 2^23: the sum's last bits are a whole number
  const Floats shifted = multiply_add(x, every(1.442695F), magic);
  const Floats n = shifted - magic;
  Floats r = multiply_add(n, every(-0.69140625F), x);
  r = multiply_add(n, every(-0.0017409306F), r);
  Floats p = every(0.0001991797F);
  p = multiply_add(p, r, every(0.001394619F));
  p = multiply_add(p, r, every(0.008333265F));
  p = multiply_add(p, r, every(0.04166627F));
  p = multiply_add(p, r, every(0.16666667F));
  p = multiply_add(p, r, every(0.5F));
  p = multiply_add(p * r, r, r) + 1.0F;
  Words power;
  __builtin_memcpy(&power, &shifted, sizeof power);
  power = (power << 23) + 0x3f800000;
  Floats scale;
  __builtin_memcpy(&scale, &power, sizeof scale);
  return p * scale;
}

// Functions as quotients, so that a product of them takes one division. A sigmoid is 1 / below.
AOTBUILD_INLINE Floats below_sigmoid(Floats x) { return 1.0F + exponential(-x); }

template <typename V>
struct Quotient {
  V above;
  V below;
};

AOTBUILD_INLINE Quotient<Floats> hyperbolic_tangent(Floats x) {
  const Floats size = x < 0.0F ? -x : x;
  const Floats power = exponential(-(size + size));
  // Where the power is near 1 the difference would lose its last bits; a polynomial of x^2 whose error is 4e-9.
  const Floats z = x * x;
  Floats p = every(-0.0057170326F);
  p = multiply_add(p, z, every(0.020650575F));
  p = multiply_add(p, z, every(-0.053743493F));
  p = multiply_add(p, z, every(0.13331491F));
  p = multiply_add(p, z, every(-0.33333284F));
  const Floats small = multiply_add(p * z, x, x);
  const Floats large = 1.0F - power;
  return {size < 0.625F ? small : (x < 0.0F ? -large : large), size < 0.625F ? every(1.0F) : 1.0F + power};
}

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

#undef AOTBUILD_INLINE
