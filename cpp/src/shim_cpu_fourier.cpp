// The C shim: discrete Fourier transforms, computed in double precision.
#include <algorithm>
#include <cmath>
#include <complex>
#include <vector>

#include "aotbuild/detail/shim.h"
#include "copy.hpp"
#include "lines.hpp"
#include "shim_check.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

using Complex = std::complex<double>;
using Signal = std::vector<Complex>;

std::size_t smallest_factor(std::size_t n) {
  for (std::size_t p = 2; p * p <= n; ++p) {
    if (n % p == 0) return p;
  }
  return n;
}

std::size_t largest_factor(std::size_t n) {
  std::size_t largest = 1;
  for (; n > 1; n /= smallest_factor(n)) largest = std::max(largest, smallest_factor(n));
  return largest;
}

// Transforms of one length. Lengths of small prime factors are split by them (Cooley and Tukey, 1965); any other length
// becomes a convolution whose length is a power of two (Bluestein, 1970).
class FourierTransform {
 public:
  FourierTransform(std::size_t length, bool forward) : length_(length), sign_(forward ? -1 : 1) {
    if (largest_factor(length) > kLargestRadix) {
      make_chirp();
      return;
    }
    roots_.resize(length);
    for (std::size_t k = 0; k < length; ++k) roots_[k] = root(k, length);
  }

  Signal operator()(const Signal& input) const {
    Signal output(length_);
    if (chirp_.empty()) {
      split(input.data(), 1, output.data(), length_);
      return output;
    }
    const std::size_t padded = chirp_spectrum_.size();
    Signal product(padded);
    for (std::size_t k = 0; k < length_; ++k) product[k] = input[k] * chirp_[k];
    product = FourierTransform(padded, true)(product);
    for (std::size_t k = 0; k < padded; ++k) product[k] *= chirp_spectrum_[k];
    product = FourierTransform(padded, false)(product);
    for (std::size_t k = 0; k < length_; ++k) output[k] = product[k] * chirp_[k] / static_cast<double>(padded);
    return output;
  }

 private:
  static constexpr std::size_t kLargestRadix = 31;

  Complex root(std::size_t k, std::size_t n) const {
    return std::polar(1.0, sign_ * 2 * 3.14159265358979323846 * static_cast<double>(k) / static_cast<double>(n));
  }

  void make_chirp() {
    std::size_t padded = 1;
    while (padded < 2 * length_ - 1) padded *= 2;
    chirp_.resize(length_);
    chirp_spectrum_.assign(padded, 0);
    for (std::size_t k = 0; k < length_; ++k) {
      chirp_[k] = root(k * k % (2 * length_), 2 * length_);
      chirp_spectrum_[k] = std::conj(chirp_[k]);
      if (k != 0) chirp_spectrum_[padded - k] = chirp_spectrum_[k];
    }
    chirp_spectrum_ = FourierTransform(padded, true)(chirp_spectrum_);
  }

  // The transform of `n` elements that lie `stride` apart, and `n * stride` is the whole length.
  void split(const Complex* input, std::size_t stride, Complex* output, std::size_t n) const {
    if (n == 1) {
      output[0] = input[0];
      return;
    }
    const std::size_t radix = smallest_factor(n);
    const std::size_t part = n / radix;
    for (std::size_t r = 0; r < radix; ++r) split(input + r * stride, stride * radix, output + r * part, part);
    std::array<Complex, kLargestRadix> terms;
    for (std::size_t k = 0; k < part; ++k) {
      for (std::size_t r = 0; r < radix; ++r) terms[r] = output[r * part + k] * roots_[r * k * stride];
      for (std::size_t q = 0; q < radix; ++q) {
        Complex sum = terms[0];
        for (std::size_t r = 1; r < radix; ++r) sum += terms[r] * roots_[r * q * part * stride % length_];
        output[q * part + k] = sum;
      }
    }
  }

  std::size_t length_;
  int sign_;
  Signal roots_;
  Signal chirp_;
  Signal chirp_spectrum_;
};

// The numbers of at::native::fft_norm_mode.
double normalization_factor(std::int64_t mode, double count, const char* function) {
  if (mode == 0) return 1;
  if (mode == 1) return 1 / std::sqrt(count);
  if (mode == 2) return 1 / count;
  fail(function, "normalization ", mode, " is unknown");
}

std::vector<std::int32_t> transformed_dims(const Tensor& self, const std::int64_t* dims, std::int64_t count,
                                           const char* function) {
  if (count > 0 && dims == nullptr) fail(function, "dim is null");
  std::vector<std::int32_t> result;
  for (std::int64_t i = 0; i < count; ++i) result.push_back(checked_dim(dims[i], self.ndim, function));
  return result;
}

TensorPtr as_complex_double(const Tensor& tensor, const char* function) {
  TensorPtr result = make_contiguous(tensor, ScalarType::kComplex128);
  copy(*result, tensor, function);
  return result;
}

TensorPtr with_dtype(const Tensor& tensor, ScalarType dtype, const char* function) {
  TensorPtr result = make_contiguous(tensor, dtype);
  copy(*result, tensor, function);
  return result;
}

ScalarType complex_of(const Tensor& tensor, const char* function) {
  switch (tensor.dtype) {
    case ScalarType::kFloat32:
    case ScalarType::kComplex64:
      return ScalarType::kComplex64;
    case ScalarType::kFloat64:
    case ScalarType::kComplex128:
      return ScalarType::kComplex128;
    default:
      fail(function, "element type ", dtype_name(tensor.dtype), " is not supported");
  }
}

// Transforms a contiguous complex128 tensor in place along one dimension, times `factor`.
void transform(Tensor& tensor, std::int32_t dim, bool forward, double factor) {
  const std::int64_t length = length_along(tensor, dim);
  if (length == 0) return;
  const FourierTransform fourier(static_cast<std::size_t>(length), forward);
  Signal signal(static_cast<std::size_t>(length));
  for_each_line<1>({&tensor}, dim, [&](const std::array<char*, 1>& starts) {
    const Line<Complex> line(starts[0], stride_along(tensor, dim));
    for (std::int64_t i = 0; i < length; ++i) signal[static_cast<std::size_t>(i)] = line[i];
    const Signal result = fourier(signal);
    for (std::int64_t i = 0; i < length; ++i) line[i] = result[static_cast<std::size_t>(i)] * factor;
  });
}

void transform_all(Tensor& tensor, const std::vector<std::int32_t>& dims, bool forward) {
  for (const std::int32_t dim : dims) transform(tensor, dim, forward, 1);
}

double count_of(const Tensor& tensor, const std::vector<std::int32_t>& dims) {
  double count = 1;
  for (const std::int32_t dim : dims) count *= static_cast<double>(length_along(tensor, dim));
  return count;
}

void scale(Tensor& tensor, double factor) {
  if (factor == 1) return;
  Complex* const first = tensor.data_as<Complex>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) first[i] *= factor;
}

// The first `kept` elements of each line.
TensorPtr front_of(const Tensor& tensor, std::int32_t dim, std::int64_t kept, ScalarType dtype, const char* function) {
  TensorPtr result = make_reduced(tensor, dtype, dim, kept);
  const TensorPtr view = make_view(tensor, tensor.dtype, tensor.ndim, result->sizes(), tensor.strides(), tensor.offset);
  copy(*result, *view, function);
  return result;
}

}  // namespace

AOTITorchError aotbuild_torch_cpu__fft_c2c(AtenTensorHandle self, const std::int64_t* dim, std::int64_t dim_len,
                                           std::int64_t normalization, std::int32_t forward, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu__fft_c2c";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const std::vector<std::int32_t> dims = transformed_dims(given, dim, dim_len, function);
    const TensorPtr work = as_complex_double(given, function);
    transform_all(*work, dims, forward != 0);
    scale(*work, normalization_factor(normalization, count_of(given, dims), function));
    checked_result(ret, function) = with_dtype(*work, complex_of(given, function), function).release();
  });
}

AOTITorchError aotbuild_torch_cpu__fft_r2c(AtenTensorHandle self, const std::int64_t* dim, std::int64_t dim_len,
                                           std::int64_t normalization, std::int32_t onesided, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu__fft_r2c";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    const std::vector<std::int32_t> dims = transformed_dims(given, dim, dim_len, function);
    if (dims.empty()) fail(function, "dim is empty");
    const TensorPtr work = as_complex_double(given, function);
    transform_all(*work, dims, true);
    scale(*work, normalization_factor(normalization, count_of(given, dims), function));
    const std::int64_t length = length_along(given, dims.back());
    const std::int64_t kept = onesided != 0 ? length / 2 + 1 : length;
    checked_result(ret, function) = front_of(*work, dims.back(), kept, complex_of(given, function), function).release();
  });
}

AOTITorchError aotbuild_torch_cpu__fft_c2r(AtenTensorHandle self, const std::int64_t* dim, std::int64_t dim_len,
                                           std::int64_t normalization, std::int64_t last_dim_size,
                                           AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu__fft_c2r";
  return guarded([&] {
    const Tensor& given = checked(self, function, "self");
    std::vector<std::int32_t> dims = transformed_dims(given, dim, dim_len, function);
    if (dims.empty()) fail(function, "dim is empty");
    const std::int32_t last = dims.back();
    dims.pop_back();
    const std::int64_t half = length_along(given, last);
    if (last_dim_size < 1 || last_dim_size / 2 + 1 != half) {
      fail(function, "a spectrum of ", half, " values is none of ", last_dim_size, " real ones");
    }
    const TensorPtr spectrum = as_complex_double(given, function);
    transform_all(*spectrum, dims, false);
    const double count = count_of(given, dims) * static_cast<double>(last_dim_size);
    const double factor = normalization_factor(normalization, count, function);
    const ScalarType real =
        complex_of(given, function) == ScalarType::kComplex64 ? ScalarType::kFloat32 : ScalarType::kFloat64;
    TensorPtr out = make_reduced(given, real, last, last_dim_size);
    const FourierTransform fourier(static_cast<std::size_t>(last_dim_size), false);
    Signal signal(static_cast<std::size_t>(last_dim_size));
    dispatch_real(real, function, [&](auto tag) {
      using T = typename decltype(tag)::type;
      for_each_line<2>({out.get(), spectrum.get()}, last, [&](const std::array<char*, 2>& starts) {
        const Line<T> target(starts[0], stride_along(*out, last));
        const Line<Complex> line(starts[1], stride_along(*spectrum, last));
        for (std::int64_t i = 0; i < last_dim_size; ++i) {  // the other half mirrors the first
          signal[static_cast<std::size_t>(i)] = i < half ? line[i] : std::conj(line[last_dim_size - i]);
        }
        const Signal result = fourier(signal);
        for (std::int64_t i = 0; i < last_dim_size; ++i) {
          target[i] = convert<T>(result[static_cast<std::size_t>(i)].real() * factor);
        }
      });
    });
    checked_result(ret, function) = out.release();
  });
}
