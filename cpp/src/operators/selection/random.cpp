// The C shim: random numbers from the generator that torch has on the CPU, in the order in which torch draws them.
#include <array>
#include <cmath>
#include <mutex>
#include <random>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"
#include "tensor/lines.hpp"
#include "tensor/random_state.hpp"
#include "tensor/workspace.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

class Generator {
 public:
  // The engine takes the lower 32 bits, as torch's does.
  explicit Generator(std::uint64_t seed) : engine_(static_cast<std::uint32_t>(seed)) {}

  std::uint32_t draw32() { return static_cast<std::uint32_t>(engine_()); }
  std::uint64_t draw64() {
    const std::uint64_t high = draw32();
    return high << 32 | draw32();
  }

  // In [0, 1), with as many random bits as the type's fraction has.
  template <typename T>
  T uniform() {
    if constexpr (std::is_same_v<T, double>) {
      return static_cast<double>(draw64() & ((std::uint64_t{1} << 53) - 1)) * 0x1p-53;
    } else {
      return static_cast<float>(draw32() & ((1U << 24) - 1)) * 0x1p-24F;
    }
  }

  // From the standard normal distribution by Box and Muller's method, which makes two at a time.
  double normal() {
    if (has_next_normal_) {
      has_next_normal_ = false;
      return next_normal_;
    }
    const double angle = 2 * kPi * uniform<double>();
    const double radius = std::sqrt(-2 * std::log1p(-uniform<double>()));
    next_normal_ = radius * std::sin(angle);
    has_next_normal_ = true;
    return radius * std::cos(angle);
  }

  static constexpr double kPi = 3.14159265358979323846;

 private:
  std::mt19937 engine_;
  bool has_next_normal_ = false;
  double next_normal_ = 0;
};

// The generator of the model that this thread is in a call of; outside of calls one of the process. Calls take turns.
template <typename Body>
void with_generator(Body&& body) {
  static RandomState outside_of_calls;
  Workspace* const workspace = Workspace::current();
  RandomState* const own = workspace == nullptr ? nullptr : workspace->random_state();
  RandomState& state = own == nullptr ? outside_of_calls : *own;
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (state.generator == nullptr) state.generator = std::make_shared<Generator>(state.seed);
  body(*static_cast<Generator*>(state.generator.get()));
}

template <typename T>
using DrawType = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Sixteen uniform numbers become sixteen normal ones: the first eight give radii, the others angles.
template <typename T>
void normal_block(T* block) {
  for (int i = 0; i < 8; ++i) {
    const T radius = std::sqrt(-2 * std::log(1 - block[i]));
    const T angle = static_cast<T>(2 * Generator::kPi) * block[i + 8];
    block[i] = radius * std::cos(angle);
    block[i + 8] = radius * std::sin(angle);
  }
}

// torch draws 16 or more numbers in blocks, with an overlapping one at the end, and fewer one by one.
template <typename T>
void draw_normal(Generator& generator, T* out, std::int64_t count) {
  if (count < 16) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(generator.normal());
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) out[i] = generator.uniform<T>();
  for (std::int64_t i = 0; i + 16 <= count; i += 16) normal_block(out + i);
  if (count % 16 == 0) return;
  T* const last = out + count - 16;
  for (int i = 0; i < 16; ++i) last[i] = generator.uniform<T>();
  normal_block(last);
}

// Fills a contiguous tensor of a real type with numbers in [from, to).
void fill_uniform(Tensor& out, double from, double to, const char* function) {
  dispatch_real(out.dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Draw = DrawType<T>;
    with_generator([&](Generator& generator) {
      for (std::int64_t i = 0; i < out.numel(); ++i) {
        const Draw value = generator.uniform<Draw>() * static_cast<Draw>(to - from) + static_cast<Draw>(from);
        out.data_as<T>()[i] = convert<T>(value);
      }
    });
  });
}

void fill_normal(Tensor& out, double mean, double std, const char* function) {
  if (!(std >= 0)) fail(function, "the standard deviation is ", std);
  dispatch_real(out.dtype, function, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Draw = DrawType<T>;
    std::vector<Draw> drawn(static_cast<std::size_t>(out.numel()));
    with_generator([&](Generator& generator) { draw_normal(generator, drawn.data(), out.numel()); });
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      out.data_as<T>()[i] = convert<T>(drawn[i] * static_cast<Draw>(std) + static_cast<Draw>(mean));
    }
  });
}

TensorPtr random_integers(std::int64_t low, std::int64_t high, std::int64_t ndim, const std::int64_t* sizes,
                          const char* function) {
  if (low >= high) fail(function, "low is ", low, " and high is ", high);
  const std::uint64_t range = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  TensorPtr drawn = make_tensor(ScalarType::kInt64, ndim, sizes, nullptr);
  with_generator([&](Generator& generator) {
    for (std::int64_t i = 0; i < drawn->numel(); ++i) {
      const std::uint64_t bits = range >= std::uint64_t{1} << 32 ? generator.draw64() : generator.draw32();
      drawn->data_as<std::int64_t>()[i] = static_cast<std::int64_t>(bits % range + static_cast<std::uint64_t>(low));
    }
  });
  return drawn;
}

// A new tensor of the element type that a factory function is given.
TensorPtr make_filled(const std::int64_t* sizes, std::int64_t ndim, const std::int32_t* dtype, const char* function) {
  const ScalarType type = dtype == nullptr ? ScalarType::kFloat32 : checked_dtype(*dtype, function);
  return make_tensor(type, ndim, sizes, nullptr);
}

// A new tensor of such numbers between 0 and 1, or around 0 with a deviation of 1.
AOTITorchError draw(const std::int64_t* sizes, std::int64_t ndim, const std::int32_t* dtype,
                    void (*fill)(Tensor&, double, double, const char*), AtenTensorHandle* ret, const char* function) {
  return guarded([&] {
    TensorPtr out = make_filled(sizes, ndim, dtype, function);
    fill(*out, 0, 1, function);
    checked_result(ret, function) = out.release();
  });
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_randint_low_out(AtenTensorHandle out, std::int64_t low, std::int64_t high,
                                                  const std::int64_t*, std::int64_t) {
  constexpr const char* function = "aoti_torch_cpu_randint_low_out";
  return guarded([&] {
    Tensor& target = checked(out, function, "out");
    copy(target, *random_integers(low, high, target.ndim, target.sizes(), function), function);
  });
}

AOTITorchError aotbuild_torch_cpu_randint_low(std::int64_t low, std::int64_t high, const std::int64_t* size,
                                              std::int64_t size_len, std::int32_t* dtype, std::int32_t*, std::int32_t*,
                                              std::int32_t, std::int32_t*, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_randint_low";
  return guarded([&] {
    TensorPtr drawn = random_integers(low, high, size_len, size, function);
    if (dtype != nullptr && checked_dtype(*dtype, function) != ScalarType::kInt64) {
      TensorPtr made = make_filled(size, size_len, dtype, function);
      copy(*made, *drawn, function);
      drawn = std::move(made);
    }
    checked_result(ret, function) = drawn.release();
  });
}

AOTITorchError aotbuild_torch_cpu_rand(const std::int64_t* size, std::int64_t size_len, std::int32_t* dtype,
                                       std::int32_t*, std::int32_t*, std::int32_t, std::int32_t*,
                                       AtenTensorHandle* ret) {
  return draw(size, size_len, dtype, fill_uniform, ret, "aoti_torch_cpu_rand");
}

AOTITorchError aotbuild_torch_cpu_randn(const std::int64_t* size, std::int64_t size_len, std::int32_t* dtype,
                                        std::int32_t*, std::int32_t*, std::int32_t, std::int32_t*,
                                        AtenTensorHandle* ret) {
  return draw(size, size_len, dtype, fill_normal, ret, "aoti_torch_cpu_randn");
}

AOTITorchError aotbuild_torch_cpu_uniform(AtenTensorHandle self, double from, double to, void**,
                                          AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_uniform";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    TensorPtr out = make_contiguous(given, given.dtype);
    fill_uniform(*out, from, to, function);
    checked_result(ret, function) = out.release();
  });
}

AOTITorchError aotbuild_torch_cpu_normal_functional(AtenTensorHandle self, double mean, double std, void**,
                                                    AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_normal_functional";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    TensorPtr out = make_contiguous(given, given.dtype);
    fill_normal(*out, mean, std, function);
    checked_result(ret, function) = out.release();
  });
}

AOTITorchError aotbuild_torch_cpu_multinomial(AtenTensorHandle self, std::int64_t num_samples, std::int32_t replacement,
                                              void**, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_multinomial";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    if (given.ndim != 1 && given.ndim != 2)
      fail(function, "the input has ", given.ndim, " dimensions, expected 1 or 2");
    const std::int32_t last = given.ndim - 1;
    const std::int64_t categories = given.sizes()[last];
    if (num_samples < 1 || (replacement == 0 && num_samples > categories)) {
      fail(function, num_samples, " samples of ", categories, " categories");
    }
    const TensorPtr weights = make_contiguous(given, ScalarType::kFloat64);
    copy(*weights, given, function);
    TensorPtr out = make_reduced(given, ScalarType::kInt64, last, num_samples);
    const std::int64_t rows = given.ndim == 2 ? given.sizes()[0] : 1;
    with_generator([&](Generator& generator) {
      for (std::int64_t row = 0; row < rows; ++row) {
        double* const weight = weights->data_as<double>() + row * categories;
        std::int64_t* const chosen = out->data_as<std::int64_t>() + row * num_samples;
        for (std::int64_t i = 0; i < categories; ++i) {
          if (!(weight[i] >= 0) || std::isinf(weight[i])) fail(function, "a weight is ", weight[i]);
        }
        for (std::int64_t sample = 0; sample < num_samples; ++sample) {
          double total = 0;
          for (std::int64_t i = 0; i < categories; ++i) total += weight[i];
          if (total <= 0) fail(function, "fewer weights than samples are greater than 0");
          // The category in whose part of the total the random number falls.
          double rest = generator.uniform<double>() * total;
          std::int64_t category = -1;
          for (std::int64_t i = 0; i < categories; ++i) {
            if (weight[i] == 0) continue;
            category = i;
            rest -= weight[i];
            if (rest < 0) break;
          }
          chosen[sample] = category;
          if (replacement == 0) weight[category] = 0;
        }
      }
    });
    checked_result(ret, function) = out.release();
  });
}
