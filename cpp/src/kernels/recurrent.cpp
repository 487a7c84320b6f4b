#include "kernels/recurrent.hpp"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "kernels/recurrent_kernels.hpp"
#include "tensor/copy.hpp"

namespace aotbuild::detail {

namespace {

// The input's part of the gates is made for so many bytes at a time, which stay in the cache with the weights, but for
// no fewer rows, each of which would read all weights of the input again.
constexpr std::int64_t kBlockBytes = 128 * 1024;
constexpr std::int64_t kBlockRows = 64;

// Products of so many numbers in each step are a share that a thread is woken for.
constexpr std::int64_t kRecurrentShare = 1 << 16;

std::int64_t rounded_up(std::int64_t size, std::int64_t unit) { return (size + unit - 1) / unit * unit; }

void check_sizes(const Tensor& tensor, ScalarType dtype, std::initializer_list<std::int64_t> sizes, const char* what,
                 const char* function) {
  const bool fits = tensor.ndim == static_cast<std::int32_t>(sizes.size()) &&
                    std::equal(sizes.begin(), sizes.end(), tensor.sizes()) && tensor.dtype == dtype;
  if (fits) return;
  fail(function, what, " has sizes ", format_dims(tensor.ndim, tensor.sizes()), " and type ", dtype_name(tensor.dtype),
       "; expected ", format_dims(static_cast<std::int64_t>(sizes.size()), sizes.begin()), " of type ",
       dtype_name(dtype));
}

template <typename T>
constexpr ScalarType kTypeOf = sizeof(T) == sizeof(float) ? ScalarType::kFloat32 : ScalarType::kFloat64;

// A dense copy of type T, or the tensor itself where it is one.
template <typename T>
class Dense {
 public:
  Dense(const Tensor& tensor, const char* function) {
    if (tensor.dtype == kTypeOf<T> && is_contiguous(tensor)) {
      data_ = tensor.data_as<T>();
      return;
    }
    copy_ = make_tensor(kTypeOf<T>, tensor.ndim, tensor.sizes(), nullptr);
    copy(*copy_, tensor, function);
    data_ = copy_->data_as<T>();
  }
  const T* data() const { return data_; }

 private:
  TensorPtr copy_;
  const T* data_;
};

template <typename T>
T* allocate(Arena& arena, std::int64_t count) {
  return reinterpret_cast<T*>(arena.allocate(static_cast<std::size_t>(count) * sizeof(T)));
}

// Numbers of a row of columns: `gates` for each vector of units, in panels of two columns.
std::int64_t row_size(std::int64_t gates, std::int64_t units, std::int64_t lanes) {
  return rounded_up(rounded_up(units, lanes) * gates, 2 * lanes);
}

// Where a unit's gate is in a row.
std::int64_t column_of(std::int64_t gate, std::int64_t unit, std::int64_t gates, std::int64_t lanes) {
  return (unit / lanes * gates + gate) * lanes + unit % lanes;
}

// [gates * units, depth] as panels of RecurrentProduct.
template <typename T>
const T* pack_panels(const T* matrix, std::int64_t gates, std::int64_t units, std::int64_t depth, Arena& arena) {
  const std::int64_t lanes = recurrent_kernels<T>().lanes;
  const std::int64_t width = 2 * lanes;
  const std::int64_t count = row_size(gates, units, lanes) * depth;
  T* const packed = allocate<T>(arena, count);
  std::fill(packed, packed + count, T{0});
  for (std::int64_t gate = 0; gate < gates; ++gate) {
    for (std::int64_t unit = 0; unit < units; ++unit) {
      const std::int64_t column = column_of(gate, unit, gates, lanes);
      const T* from = matrix + (gate * units + unit) * depth;
      T* to = packed + column / width * depth * width + column % width;
      for (std::int64_t k = 0; k < depth; ++k) to[k * width] = from[k];
    }
  }
  return packed;
}

}  // namespace

PackedRecurrent::PackedRecurrent(const RecurrentSpec& spec, const std::vector<const Tensor*>& weights, Arena& arena,
                                 const char* function)
    : spec_(spec), gates_(spec.cell == RecurrentCell::kLstm ? 4 : (spec.cell == RecurrentCell::kGru ? 3 : 1)) {
  const std::size_t directions = spec.bidirectional ? 2 : 1;
  const std::size_t each = 2 + (spec.has_biases ? 2U : 0U) + (spec.has_projection ? 1U : 0U);
  if (spec.layers < 1 || weights.size() != static_cast<std::size_t>(spec.layers) * directions * each) {
    fail(function, weights.size(), " weights are not those of ", spec.layers, " layers");
  }
  dtype_ = weights[0]->dtype;
  if (weights[0]->ndim != 2 || weights[1]->ndim != 2) fail(function, "weights are not matrices");
  input_features_ = weights[0]->sizes()[1];
  output_features_ = weights[1]->sizes()[1];
  hidden_features_ = weights[0]->sizes()[0] / gates_;
  if (dtype_ == ScalarType::kFloat64) {
    pack<double>(weights, arena, function);
  } else if (dtype_ == ScalarType::kFloat32 || is_half_type(dtype_)) {
    pack<float>(weights, arena, function);
  } else {
    fail(function, "element type ", dtype_name(dtype_), " is not supported, expected a real floating-point type");
  }
}

template <typename T>
void PackedRecurrent::pack(const std::vector<const Tensor*>& weights, Arena& arena, const char* function) {
  const std::int64_t directions = spec_.bidirectional ? 2 : 1;
  const std::int64_t lanes = recurrent_kernels<T>().lanes;
  const std::int64_t rows = gates_ * hidden_features_;
  auto next = weights.begin();
  const auto matrix = [&](std::int64_t gates, std::int64_t units, std::int64_t depth) {
    const Tensor& weight = **next++;
    check_sizes(weight, dtype_, {gates * units, depth}, "a weight", function);
    return reinterpret_cast<const char*>(pack_panels(Dense<T>(weight, function).data(), gates, units, depth, arena));
  };
  for (std::int64_t layer = 0; layer < spec_.layers; ++layer) {
    for (std::int64_t direction = 0; direction < directions; ++direction) {
      Part part{};
      part.features = layer == 0 ? input_features_ : directions * output_features_;
      part.input = matrix(gates_, hidden_features_, part.features);
      part.hidden = matrix(gates_, hidden_features_, output_features_);
      const std::int64_t bias_size = row_size(gates_, hidden_features_, lanes);
      T* const bias = allocate<T>(arena, bias_size + rounded_up(hidden_features_, lanes));
      T* const third = bias + bias_size;
      std::fill(bias, third + rounded_up(hidden_features_, lanes), T{0});
      for (int i = 0; i < 2 && spec_.has_biases; ++i) {
        const Tensor& tensor = **next++;
        check_sizes(tensor, dtype_, {rows}, "a bias", function);
        const Dense<T> dense(tensor, function);
        for (std::int64_t row = 0; row < rows; ++row) {
          const std::int64_t gate = row / hidden_features_;
          const std::int64_t unit = row % hidden_features_;
          const bool is_third = spec_.cell == RecurrentCell::kGru && i == 1 && gate == 2;
          T* const to = is_third ? third + unit : bias + column_of(gate, unit, gates_, lanes);
          *to += dense.data()[row];
        }
      }
      part.bias = reinterpret_cast<const char*>(bias);
      part.third = reinterpret_cast<const char*>(third);
      if (spec_.has_projection) part.project = matrix(1, output_features_, hidden_features_);
      parts_.push_back(part);
    }
  }
}

// Where threads wait for one another after each step. They spin, as a step takes some microseconds; who waits longer
// lets others run.
class StepBarrier {
 public:
  void wait(std::int64_t threads) noexcept {
    if (threads == 1) return;
    const std::int64_t round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (std::int64_t spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      if (spins > kSpins) std::this_thread::yield();
    }
  }

 private:
  static constexpr std::int64_t kSpins = 1000;
  std::atomic<std::int64_t> arrived_{0};
  std::atomic<std::int64_t> round_{0};
};

// One call: the sequence through all layers, in numbers of type T.
template <typename T>
class RecurrentRun {
 public:
  RecurrentRun(const PackedRecurrent& layer, std::int64_t length, std::int64_t batch)
      : layer_(layer),
        kernels_(recurrent_kernels<T>()),
        length_(length),
        batch_(batch),
        units_(rounded_up(layer.hidden_features_, 2 * kernels_.lanes)),
        outputs_(rounded_up(layer.output_features_, 2 * kernels_.lanes)),
        gates_(row_size(layer.gates_, layer.hidden_features_, kernels_.lanes)),
        block_(steps_at_a_time(gates_ * static_cast<std::int64_t>(sizeof(T)))),
        gates_buffer_(make_scratch((block_ + 1) * batch * gates_)),
        state_buffer_(make_scratch(batch * (2 * outputs_ + 2 * units_))) {}

  // `input`: [length, batch, features], dense. Rows of `output` are so far apart. `hidden` and `cell`: [batch,
  // features], the state before in the state after.
  void run(const PackedRecurrent::Part& part, const T* input, T* output, std::int64_t output_step,
           std::int64_t output_row, T* hidden, T* cell, bool is_reverse) {
    T* state = state_buffer_->template data_as<T>();
    T* next = state + batch_ * outputs_;
    T* const cells = next + batch_ * outputs_;
    T* const unprojected = cells + batch_ * units_;
    std::fill(state, state + batch_ * (2 * outputs_ + 2 * units_), T{0});
    const std::int64_t features = layer_.output_features_;
    move_rows(hidden, features, state, outputs_, features);
    if (cell != nullptr) move_rows(cell, layer_.hidden_features_, cells, units_, layer_.hidden_features_);
    const Sequence sequence{&part, input, output, output_step, output_row, state, next, cells, unprojected, is_reverse};
    const std::int64_t threads = part.project != nullptr ? 1 : threads_of(part);
    StepBarrier barrier;
#pragma omp parallel num_threads(static_cast<int>(threads)) if (threads > 1)
    run_share(sequence, omp_get_thread_num(), omp_get_num_threads(), &barrier);
    if (length_ % 2 != 0) std::swap(state, next);
    move_rows(state, outputs_, hidden, features, features);
    if (cell != nullptr) move_rows(cells, units_, cell, layer_.hidden_features_, layer_.hidden_features_);
  }

 private:
  // What all threads of a run have in common.
  struct Sequence {
    const PackedRecurrent::Part* part;
    const T* input;
    T* output;
    std::int64_t output_step;
    std::int64_t output_row;
    T* state;
    T* next;
    T* cells;
    T* unprojected;
    bool is_reverse;
  };

  // A thread's panels, and the units whose gates they are.
  struct Share {
    std::int64_t first_panel;
    std::int64_t panels;
    std::int64_t first_unit;
    std::int64_t units;
  };

  std::int64_t pairs() const { return units_ / (2 * kernels_.lanes); }  // of vectors of units

  // A pair of vectors of units has whole panels, as many as gates.
  Share share_of(std::int64_t thread, std::int64_t threads) const {
    const std::int64_t units = rounded_up(layer_.hidden_features_, kernels_.lanes);
    const std::int64_t begin = pairs() * thread / threads;
    const std::int64_t end = pairs() * (thread + 1) / threads;
    const std::int64_t panels = std::min(end * layer_.gates_, gates_ / (2 * kernels_.lanes));
    return {begin * layer_.gates_, panels - begin * layer_.gates_, begin * 2 * kernels_.lanes,
            std::min(end * 2 * kernels_.lanes, units) - begin * 2 * kernels_.lanes};
  }

  std::int64_t threads_of(const PackedRecurrent::Part& part) const {
    if (omp_in_parallel() != 0) return 1;
    const std::int64_t work = batch_ * gates_ * (layer_.output_features_ + part.features);
    return std::clamp<std::int64_t>(work / kRecurrentShare, 1, std::min<std::int64_t>(omp_get_max_threads(), pairs()));
  }

  // All steps for the units of one thread. A step needs h of all units of the step before, and nothing else of others.
  void run_share(const Sequence& sequence, std::int64_t thread, std::int64_t threads, StepBarrier* barrier) {
    const PackedRecurrent::Part& part = *sequence.part;
    const Share share = share_of(thread, threads);
    const std::int64_t column = share.first_panel * 2 * kernels_.lanes;
    const std::int64_t features = layer_.output_features_;
    T* state = sequence.state;
    T* next = sequence.next;
    T* const gates = gates_buffer_->template data_as<T>();
    T* const of_hidden = gates + block_ * batch_ * gates_;
    for (std::int64_t done = 0; done < length_; done += block_) {
      const std::int64_t count = std::min(block_, length_ - done);
      const std::int64_t first = sequence.is_reverse ? length_ - done - count : done;
      multiply(sequence.input + first * batch_ * part.features, part.features, count * batch_, part.features,
               part.input, part.bias, gates, gates_, share, false);
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t at = sequence.is_reverse ? count - 1 - i : i;
        multiply(state, outputs_, batch_, features, part.hidden, nullptr, of_hidden, gates_, share,
                 (done + i) % 2 != 0);
        T* const made = part.project != nullptr ? sequence.unprojected : next;
        step(part, gates + at * batch_ * gates_ + column, of_hidden + column, state, sequence.cells, made, share);
        T* const output = sequence.output + (first + at) * sequence.output_step;
        if (part.project != nullptr) {
          const Share all{0, outputs_ / (2 * kernels_.lanes), 0, 0};
          multiply(sequence.unprojected, units_, batch_, layer_.hidden_features_, part.project, nullptr, next, outputs_,
                   all, false);
          move_rows(next, outputs_, output, sequence.output_row, features);
        } else {
          move_rows(next + share.first_unit, outputs_, output + share.first_unit, sequence.output_row,
                    std::min(share.units, features - share.first_unit));
        }
        std::swap(state, next);
        barrier->wait(threads);
      }
    }
  }

  static TensorPtr make_scratch(std::int64_t count) { return make_tensor(kTypeOf<T>, 1, &count, nullptr); }

  void move_rows(const T* from, std::int64_t from_stride, T* to, std::int64_t to_stride, std::int64_t count) const {
    for (std::int64_t row = 0; row < batch_; ++row) {
      std::memcpy(to + row * to_stride, from + row * from_stride, static_cast<std::size_t>(count) * sizeof(T));
    }
  }

  // Steps whose input's part of the gates, of so many bytes a row, is made by one product.
  std::int64_t steps_at_a_time(std::int64_t row_nbytes) const {
    const std::int64_t rows = std::max(kBlockBytes / row_nbytes, kBlockRows);
    return std::clamp<std::int64_t>(rows / batch_, 1, length_);
  }

  // Rows of the output are whole rows of columns.
  void multiply(const T* input, std::int64_t input_stride, std::int64_t rows, std::int64_t depth, const char* weights,
                const char* bias, T* output, std::int64_t output_stride, const Share& share, bool is_backward) const {
    const std::int64_t column = share.first_panel * 2 * kernels_.lanes;
    RecurrentProduct<T> product{};
    product.input = input;
    product.input_stride = input_stride;
    product.weights = reinterpret_cast<const T*>(weights) + column * depth;
    product.bias = bias == nullptr ? nullptr : reinterpret_cast<const T*>(bias) + column;
    product.output = output + column;
    product.output_stride = output_stride;
    product.rows = rows;
    product.depth = depth;
    product.panels = share.panels;
    product.backward = is_backward;
    kernels_.multiply(product);
  }

  void step(const PackedRecurrent::Part& part, const T* of_input, const T* of_hidden, const T* state, T* cells, T* next,
            const Share& share) const {
    RecurrentStep<T> step{};
    step.input_gates = of_input;
    step.hidden_gates = of_hidden;
    step.gates_stride = gates_;
    step.hidden_bias = part.third == nullptr ? nullptr : reinterpret_cast<const T*>(part.third) + share.first_unit;
    step.hidden = state + share.first_unit;
    step.cell = cells + share.first_unit;
    step.next = next + share.first_unit;
    step.stride = units_;  // as outputs_ where nothing is projected
    step.rows = batch_;
    step.units = share.units;
    kernels_.step[static_cast<int>(layer_.spec_.cell)](step);
  }

 public:
  // All layers and directions. `output`: [length, batch, directions * features] or batch first, dense; `hidden` and
  // `cell`: dense, the state before in the state after.
  void run_all(const T* input, T* output, T* hidden, T* cell) {
    const std::int64_t directions = layer_.spec_.bidirectional ? 2 : 1;
    const std::int64_t width = directions * layer_.output_features_;
    const bool is_deep = layer_.spec_.layers > 1;
    const TensorPtr first = is_deep ? make_scratch(length_ * batch_ * width) : nullptr;
    const TensorPtr second = layer_.spec_.layers > 2 ? make_scratch(length_ * batch_ * width) : nullptr;
    for (std::int64_t index = 0; index < layer_.spec_.layers; ++index) {
      const bool is_last = index + 1 == layer_.spec_.layers;
      T* const to = is_last ? output : (index % 2 == 0 ? first : second)->template data_as<T>();
      const bool is_batch_first = is_last && layer_.spec_.batch_first;
      const std::int64_t to_step = is_batch_first ? width : batch_ * width;
      const std::int64_t to_row = is_batch_first ? length_ * width : width;
      for (std::int64_t direction = 0; direction < directions; ++direction) {
        const std::int64_t part = index * directions + direction;
        run(layer_.parts_[static_cast<std::size_t>(part)], input, to + direction * layer_.output_features_, to_step,
            to_row, hidden + part * batch_ * layer_.output_features_,
            cell == nullptr ? nullptr : cell + part * batch_ * layer_.hidden_features_, direction == 1);
      }
      input = to;
    }
  }

 private:
  const PackedRecurrent& layer_;
  const RecurrentKernels<T>& kernels_;
  const std::int64_t length_;
  const std::int64_t batch_;
  const std::int64_t units_;    // of the cell, padded to vectors
  const std::int64_t outputs_;  // of h, padded
  const std::int64_t gates_;    // of a row, with a column that may be none
  const std::int64_t block_;    // steps whose input's part is made at a time
  const TensorPtr gates_buffer_;
  const TensorPtr state_buffer_;
};

namespace {

// A new tensor of type T with the values of `tensor`, dense.
template <typename T>
TensorPtr copied(const Tensor& tensor, const char* function) {
  TensorPtr result = make_tensor(kTypeOf<T>, tensor.ndim, tensor.sizes(), nullptr);
  copy(*result, tensor, function);
  return result;
}

TensorPtr of_type(TensorPtr tensor, ScalarType dtype, const char* function) {
  if (tensor->dtype == dtype) return tensor;
  TensorPtr result = make_tensor(dtype, tensor->ndim, tensor->sizes(), nullptr);
  copy(*result, *tensor, function);
  return result;
}

}  // namespace

RecurrentResult PackedRecurrent::run(const Tensor& input, const Tensor& hidden, const Tensor* cell,
                                     const char* function) const {
  if (input.ndim != 3) fail(function, "the input has sizes ", format_dims(input.ndim, input.sizes()));
  const int batch_dim = spec_.batch_first ? 0 : 1;
  const std::int64_t length = input.sizes()[1 - batch_dim];
  const std::int64_t batch = input.sizes()[batch_dim];
  const std::int64_t directions = spec_.bidirectional ? 2 : 1;
  const std::int64_t count = spec_.layers * directions;
  check_sizes(input, dtype_, {input.sizes()[0], input.sizes()[1], input_features_}, "the input", function);
  check_sizes(hidden, dtype_, {count, batch, output_features_}, "the hidden state", function);
  if ((cell != nullptr) != (spec_.cell == RecurrentCell::kLstm)) fail(function, "the cell's state does not fit");
  if (cell != nullptr) check_sizes(*cell, dtype_, {count, batch, hidden_features_}, "the cell's state", function);

  // The sequence first, whose rows are then those of one matrix.
  const std::int64_t sizes[] = {length, batch, input_features_};
  const std::int64_t strides[] = {input.strides()[1 - batch_dim], input.strides()[batch_dim], input.strides()[2]};
  const TensorPtr sequence = make_view(input, dtype_, 3, sizes, strides, input.offset);
  const std::int64_t output_sizes[] = {input.sizes()[0], input.sizes()[1], directions * output_features_};

  RecurrentResult result;
  const auto run = [&](auto tag) {
    using T = typename decltype(tag)::type;
    result[0] = make_tensor(kTypeOf<T>, 3, output_sizes, nullptr);
    result[1] = copied<T>(hidden, function);
    const std::int64_t none = 0;
    result[2] = cell == nullptr ? make_tensor(dtype_, 1, &none, nullptr) : copied<T>(*cell, function);
    if (length == 0 || batch == 0) return;
    const Dense<T> rows(*sequence, function);
    RecurrentRun<T>(*this, length, batch)
        .run_all(rows.data(), result[0]->template data_as<T>(), result[1]->template data_as<T>(),
                 cell == nullptr ? nullptr : result[2]->template data_as<T>());
  };
  if (dtype_ == ScalarType::kFloat64) {
    run(TypeTag<double>{});
  } else {
    run(TypeTag<float>{});
  }
  for (TensorPtr& tensor : result) tensor = of_type(std::move(tensor), dtype_, function);
  return result;
}

}  // namespace aotbuild::detail
