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

// What a cell makes of the sums of its gates, for `lanes` hidden units of one row at `unit`.
struct Lstm {
  static constexpr int kGates = 4;
  template <typename T>
  static AOTBUILD_INLINE Vector<T> end(const RecurrentStep<T>& step, std::int64_t row, std::int64_t unit,
                                       const T* sums) {
    T* cell = step.cell + row * step.panels * kLanes<T> + unit;
    const Vector<T> kept = sigmoid(load(sums + kLanes<T>)) * load(cell);
    const Vector<T> next = kept + sigmoid(load(sums)) * hyperbolic_tangent(load(sums + 2 * kLanes<T>));
    store(cell, next);
    return sigmoid(load(sums + 3 * kLanes<T>)) * hyperbolic_tangent(next);
  }
};

struct Gru {
  static constexpr int kGates = 3;
  template <typename T>
  static AOTBUILD_INLINE Vector<T> end(const RecurrentStep<T>& step, std::int64_t row, std::int64_t unit,
                                       const T* sums) {
    const Vector<T> reset = sigmoid(load(sums));
    const Vector<T> update = sigmoid(load(sums + kLanes<T>));
    const Vector<T> third = load(step.gates + row * step.gates_stride + unit * kGates + 2 * kLanes<T>);
    const Vector<T> made = hyperbolic_tangent(third + reset * load(sums + 2 * kLanes<T>));
    return made + update * (load(step.hidden + row * step.hidden_stride + unit) - made);
  }
};

struct Tanh {
  static constexpr int kGates = 1;
  template <typename T>
  static AOTBUILD_INLINE Vector<T> end(const RecurrentStep<T>&, std::int64_t, std::int64_t, const T* sums) {
    return hyperbolic_tangent(load(sums));
  }
};

struct Relu : Tanh {
  template <typename T>
  static AOTBUILD_INLINE Vector<T> end(const RecurrentStep<T>&, std::int64_t, std::int64_t, const T* sums) {
    const Vector<T> sum = load(sums);
    return sum < T{0} ? Vector<T>{} : sum;  // NaN stays
  }
};

// What the sums of one gate begin with: a vector for each row and panel, so far apart.
template <typename T>
struct Start {
  const T* at;
  std::int64_t row;
  std::int64_t panel;
};

template <typename T>
struct Tile {
  const T* input;
  std::int64_t input_stride;
  const T* weights;
  std::int64_t depth;
  Start<T> starts[4];
  T* sums;  // [rows][panels][gates][lanes]
  std::int64_t sums_stride;
};

// Terms that are added up before they are added to what there is: long sums round less in parts.
constexpr std::int64_t kTerms = 64;

// sums = start + input[rows][depth] @ weights[panels][depth][gates][lanes], the sums in registers.
template <typename T, int kGates, int kPanels, int kRows>
__attribute__((noinline)) void run_tile(const Tile<T>& tile) {
  const std::int64_t panel_size = tile.depth * kGates * kLanes<T>;
  const T* input = tile.input;
  const T* weights = tile.weights;
  std::int64_t done = 0;
  do {
    Vector<T> sums[kRows][kPanels * kGates];
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 32
      for (int i = 0; i < kPanels * kGates; ++i) sums[row][i] = Vector<T>{};
    }
    const T* const end = input + (tile.depth - done < kTerms ? tile.depth - done : kTerms);
    for (; input < end; ++input, weights += kGates * kLanes<T>) {
      Vector<T> values[kPanels * kGates];
#pragma GCC unroll 32
      for (int i = 0; i < kPanels * kGates; ++i) {
        values[i] = load(weights + i / kGates * panel_size + i % kGates * kLanes<T>);
      }
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
        const Vector<T> number = every(input[row * tile.input_stride]);
#pragma GCC unroll 32
        for (int i = 0; i < kPanels * kGates; ++i) sums[row][i] = multiply_add(number, values[i], sums[row][i]);
      }
    }
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      T* const to = tile.sums + row * tile.sums_stride;
#pragma GCC unroll 32
      for (int i = 0; i < kPanels * kGates; ++i) {
        const Start<T>& start = tile.starts[i % kGates];
        const T* const from = done == 0 ? start.at + row * start.row + i / kGates * start.panel : to + i * kLanes<T>;
        store(to + i * kLanes<T>, load(from) + sums[row][i]);
      }
    }
    done += kTerms;
  } while (done < tile.depth);
}

// Tiles of rows and panels. One row takes several panels at once, for more sums than an addition takes cycles.
template <int kGates>
struct Tiles {
  static constexpr int kFew = kGates == 4 ? 2 : (kGates == 3 ? 4 : 8);  // panels of one row
  static constexpr int kMany = kGates == 1 ? 4 : 1;                     // of several rows
  static constexpr int kRows = kSums / (kGates * kMany);
  // Of the panels that are left over.
  static constexpr int kLeftRows = kGates == 1 ? 1 : kRows;
};

template <typename T, int kGates, int kPanels, int kRows>
void run_rows(const Tile<T>& tile, std::int64_t rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return run_rows<T, kGates, kPanels, kRows - 1>(tile, rows);
  }
  run_tile<T, kGates, kPanels, kRows>(tile);
}

// All rows of some panels, in tiles of about equal size.
template <int kPanels, int kMost, typename Operands>
AOTBUILD_INLINE void run_panels(const Operands& operands, std::int64_t panel) {
  const std::int64_t tiles = (operands.rows() + kMost - 1) / kMost;
  std::int64_t row = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t rows = (operands.rows() - row + tiles - tile - 1) / (tiles - tile);
    operands.template run<kPanels, kMost>(panel, row, rows);
    row += rows;
  }
}

template <int kPanels, int kMost, int kLeftMost, typename Operands>
AOTBUILD_INLINE void run_groups(const Operands& operands, std::int64_t panels, bool backward) {
  const std::int64_t groups = panels / kPanels;
  const std::int64_t count = groups + panels % kPanels;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = backward ? count - 1 - i : i;
    if (at < groups) {
      run_panels<kPanels, kMost>(operands, at * kPanels);
    } else {
      run_panels<1, kLeftMost>(operands, groups * kPanels + at - groups);
    }
  }
}

// All tiles of a product or step, which has run<panels, most rows>(panel, row, rows).
template <int kGates, typename Operands>
AOTBUILD_INLINE void run_all(const Operands& operands, std::int64_t panels, bool backward) {
  using Shape = Tiles<kGates>;
  if (operands.rows() == 1) return run_groups<Shape::kFew, 1, 1>(operands, panels, backward);
  run_groups<Shape::kMany, Shape::kRows, Shape::kLeftRows>(operands, panels, backward);
}

template <typename T, int kGates>
struct Product {
  const RecurrentProduct<T>& all;

  std::int64_t rows() const { return all.rows; }

  template <int kPanels, int kMost>
  void run(std::int64_t panel, std::int64_t row, std::int64_t rows) const {
    constexpr std::int64_t kPanel = kGates * kLanes<T>;
    Tile<T> tile;
    tile.input = all.input + row * all.input_stride;
    tile.input_stride = all.input_stride;
    tile.weights = all.weights + panel * all.depth * kPanel;
    tile.depth = all.depth;
    for (int gate = 0; gate < kGates; ++gate) {
      tile.starts[gate] = {all.bias + panel * kPanel + gate * kLanes<T>, 0, kPanel};
    }
    tile.sums = all.output + row * all.output_stride + panel * kPanel;
    tile.sums_stride = all.output_stride;
    run_rows<T, kGates, kPanels, kMost>(tile, rows);
  }
};

template <typename T, typename Cell>
struct Step {
  const RecurrentStep<T>& all;

  std::int64_t rows() const { return all.rows; }

  template <int kPanels, int kMost>
  void run(std::int64_t panel, std::int64_t row, std::int64_t rows) const {
    constexpr int kGates = Cell::kGates;
    constexpr std::int64_t kPanel = kGates * kLanes<T>;
    alignas(64) T sums[kMost * kPanels * kPanel];
    Tile<T> tile;
    tile.input = all.hidden + row * all.hidden_stride;
    tile.input_stride = all.hidden_stride;
    tile.weights = all.weights + panel * all.depth * kPanel;
    tile.depth = all.depth;
    const T* gates = all.gates + row * all.gates_stride + panel * kPanel;
    for (int gate = 0; gate < kGates; ++gate) {
      tile.starts[gate] = {gates + gate * kLanes<T>, all.gates_stride, kPanel};
    }
    if (kGates == 3) tile.starts[2] = {all.hidden_bias + panel * kLanes<T>, 0, kLanes<T>};
    tile.sums = sums;
    tile.sums_stride = kPanels * kPanel;
    run_rows<T, kGates, kPanels, kMost>(tile, rows);
    end(panel, kPanels, row, rows, sums);
  }

  __attribute__((noinline)) void end(std::int64_t panel, std::int64_t panels, std::int64_t row, std::int64_t rows,
                                     const T* sums) const {
    for (std::int64_t r = row; r < row + rows; ++r) {
      for (std::int64_t p = panel; p < panel + panels; ++p, sums += Cell::kGates * kLanes<T>) {
        const std::int64_t unit = p * kLanes<T>;
        store<T>(all.next + r * all.next_stride + unit, Cell::template end<T>(all, r, unit, sums));
      }
    }
  }
};

template <typename T, int kGates>
void multiply(const RecurrentProduct<T>& product) {
  run_all<kGates>(Product<T, kGates>{product}, product.panels, false);
}

template <typename T, typename Cell>
void step(const RecurrentStep<T>& one) {
  run_all<Cell::kGates>(Step<T, Cell>{one}, one.panels, one.backward);
}

template <typename T>
constexpr RecurrentKernels<T> kKernels = {kLanes<T>,
                                          {nullptr, multiply<T, 1>, nullptr, multiply<T, 3>, multiply<T, 4>},
                                          {step<T, Lstm>, step<T, Gru>, step<T, Tanh>, step<T, Relu>}};

#undef AOTBUILD_INLINE
