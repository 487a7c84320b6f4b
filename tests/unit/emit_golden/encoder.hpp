// search::Encoder: the model of the CMake target encoder, compiled ahead of time by aotbuild.
//
// batch: 1 to 64
// seq: 1 to 512
//
// Calls write to buffers, which persist from call to call. Each session has its own:
// new_session() makes one over the same weights. Calls of one session come one after the other, those of different
// sessions run at the same time. Results outlive the object.
// Errors are exceptions, aotbuild::Error.
#ifndef ENCODER_HPP_
#define ENCODER_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "aotbuild/model.hpp"
#include "encoder.h"

namespace search {

class Encoder {
 public:
  struct Inputs {
    aotbuild::TensorView<const std::int64_t, 2> input_ids;       // [batch, seq]
    aotbuild::TensorView<const std::int64_t, 2> attention_mask;  // [batch, seq]
  };

  struct Outputs {
    aotbuild::Tensor<float, 2> output;  // [batch, 2]
  };

  // The caller's memory for each output.
  struct OutputViews {
    aotbuild::TensorView<float, 2> output;  // [batch, 2]
  };

  // Name, element type, rank, and the smallest and largest size of each dimension.
  static constexpr std::array<aotbuild::TensorMetadata<2>, 2> input_metadata = {{
      {"input_ids", aotbuild::dtype_v<std::int64_t>, 2, {{{1, 64, "batch"}, {1, 512, "seq"}}}},
      {"attention_mask", aotbuild::dtype_v<std::int64_t>, 2, {{{1, 64, "batch"}, {1, 512, "seq"}}}},
  }};
  static constexpr std::array<aotbuild::TensorMetadata<2>, 1> output_metadata = {{
      {"output", aotbuild::dtype_v<float>, 2, {{{1, 64, "batch"}, {2, 2, nullptr}}}},
  }};
  static constexpr std::size_t weight_count = 3;

  explicit Encoder(const aotbuild::Options& options = {}) : model_(*encoder_api(), options) {}

  Outputs run(const Inputs& inputs) const {
    const auto results = model_.run<1>({inputs.input_ids.c_tensor(), inputs.attention_mask.c_tensor()});
    return {results.get<float, 2>(0)};
  }

  // Every size of an output has to be the one that this call gives.
  void run(const Inputs& inputs, const OutputViews& outputs) const {
    model_.run({inputs.input_ids.c_tensor(), inputs.attention_mask.c_tensor()}, {outputs.output.c_tensor()});
  }

  // An object over the same weights whose state is as it is in the beginning. Either may be destroyed first.
  Encoder new_session() const { return Encoder(model_.new_session()); }

  // The random numbers of the calls that follow are those of torch.compile's code after torch.manual_seed(seed).
  void manual_seed(std::uint64_t seed) { model_.manual_seed(seed); }

  // Takes a safetensors checkpoint of the same architecture. Calls in flight end with the weights before it.
  void load_weights(const std::string& path) { model_.load_weights(path); }

  // Takes tensors by their state_dict names. Their memory is borrowed and has to outlive this object.
  void set_weights(const std::map<std::string, aotbuild::AnyTensorView>& weights) { model_.set_weights(weights); }

  static const aotbuild_model_info& info() { return *encoder_describe(); }

  // The same model with inputs and outputs as arrays of aotbuild_tensor.
  const aotbuild::Model& untyped() const { return model_; }

 private:
  explicit Encoder(aotbuild::Model model) : model_(std::move(model)) {}

  aotbuild::Model model_;
};

}  // namespace search

#endif  // ENCODER_HPP_
