// Golden data and comparisons for the generated tests and benchmarks, which link aotbuild_testing.
#ifndef AOTBUILD_TESTING_HPP_
#define AOTBUILD_TESTING_HPP_

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aotbuild/complex.hpp"
#include "aotbuild/model.hpp"
#include "aotbuild/tensor.hpp"

namespace aotbuild::testing {
inline namespace AOTBUILD_NAMESPACE {

// The golden file of a test: the first argument if there is one, else the environment variable AOTBUILD_GOLDEN, else
// `name` beside the executable.
inline std::string find_golden_file(int argc, char** argv, const std::string& name) {
  if (argc > 1) return argv[1];
  if (const char* path = std::getenv("AOTBUILD_GOLDEN")) return path;
  const std::string executable = argc > 0 ? argv[0] : "";
  const std::size_t slash = executable.rfind('/');
  return slash == std::string::npos ? name : executable.substr(0, slash + 1) + name;
}

namespace detail {

// Of the library aotbuild_testing, which may be compiled with other flags than the test: no type of the standard
// library goes to it or comes from it, but what it throws.
class GoldenData;
struct StoredTensor {
  unsigned char* data;  // 64-byte aligned, as the first tensor of the file is
  std::size_t size;     // bytes
  std::size_t rank;
  const std::int64_t* shape;
};
// The file at `path`; throws std::runtime_error where it cannot be read.
GoldenData* read_golden(const char* path);
void free_golden(GoldenData* data) noexcept;
// Throws std::runtime_error where there is no tensor of that name in the file. It lies there as long as the data.
StoredTensor find_golden(const GoldenData& data, const char* name);

// At a multiple of 64 bytes. Never null, also of no bytes.
inline void* allocate_aligned(std::size_t nbytes) { return ::operator new(nbytes + 1, std::align_val_t{64}); }
inline void free_aligned(void* memory) { ::operator delete(memory, std::align_val_t{64}); }

template <typename T>
struct is_complex : std::false_type {};
template <typename T>
struct is_complex<std::complex<T>> : std::true_type {};
template <>
struct is_complex<complex32> : std::true_type {};

}  // namespace detail

// A result may be atol + rtol * |expected| from what is expected.
struct Tolerance {
  double rtol;  // relative
  double atol;  // absolute
};

// A safetensors file in memory, 64-byte aligned. Complex tensors are pairs of reals, one trailing dimension more.
class GoldenFile {
 public:
  // Reads the file; throws std::runtime_error where it cannot be read.
  explicit GoldenFile(const std::string& path) : path_(path), data_(detail::read_golden(path.c_str())) {}

  // The tensor of that name; throws std::runtime_error where there is none of that rank and size.
  template <typename T, std::size_t Rank>
  TensorView<T, Rank> get(const std::string& name) const {
    const detail::StoredTensor entry = find(name);
    const std::size_t stored_rank = Rank + (detail::is_complex<std::remove_const_t<T>>::value ? 1 : 0);
    if (entry.rank != stored_rank) {
      throw std::runtime_error(path_ + ": tensor " + name + " has another rank than the header");
    }
    check_size(name, entry, sizeof(T), alignof(T), Rank);
    Extents<Rank> sizes;
    for (std::size_t i = 0; i < Rank; ++i) sizes[i] = entry.shape[i];
    return {reinterpret_cast<T*>(entry.data), sizes};
  }

  // A tensor whose element type is no complex one.
  AnyTensorView get(const std::string& name, aotbuild_dtype dtype) const {
    const detail::StoredTensor entry = find(name);
    check_size(name, entry, dtype.bits / 8U, alignment_of(dtype), entry.rank);
    return {entry.data, dtype, entry.rank, entry.shape};
  }

  // How far a result may be from the tensor of that name.
  Tolerance tolerance(const std::string& name) const {
    const TensorView<const double, 1> pair = get<const double, 1>("tolerance/" + name);
    return {pair(0), pair(1)};
  }

  // How far eager PyTorch's result in the type of PRECISION is from the tensor of that name, as text.
  std::string rounded_error(const std::string& name, const std::string& type) const {
    const double error = get<const double, 1>("rounded_error/" + name)(0);
    std::ostringstream text;
    text << "; of eager PyTorch in " << type << ": ";
    if (error == error) {
      text << error;
    } else {
      text << "unknown";
    }
    return text.str();
  }

  // The weights that `info` names, stored as "weights/<name>".
  NamedTensors weights(const aotbuild_model_info& info) const {
    std::map<std::string, AnyTensorView> result;
    for (std::size_t i = 0; i < info.weight_count; ++i) {
      const aotbuild_weight_info& weight = *info.weights[i];
      const std::string name = std::string("weights/") + weight.name;
      const detail::StoredTensor entry = find(name);
      // Pairs of reals, or half as many bytes as values of four bits: the file says how many there are.
      const auto rank = static_cast<std::size_t>(weight.ndim);
      if (entry.rank < rank) throw std::runtime_error(path_ + ": tensor " + name + " has too few dimensions");
      check_size(name, entry, weight.dtype.bits / 8U, alignment_of(weight.dtype), rank);
      result.insert_or_assign(weight.name, AnyTensorView(entry.data, weight.dtype, rank, entry.shape));
    }
    return result;
  }

 private:
  struct Free {
    void operator()(detail::GoldenData* data) const { detail::free_golden(data); }
  };

  detail::StoredTensor find(const std::string& name) const { return detail::find_golden(*data_, name.c_str()); }

  static std::size_t alignment_of(aotbuild_dtype dtype) {
    return dtype.bits / (dtype.code == AOTBUILD_COMPLEX ? 16U : 8U);
  }

  // Throws unless the first `rank` sizes are of as many elements of `width` bytes as the tensor has, and where such
  // lie.
  void check_size(const std::string& name, const detail::StoredTensor& entry, std::size_t width, std::size_t alignment,
                  std::size_t rank) const {
    if (entry.size != 0 && reinterpret_cast<std::uintptr_t>(entry.data) % alignment != 0) {
      throw std::runtime_error(path_ + ": tensor " + name + " does not begin where an element can");
    }
    std::size_t expected = width;
    bool fits = true;
    for (std::size_t i = 0; i < rank; ++i) {
      const auto size = static_cast<std::size_t>(entry.shape[i]);
      fits = fits && entry.shape[i] >= 0 && (expected == 0 || size <= static_cast<std::size_t>(-1) / expected);
      expected *= size;
    }
    if (!fits || entry.size != expected) {
      throw std::runtime_error(path_ + ": tensor " + name + " has another size than its shape");
    }
  }

  std::string path_;
  std::unique_ptr<detail::GoldenData, Free> data_;
};

// A contiguous tensor of the same sizes.
template <typename T, std::size_t Rank>
Tensor<std::remove_const_t<T>, Rank> empty_like(const TensorView<T, Rank>& view) {
  using Value = std::remove_const_t<T>;
  const auto bytes = static_cast<std::size_t>(view.numel()) * sizeof(Value);
  std::shared_ptr<void> memory(detail::allocate_aligned(bytes), detail::free_aligned);
  auto* const data = static_cast<Value*>(memory.get());
  return {TensorView<Value, Rank>(data, view.sizes()), std::move(memory)};
}

// A contiguous tensor with the same values.
template <typename T, std::size_t Rank>
Tensor<std::remove_const_t<T>, Rank> copy_of(const TensorView<T, Rank>& view) {
  auto copy = empty_like(view);  // what comes from a golden file is contiguous
  std::copy_n(view.data(), static_cast<std::size_t>(view.numel()), copy.data());
  return copy;
}

// What compare() found.
struct Comparison {
  bool close;           // whether all elements are within the tolerance
  std::string message;  // the largest absolute and relative error, and where
};

namespace detail {

template <typename T>
auto widen(T value) {
  if constexpr (std::is_same_v<T, complex32>) {
    return std::complex<double>(static_cast<std::complex<float>>(value));
  } else if constexpr (is_complex<T>::value) {
    return std::complex<double>(value);
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<long double>(value);  // holds every std::int64_t
  } else if constexpr (std::is_floating_point_v<T>) {
    return static_cast<double>(value);
  } else {
    return static_cast<double>(static_cast<float>(value));
  }
}

template <std::size_t Rank>
std::string index_text(const Extents<Rank>& index) {
  std::string text = "[";
  for (std::size_t i = 0; i < Rank; ++i) text += (i > 0 ? ", " : "") + std::to_string(index[i]);
  return text + "]";
}

}  // namespace detail

// Whether |actual - expected| <= atol + rtol * |expected| everywhere, as torch.testing.assert_close has it; NaN equals
// NaN. Integers and booleans have to be equal.
template <typename T, std::size_t Rank>
Comparison compare(const TensorView<const T, Rank>& actual, const TensorView<const T, Rank>& expected, double rtol,
                   double atol) {
  if (actual.sizes() != expected.sizes()) {
    return {false, "sizes " + detail::index_text<Rank>(actual.sizes()) + ", expected " +
                       detail::index_text<Rank>(expected.sizes())};
  }
  if (std::is_integral_v<T>) rtol = atol = 0;
  double largest_absolute = 0;
  double largest_relative = 0;
  Extents<Rank> absolute_at;
  Extents<Rank> relative_at;
  std::int64_t mismatches = 0;
  Extents<Rank> index;
  const std::int64_t count = expected.numel();
  for (std::int64_t n = 0; n < count; ++n) {
    std::int64_t actual_offset = 0;
    std::int64_t expected_offset = 0;
    for (std::size_t i = 0; i < Rank; ++i) {
      actual_offset += index[i] * actual.stride(i);
      expected_offset += index[i] * expected.stride(i);
    }
    const auto a = detail::widen(actual.data()[actual_offset]);
    const auto e = detail::widen(expected.data()[expected_offset]);
    const bool both_nan = a != a && e != e;
    if (a != e && !both_nan) {
      const auto absolute = static_cast<double>(std::abs(a - e));
      const auto magnitude = static_cast<double>(std::abs(e));
      const double relative = absolute / magnitude;
      if (!(absolute <= largest_absolute)) {
        largest_absolute = absolute;
        absolute_at = index;
      }
      if (!(relative <= largest_relative)) {
        largest_relative = relative;
        relative_at = index;
      }
      if (!(absolute <= atol + rtol * magnitude) || std::isinf(absolute)) ++mismatches;
    }
    for (std::size_t i = Rank; i-- > 0;) {
      if (++index[i] < expected.size(i)) break;
      index[i] = 0;
    }
  }
  std::ostringstream message;
  if (mismatches > 0) message << mismatches << " of " << count << " elements differ; ";
  message << "largest absolute error " << largest_absolute;
  if (largest_absolute != 0) message << " at " << detail::index_text<Rank>(absolute_at);
  message << ", largest relative error " << largest_relative;
  if (largest_relative != 0) message << " at " << detail::index_text<Rank>(relative_at);
  message << " (rtol " << rtol << ", atol " << atol << ")";
  return {mismatches == 0, message.str()};
}

// The message with which a model refuses `inputs`; empty when it accepts them.
inline std::string refusal(const Model& model, const std::vector<aotbuild_tensor>& inputs, std::size_t output_count,
                           std::size_t method = 0) {
  std::vector<aotbuild_tensor> outputs(output_count);
  try {
    model.run_allocating(inputs.data(), inputs.size(), outputs.data(), outputs.size(), nullptr, method);
  } catch (const Error& error) {
    return error.status() == AOTBUILD_INVALID_ARGUMENT ? error.what() : "";
  }
  return "";
}

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild::testing

#endif  // AOTBUILD_TESTING_HPP_
