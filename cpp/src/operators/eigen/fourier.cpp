// The C shim: discrete Fourier transforms, computed in double precision by Eigen (kissfft).
#include <algorithm>
#include <cmath>
#include <complex>
#include <vector>

#include "operators/eigen/linalg.hpp"

// After linalg.hpp, which renames Eigen's namespace.
#include <unsupported/Eigen/FFT>

using namespace aotbuild::detail::eigen;  // NOLINT: this file implements C functions

namespace {

using Complex = std::complex<double>;
using Signal = std::vector<Complex>;

std::size_t largest_factor(std::size_t n) {
  std::size_t largest = 1;
  for (std::size_t p = 2; n > 1; ++p) {
    if (p * p > n) p = n;
    for (; n % p == 0; n /= p) largest = p;
  }
  return largest;
}

// Transforms of one length. The library takes time by the square of a prime factor, so a length with a large one
// becomes a convolution whose length is a power of two (Bluestein, 1970).
class FourierTransform {
 public:
  FourierTransform(std::size_t length, bool forward) : length_(length), forward_(forward) {
    fft_.SetFlag(Eigen::FFT<double>::Unscaled);
    if (largest_factor(length) > kLargestFactor) make_chirp();
  }

  Signal operator()(const Signal& input) {
    if (chirp_.empty()) return transformed(input, forward_);
    Signal product(chirp_spectrum_.size());
    for (std::size_t k = 0; k < length_; ++k) product[k] = input[k] * chirp_[k];
    product = transformed(product, true);
    for (std::size_t k = 0; k < product.size(); ++k) product[k] *= chirp_spectrum_[k];
    product = transformed(product, false);
    Signal output(length_);
    const auto padded = static_cast<double>(product.size());
    for (std::size_t k = 0; k < length_; ++k) output[k] = product[k] * chirp_[k] / padded;
    return output;
  }

 private:
  static constexpr std::size_t kLargestFactor = 31;

  Signal transformed(const Signal& input, bool forward) {
    if (input.size() == 1) return input;  // the library reads the factors of a length, and 1 has none
    Signal output(input.size());
    const auto length = static_cast<Eigen::Index>(input.size());
    if (forward) {
      fft_.fwd(output.data(), input.data(), length);
    } else {
      fft_.inv(output.data(), input.data(), length);
    }
    return output;
  }

  void make_chirp() {
    std::size_t padded = 1;
    while (padded < 2 * length_ - 1) padded *= 2;
    chirp_.resize(length_);
    chirp_spectrum_.assign(padded, 0);
    const double step = (forward_ ? -1 : 1) * 3.14159265358979323846 / static_cast<double>(length_);
    for (std::size_t k = 0; k < length_; ++k) {
      chirp_[k] = std::polar(1.0, step * static_cast<double>(k * k % (2 * length_)));
      chirp_spectrum_[k] = std::conj(chirp_[k]);
      if (k != 0) chirp_spectrum_[padded - k] = chirp_spectrum_[k];
    }
    chirp_spectrum_ = transformed(chirp_spectrum_, true);
  }

  const std::size_t length_;
  const bool forward_;
  Eigen::FFT<double> fft_;
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

// The transformed dimensions, counted from the front. A tensor of no dimensions counts as one of one.
Sizes transformed_dims(const Array& self, const std::int64_t* dims, std::int64_t count, const char* function) {
  if (count > 0 && dims == nullptr) fail(function, "dim is null");
  const std::int64_t ndim = std::max<std::int64_t>(self.ndim(), 1);
  Sizes result;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t dim = dims[i] < 0 ? dims[i] + ndim : dims[i];
    if (dim < 0 || dim >= ndim) fail(function, "dimension ", dims[i], " of a tensor of ", ndim, " dimensions");
    result.push_back(dim);
  }
  return result;
}

std::int32_t complex_type(const Array& array, const char* function) {
  switch (array.dtype()) {
    case AOTBUILD_KERNEL_FLOAT32:
    case AOTBUILD_KERNEL_COMPLEX64:
      return AOTBUILD_KERNEL_COMPLEX64;
    case AOTBUILD_KERNEL_FLOAT64:
    case AOTBUILD_KERNEL_COMPLEX128:
      return AOTBUILD_KERNEL_COMPLEX128;
    default:
      fail(function, "element type ", array.dtype(), " is not supported");
  }
}

std::int64_t length_along(const Array& array, std::int64_t dim) { return array.ndim() == 0 ? 1 : array.size(dim); }

// Calls `body(first, stride)` for each line of a row-major array along a dimension, with indices of elements.
template <typename Body>
void for_each_line(const Array& array, std::int64_t dim, Body&& body) {
  const std::int64_t length = length_along(array, dim);
  std::int64_t stride = 1;
  for (std::int64_t d = dim + 1; d < array.ndim(); ++d) stride *= array.size(d);
  const std::int64_t count = length == 0 ? 0 : array.numel() / length;
  for (std::int64_t line = 0; line < count; ++line) body(line / stride * stride * length + line % stride, stride);
}

// Transforms a row-major complex128 array in place along one dimension.
void transform(const Array& array, std::int64_t dim, bool forward) {
  const std::int64_t length = length_along(array, dim);
  if (length == 0) return;
  FourierTransform fourier(static_cast<std::size_t>(length), forward);
  Signal signal(static_cast<std::size_t>(length));
  for_each_line(array, dim, [&](std::int64_t first, std::int64_t stride) {
    Complex* const line = array.data<Complex>() + first;
    for (std::int64_t i = 0; i < length; ++i) signal[static_cast<std::size_t>(i)] = line[i * stride];
    const Signal result = fourier(signal);
    for (std::int64_t i = 0; i < length; ++i) line[i * stride] = result[static_cast<std::size_t>(i)];
  });
}

void transform_all(const Array& array, const Sizes& dims, bool forward) {
  for (const std::int64_t dim : dims) transform(array, dim, forward);
}

double count_along(const Array& array, const Sizes& dims) {
  double count = 1;
  for (const std::int64_t dim : dims) count *= static_cast<double>(length_along(array, dim));
  return count;
}

void scale(const Array& array, double factor) {
  if (factor == 1) return;
  Complex* const first = array.data<Complex>();
  for (std::int64_t i = 0; i < array.numel(); ++i) first[i] *= factor;
}

}  // namespace

AOTITorchError aotbuild_torch_cpu__fft_c2c(AtenTensorHandle self, const std::int64_t* dim, std::int64_t dim_len,
                                           std::int64_t normalization, std::int32_t forward, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu__fft_c2c";
  return guarded([&] {
    const Array given(self, function, "self");
    const Sizes dims = transformed_dims(given, dim, dim_len, function);
    const OwnedArray work = converted(given, kComplexDouble);
    transform_all(work, dims, forward != 0);
    scale(work, normalization_factor(normalization, count_along(given, dims), function));
    give(ret, work, complex_type(given, function), function);
  });
}

AOTITorchError aotbuild_torch_cpu__fft_r2c(AtenTensorHandle self, const std::int64_t* dim, std::int64_t dim_len,
                                           std::int64_t normalization, std::int32_t onesided, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu__fft_r2c";
  return guarded([&] {
    const Array given(self, function, "self");
    const Sizes dims = transformed_dims(given, dim, dim_len, function);
    if (dims.empty()) fail(function, "dim is empty");
    const OwnedArray work = converted(given, kComplexDouble);
    transform_all(work, dims, true);
    scale(work, normalization_factor(normalization, count_along(given, dims), function));
    Sizes sizes = given.sizes();
    const Sizes strides = row_major(sizes);
    if (onesided != 0 && given.ndim() != 0) {  // the first elements of each line
      std::int64_t& last = sizes[static_cast<std::size_t>(dims.back())];
      last = last / 2 + 1;
    }
    give(ret, viewed(work, sizes, strides), complex_type(given, function), function);
  });
}

AOTITorchError aotbuild_torch_cpu__fft_c2r(AtenTensorHandle self, const std::int64_t* dim, std::int64_t dim_len,
                                           std::int64_t normalization, std::int64_t last_dim_size,
                                           AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu__fft_c2r";
  return guarded([&] {
    const Array given(self, function, "self");
    Sizes dims = transformed_dims(given, dim, dim_len, function);
    if (dims.empty()) fail(function, "dim is empty");
    const std::int64_t last = dims.back();
    dims.pop_back();
    const std::int64_t half = length_along(given, last);
    if (last_dim_size < 1 || last_dim_size / 2 + 1 != half) {
      fail(function, "a spectrum of ", half, " values is none of ", last_dim_size, " real ones");
    }
    const OwnedArray spectrum = converted(given, kComplexDouble);
    transform_all(spectrum, dims, false);
    const double count = count_along(given, dims) * static_cast<double>(last_dim_size);
    const double factor = normalization_factor(normalization, count, function);
    Sizes sizes = given.sizes();
    if (given.ndim() != 0) sizes[static_cast<std::size_t>(last)] = last_dim_size;
    const OwnedArray out(kDouble, sizes);
    FourierTransform fourier(static_cast<std::size_t>(last_dim_size), false);
    Signal signal(static_cast<std::size_t>(last_dim_size));
    for_each_line(spectrum, last, [&](std::int64_t first, std::int64_t stride) {
      const Complex* const line = spectrum.data<Complex>() + first;
      for (std::int64_t i = 0; i < last_dim_size; ++i) {  // the other half mirrors the first
        signal[static_cast<std::size_t>(i)] =
            i < half ? line[i * stride] : std::conj(line[(last_dim_size - i) * stride]);
      }
      const Signal result = fourier(signal);
      const std::int64_t before = first / (stride * half) * stride * last_dim_size + first % stride;
      double* const target = out.data<double>() + before;
      for (std::int64_t i = 0; i < last_dim_size; ++i) {
        target[i * stride] = result[static_cast<std::size_t>(i)].real() * factor;
      }
    });
    const bool is_single = complex_type(given, function) == AOTBUILD_KERNEL_COMPLEX64;
    give(ret, out, is_single ? std::int32_t{AOTBUILD_KERNEL_FLOAT32} : kDouble, function);
  });
}
