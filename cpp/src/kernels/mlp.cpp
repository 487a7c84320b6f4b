#include "kernels/mlp.hpp"

#include <omp.h>

#include <algorithm>
#include <cstddef>

#include "base/error.hpp"

namespace aotbuild::detail {

namespace {

// So many hidden values of one thread are made at a time: they stay in its caches until the second layer reads them.
constexpr std::int64_t kHiddenValues = 1 << 18;

}  // namespace

PackedMlp::PackedMlp(const MlpSpec& spec, const Tensor& first_weight, const Tensor* first_bias,
                     const Tensor& second_weight, const Tensor* second_bias, Arena& arena, PackedMatrices* embedded)
    : first_(spec.first, {&first_weight}, {first_bias}, arena, embedded),
      second_(spec.second, {&second_weight}, {second_bias}, arena, embedded) {
  if (first_.out_features() != second_.in_features()) {
    fail("PackedMlp", "weights of sizes ", format_dims(first_weight.ndim, first_weight.sizes()), " and ",
         format_dims(second_weight.ndim, second_weight.sizes()), " do not follow one another");
  }
}

void PackedMlp::run(Workspace& workspace, Tensor& input, Tensor& output) const {
  const std::int64_t stride = first_.out_features() + kRowGap;
  const auto run_rows = [&](const Rows& from, const Rows& to) {
    const std::int64_t most = std::max<std::int64_t>(1, kHiddenValues * omp_get_max_threads() / stride);
    const std::int64_t blocks = (from.count + most - 1) / most;
    const std::int64_t longest = blocks == 0 ? 0 : (from.count + blocks - 1) / blocks;
    const ScratchBuffer buffer(workspace, static_cast<std::size_t>(longest * stride) * sizeof(float));
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t row = from.count * block / blocks;
      const std::int64_t rows = from.count * (block + 1) / blocks - row;
      const Rows between{static_cast<float*>(buffer.data()), stride, rows};
      first_.run_rows(workspace, {from.data + row * from.stride, from.stride, rows}, between);
      second_.run_rows(workspace, between, {to.data + row * to.stride, to.stride, rows});
    }
  };
  run_on_rows(input, output, first_.in_features(), second_.out_features(), "context_mlp", run_rows);
}

}  // namespace aotbuild::detail
