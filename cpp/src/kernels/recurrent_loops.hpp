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

AOTBUILD_INLINE Floats sigmoid(Floats x) { return 1.0F / (1.0F + exponential(-x)); }

AOTBUILD_INLINE Floats hyperbolic_tangent(Floats x) {
  const Floats size = x < 0.0F ? -x : x;
  const Floats large = 1.0F - 2.0F / (exponential(size + size) + 1.0F);
  // Where e^2x is near 1 the difference would lose its last bits; a polynomial of x^2 whose error is 4e-9.
  const Floats z = x * x;
  Floats p = every(-0.0057170326F);
  p = multiply_add(p, z, every(0.020650575F));
  p = multiply_add(p, z, every(-0.053743493F));
  p = multiply_add(p, z, every(0.13331491F));
  p = multiply_add(p, z, every(-0.33333284F));
  const Floats small = multiply_add(p * z, x, x);
  return size < 0.625F ? small : (x < 0.0F ? -large : large);
}

AOTBUILD_INLINE Doubles sigmoid(Doubles x) {
  for (std::int64_t i = 0; i < kLanes<double>; ++i) x[i] = 1.0 / (1.0 + std::exp(-x[i]));
  return x;
}

AOTBUILD_INLINE Doubles hyperbolic_tangent(Doubles x) {
  for (std::int64_t i = 0; i < kLanes<double>; ++i) x[i] = std::tanh(x[i]);
  return x;
}

// What a cell makes of the sums of its gates, of `lanes` hidden units of one row at `unit`.
struct Lstm {
  static constexpr int kGates = 4;
  template <typename T>
  static AOTBUILD_INLINE void begin(const RecurrentStep<T>&, const T* gates, std::int64_t, Vector<T>* sums) {
    for (int gate = 0; gate < kGates; ++gate) sums[gate] = load(gates + gate * kLanes<T>);
  }
  template <typename T>
  static AOTBUILD_INLINE Vector<T> end(const RecurrentStep<T>& step, const T*, std::int64_t row, std::int64_t unit,
                                       const Vector<T>* sums) {
    T* cell = step.cell + row * step.panels * kLanes<T> + unit;
    const Vector<T> kept = sigmoid(sums[1]) * load(cell);
    const Vector<T> next = kept + sigmoid(sums[0]) * hyperbolic_tangent(sums[2]);
    store(cell, next);
    return sigmoid(sums[3]) * hyperbolic_tangent(next);
  }
};

struct Gru {
  static constexpr int kGates = 3;
  template <typename T>
  static AOTBUILD_INLINE void begin(const RecurrentStep<T>& step, const T* gates, std::int64_t unit, Vector<T>* sums) {
    sums[0] = load(gates);
    sums[1] = load(gates + kLanes<T>);
    sums[2] = load(step.hidden_bias + unit);
  }
  template <typename T>
  static AOTBUILD_INLINE Vector<T> end(const RecurrentStep<T>& step, const T* gates, std::int64_t row,
                                       std::int64_t unit, const Vector<T>* sums) {
    const Vector<T> reset = sigmoid(sums[0]);
    const Vector<T> update = sigmoid(sums[1]);
    const Vector<T> made = hyperbolic_tangent(load(gates + 2 * kLanes<T>) + reset * sums[2]);
    return made + update * (load(step.hidden + row * step.hidden_stride + unit) - made);
  }
};

struct Tanh {
  static constexpr int kGates = 1;
  template <typename T>
  static AOTBUILD_INLINE void begin(const RecurrentStep<T>&, const T* gates, std::int64_t, Vector<T>* sums) {
    sums[0] = load(gates);
  }
  template <typename T>
  static AOTBUILD_INLINE Vector<T> end(const RecurrentStep<T>&, const T*, std::int64_t, std::int64_t,
                                       const Vector<T>* sums) {
    return hyperbolic_tangent(sums[0]);
  }
};

struct Relu : Tanh {
  template <typename T>
  static AOTBUILD_INLINE Vector<T> end(const RecurrentStep<T>&, const T*, std::int64_t, std::int64_t,
                                       const Vector<T>* sums) {
    return sums[0] < T{0} ? Vector<T>{} : sums[0];  // NaN stays
  }
};

// sums[row][panel * gates] += input[row][:] @ weights[panel][:][gates]. All loops but the outer one are unrolled.
template <typename T, int kGates, int kPanels, int kRows>
AOTBUILD_INLINE void accumulate(const T* input, std::int64_t input_stride, const T* weights, std::int64_t panel_size,
                                std::int64_t depth, Vector<T> (*sums)[kPanels * kGates]) {
  for (std::int64_t k = 0; k < depth; ++k) {
    Vector<T> values[kPanels * kGates];
#pragma GCC unroll 16
    for (int panel = 0; panel < kPanels; ++panel) {
#pragma GCC unroll 4
      for (int gate = 0; gate < kGates; ++gate) {
        values[panel * kGates + gate] = load(weights + panel * panel_size + (k * kGates + gate) * kLanes<T>);
      }
    }
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      const Vector<T> number = every(input[row * input_stride + k]);
#pragma GCC unroll 16
      for (int i = 0; i < kPanels * kGates; ++i) sums[row][i] = multiply_add(number, values[i], sums[row][i]);
    }
  }
}

template <typename T, int kGates, int kPanels, int kRows>
void multiply_tile(const RecurrentProduct<T>& product, std::int64_t row, std::int64_t panel) {
  const std::int64_t panel_size = product.depth * kGates * kLanes<T>;
  const std::int64_t column = panel * kGates * kLanes<T>;
  Vector<T> sums[kRows][kPanels * kGates];
#pragma GCC unroll 16
  for (int i = 0; i < kPanels * kGates; ++i) {
    const Vector<T> bias = product.bias != nullptr ? load(product.bias + column + i * kLanes<T>) : Vector<T>{};
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sums[r][i] = bias;
  }
  accumulate<T, kGates, kPanels, kRows>(product.input + row * product.input_stride, product.input_stride,
                                        product.weights + panel * panel_size, panel_size, product.depth, sums);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kPanels * kGates; ++i) {
      store(product.output + (row + r) * product.output_stride + column + i * kLanes<T>, sums[r][i]);
    }
  }
}

template <typename T, typename Cell, int kPanels, int kRows>
void step_tile(const RecurrentStep<T>& step, std::int64_t row, std::int64_t panel) {
  constexpr int kGates = Cell::kGates;
  const std::int64_t panel_size = step.depth * kGates * kLanes<T>;
  const std::int64_t unit = panel * kLanes<T>;
  const T* gates = step.gates + row * step.gates_stride + unit * kGates;
  Vector<T> sums[kRows][kPanels * kGates];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      Cell::begin(step, gates + r * step.gates_stride + p * kGates * kLanes<T>, unit + p * kLanes<T>,
                  sums[r] + p * kGates);
    }
  }
  accumulate<T, kGates, kPanels, kRows>(step.hidden + row * step.hidden_stride, step.hidden_stride,
                                        step.weights + panel * panel_size, panel_size, step.depth, sums);
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPanels; ++p) {
      const Vector<T> next = Cell::end(step, gates + r * step.gates_stride + p * kGates * kLanes<T>, row + r,
                                       unit + p * kLanes<T>, sums[r] + p * kGates);
      store(step.next + (row + r) * step.next_stride + unit + p * kLanes<T>, next);
    }
  }
}

// Tiles of rows and panels: few rows take several panels at once, for more sums than additions take time.
template <int kGates>
struct Tiles {
  static constexpr int kFew = kGates == 4 ? 2 : (kGates == 3 ? 4 : 8);  // panels of one row
  static constexpr int kMany = kGates == 1 ? 4 : 1;                     // of several
  static constexpr int kRows = kSums / (kGates * kMany);
};

// Calls run<panels, rows>(operands, row, panel) for all rows of `panels` panels from `panel` on, in tiles of equal size.
template <template <int, int> class Run, int kPanels, int kMost, typename Operands>
AOTBUILD_INLINE void all_rows(const Operands& operands, std::int64_t panel) {
  const std::int64_t tiles = (operands.rows + kMost - 1) / kMost;
  std::int64_t row = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t count = (operands.rows - row + tiles - tile - 1) / (tiles - tile);
    switch (count) {
      case 1:
        Run<kPanels, 1>::run(operands, row, panel);
        break;
      case 2:
        Run<kPanels, (kMost < 2 ? 1 : 2)>::run(operands, row, panel);
        break;
      case 3:
        Run<kPanels, (kMost < 3 ? 1 : 3)>::run(operands, row, panel);
        break;
      case 4:
        Run<kPanels, (kMost < 4 ? 1 : 4)>::run(operands, row, panel);
        break;
      case 5:
        Run<kPanels, (kMost < 5 ? 1 : 5)>::run(operands, row, panel);
        break;
      case 6:
        Run<kPanels, (kMost < 6 ? 1 : 6)>::run(operands, row, panel);
        break;
      case 7:
        Run<kPanels, (kMost < 7 ? 1 : 7)>::run(operands, row, panel);
        break;
      default:
        Run<kPanels, (kMost < 8 ? 1 : 8)>::run(operands, row, panel);
        break;
    }
    row += count;
  }
}

// All panels, `kPanels` at a time, and what is left one by one.
template <template <int, int> class Run, int kPanels, int kMost, typename Operands>
AOTBUILD_INLINE void all_panels(const Operands& operands, bool backward) {
  const std::int64_t groups = operands.panels / kPanels;
  const std::int64_t rest = operands.panels - groups * kPanels;
  for (std::int64_t i = 0; i < groups + rest; ++i) {
    const std::int64_t at = backward ? groups + rest - 1 - i : i;
    if (at < groups) {
      all_rows<Run, kPanels, kMost>(operands, at * kPanels);
    } else {
      all_rows<Run, 1, kMost>(operands, groups * kPanels + at - groups);
    }
  }
}

template <typename T, int kGates>
struct Multiply {
  template <int kPanels, int kRows>
  struct Run {
    static void run(const RecurrentProduct<T>& product, std::int64_t row, std::int64_t panel) {
      multiply_tile<T, kGates, kPanels, kRows>(product, row, panel);
    }
  };
  static void all(const RecurrentProduct<T>& product) {
    if (product.rows == 1) return all_panels<Run, Tiles<kGates>::kFew, 1>(product, false);
    all_panels<Run, Tiles<kGates>::kMany, Tiles<kGates>::kRows>(product, false);
  }
};

template <typename T, typename Cell>
struct Step {
  template <int kPanels, int kRows>
  struct Run {
    static void run(const RecurrentStep<T>& step, std::int64_t row, std::int64_t panel) {
      step_tile<T, Cell, kPanels, kRows>(step, row, panel);
    }
  };
  static void all(const RecurrentStep<T>& step) {
    using Shape = Tiles<Cell::kGates>;
    if (step.rows == 1) return all_panels<Run, Shape::kFew, 1>(step, step.backward);
    all_panels<Run, Shape::kMany, Shape::kRows>(step, step.backward);
  }
};

template <typename T>
constexpr RecurrentKernels<T> kKernels = {
    kLanes<T>,
    {nullptr, Multiply<T, 1>::all, nullptr, Multiply<T, 3>::all, Multiply<T, 4>::all},
    {Step<T, Lstm>::all, Step<T, Gru>::all, Step<T, Tanh>::all, Step<T, Relu>::all}};

#undef AOTBUILD_INLINE
