// The C shim: products of groups of rows with one matrix each, as mixtures of experts have them.
#include <complex>

#include "aotbuild/detail/shim.h"
#include "kernels/matmul.hpp"
#include "operators/shim_check.hpp"
#include "tensor/copy.hpp"
#include "tensor/lines.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

// transformers::grouped_mm_fallback: rows up to offs[0] times weight[0], those up to offs[1] times weight[1], ...
AOTITorchError aotbuild_torch_cpu_grouped_mm_fallback(AtenTensorHandle input, AtenTensorHandle weight,
                                                      AtenTensorHandle offs, AtenTensorHandle* ret) {
  constexpr const char* function = "aoti_torch_cpu_grouped_mm_fallback";
  return guarded([&] {
    const Tensor& rows = checked(input, function, "input");
    const Tensor& matrices = checked(weight, function, "weight");
    const Tensor& ends = checked(offs, function, "offs");
    if (rows.ndim != 2 || matrices.ndim != 3 || rows.sizes()[1] != matrices.sizes()[1] || ends.ndim != 1 ||
        ends.sizes()[0] != matrices.sizes()[0]) {
      fail(function, "input of sizes ", format_dims(rows.ndim, rows.sizes()), ", weight of sizes ",
           format_dims(matrices.ndim, matrices.sizes()), " and ", ends.numel(), " offsets do not fit together");
    }
    const TensorPtr limits = make_contiguous(ends, ScalarType::kInt64);
    copy(*limits, ends, function);
    const std::int64_t sizes[] = {rows.sizes()[0], matrices.sizes()[2]};
    TensorPtr out = make_tensor(rows.dtype, 2, sizes, nullptr);
    const std::complex<double> zero = 0;
    fill(*out, &zero, function);  // rows beyond the last group
    std::int64_t begin = 0;
    for (std::int64_t group = 0; group < matrices.sizes()[0]; ++group) {
      const std::int64_t end = limits->data_as<std::int64_t>()[group];
      if (end < begin || end > sizes[0]) fail(function, "offs must rise, and not beyond ", sizes[0], " rows");
      if (end > begin) {
        const auto part = [&](const Tensor& tensor) {
          const std::int64_t part_sizes[] = {end - begin, tensor.sizes()[1]};
          return make_view(tensor, tensor.dtype, 2, part_sizes, tensor.strides(),
                           tensor.offset + begin * tensor.strides()[0]);
        };
        const TensorPtr matrix = make_view(matrices, matrices.dtype, 2, matrices.sizes() + 1, matrices.strides() + 1,
                                           matrices.offset + group * matrices.strides()[0]);
        const TensorPtr target = part(*out);
        matmul(*target, *part(rows), *matrix, nullptr, 1, 0, function);
      }
      begin = end;
    }
    checked_result(ret, function) = out.release();
  });
}
