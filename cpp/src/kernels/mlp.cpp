#include "kernels/mlp.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "kernels/packing.hpp"

namespace aotbuild::detail {

PackedMlp::PackedMlp(const MlpSpec& spec, const Tensor& first_weight, const Tensor* first_bias,
                     const Tensor& second_weight, const Tensor* second_bias, Arena& arena, PackedMatrices* embedded)
    : is_packed_(true) {
  if (first_weight.ndim != 2 || second_weight.ndim != 2 || first_weight.sizes()[0] != second_weight.sizes()[1]) {
    fail("PackedMlp", "weights of sizes ", format_dims(first_weight.ndim, first_weight.sizes()), " and ",
         format_dims(second_weight.ndim, second_weight.sizes()), " do not follow one another");
  }
  const std::int64_t hidden = first_weight.sizes()[0];
  for (std::int64_t first = 0; first < hidden; first += kHiddenBlock) {
    const std::int64_t features = std::min(kHiddenBlock, hidden - first);
    const bool is_first = first == 0;
    const bool is_last = first + features == hidden;
    const TensorPtr rows = slice(first_weight, 0, first, features);
    const TensorPtr rows_bias = first_bias != nullptr ? slice(*first_bias, 0, first, features) : nullptr;
    const TensorPtr columns = slice(second_weight, 1, first, features);
    LinearSpec second = spec.second;
    if (!is_last) second.activation = Activation::kNone;
    blocks_.push_back(
        {features, BlockedLinear(spec.first, {rows.get()}, {rows_bias.get()}, arena, embedded),
         PackedLinear(second, {columns.get()}, {is_first ? second_bias : nullptr}, !is_first, arena, embedded)});
    is_packed_ = is_packed_ && blocks_.back().first.is_packed() && blocks_.back().second.is_packed();
  }
}

void PackedMlp::run(Workspace& workspace, Tensor& input, Tensor& output) const {
  std::vector<std::int64_t> sizes(input.sizes(), input.sizes() + input.ndim);
  const std::vector<TensorPtr> parts = blocks_.at(0).first.split(input);
  for (const Block& block : blocks_) {
    sizes.back() = block.features;
    const TensorPtr hidden = make_tensor(input.dtype, input.ndim, sizes.data(), nullptr);
    block.first.run_split(workspace, input, parts, *hidden);
    block.second.run(workspace, *hidden, output);
  }
}

}  // namespace aotbuild::detail
