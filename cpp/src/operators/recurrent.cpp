// The C shim: recurrent layers over weights that calls give, such as those that a model computes.
#include "kernels/recurrent.hpp"

#include <string_view>

#include "aotbuild/detail/shim.h"
#include "operators/shim_check.hpp"

using namespace aotbuild::detail;  // NOLINT: this file implements the C functions of the runtime

namespace {

RecurrentCell cell_of(const char* name, const char* function) {
  const std::string_view text = name == nullptr ? "" : name;
  if (text == "lstm") return RecurrentCell::kLstm;
  if (text == "gru") return RecurrentCell::kGru;
  if (text == "tanh") return RecurrentCell::kTanh;
  if (text == "relu") return RecurrentCell::kRelu;
  fail(function, "there is no cell '", text, "'");
}

}  // namespace

AOTITorchError aotbuild_torch_cpu_recurrent(AtenTensorHandle input, const AtenTensorHandle* state,
                                            std::int64_t state_len, const AtenTensorHandle* weights,
                                            std::int64_t weights_len, const char* cell, std::int32_t has_biases,
                                            std::int64_t num_layers, std::int32_t bidirectional,
                                            std::int32_t batch_first, AtenTensorHandle* output,
                                            AtenTensorHandle* hidden, AtenTensorHandle* cells) {
  constexpr const char* function = "aoti_torch_cpu_recurrent";
  return guarded([&] {
    std::vector<const Tensor*> given;
    for (std::int64_t i = 0; i < weights_len; ++i) given.push_back(&checked(weights[i], function, "weights"));
    const std::int64_t parts = num_layers * (bidirectional != 0 ? 2 : 1);
    const std::int64_t each = parts == 0 ? 0 : weights_len / parts;
    RecurrentSpec spec{};
    spec.cell = cell_of(cell, function);
    spec.layers = static_cast<int>(num_layers);
    spec.bidirectional = bidirectional != 0;
    spec.batch_first = batch_first != 0;
    spec.has_biases = has_biases != 0;
    spec.has_projection = each % 2 != 0;
    const std::int64_t state_count = spec.cell == RecurrentCell::kLstm ? 2 : 1;
    if (state_len != state_count) fail(function, "a state of ", state_len, " tensors does not fit the cell");
    Arena arena;
    const PackedRecurrent layer(spec, given, arena, function);
    const Tensor* const initial_cell = state_len > 1 ? &checked(state[1], function, "state") : nullptr;
    RecurrentResult result =
        layer.run(checked(input, function, "input"), checked(state[0], function, "state"), initial_cell, function);
    checked_result(output, function) = result[0].release();
    checked_result(hidden, function) = result[1].release();
    checked_result(cells, function) = result[2].release();
  });
}
