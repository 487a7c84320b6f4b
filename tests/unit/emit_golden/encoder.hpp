// search::Encoder: the model of the CMake target encoder, compiled ahead of time by aotbuild.
//
// batch: 1 to 64
// seq: 1 to 512
//
// Calls write to buffers, which persist from call to call. Each session has its own:
// new_session() makes one over the same weights. Calls of one session come one after the other, those of different
// sessions run at the same time. Results outlive the object.
// Errors are exceptions, aotbuild::Error, or what functions return whose names begin with try_, which throw none.
#ifndef AOTBUILD_GENERATED_ENCODER_HPP_
#define AOTBUILD_GENERATED_ENCODER_HPP_

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
  AOTBUILD_HIDDEN static constexpr std::array<aotbuild::TensorMetadata<2>, 2> input_metadata = {{
      {"input_ids", aotbuild::dtype_v<std::int64_t>, 2, {{{1, 64, "batch"}, {1, 512, "seq"}}}},
      {"attention_mask", aotbuild::dtype_v<std::int64_t>, 2, {{{1, 64, "batch"}, {1, 512, "seq"}}}},
  }};
  AOTBUILD_HIDDEN static constexpr std::array<aotbuild::TensorMetadata<2>, 1> output_metadata = {{
      {"output", aotbuild::dtype_v<float>, 2, {{{1, 64, "batch"}, {2, 2, nullptr}}}},
  }};
  AOTBUILD_HIDDEN static constexpr std::size_t weight_count = 3;

#if AOTBUILD_EXCEPTIONS
  // What throws aotbuild::Error. Code that is compiled without exceptions has the functions after these.
  explicit Encoder(const aotbuild::Options& options = {})
      : Encoder(aotbuild::detail::value_or_throw(try_create(options))) {}

  Outputs run(const Inputs& inputs) const { return aotbuild::detail::value_or_throw(try_run(inputs)); }

  // Every size of an output has to be the one that this call gives.
  void run(const Inputs& inputs, const OutputViews& outputs) const {
    aotbuild::detail::throw_unless_ok(try_run(inputs, outputs));
  }

  // An object over the same weights whose state is as it is in the beginning. Either may be destroyed first.
  Encoder new_session() const { return aotbuild::detail::value_or_throw(try_new_session()); }

  // The random numbers of the calls that follow are those of torch.compile's code after torch.manual_seed(seed).
  void manual_seed(std::uint64_t seed) { aotbuild::detail::throw_unless_ok(try_manual_seed(seed)); }

  // Takes a safetensors checkpoint of the same architecture. Calls in flight end with the weights before it.
  void load_weights(const std::string& path) { aotbuild::detail::throw_unless_ok(try_load_weights(path)); }

  // Takes tensors by their state_dict names. Their memory is borrowed and has to outlive this object.
  void set_weights(const std::map<std::string, aotbuild::AnyTensorView>& weights) {
    aotbuild::detail::throw_unless_ok(try_set_weights(weights));
  }
#endif

  // The same, with a status where the functions above throw.
  static aotbuild::Expected<Encoder> try_create(const aotbuild::Options& options = {}) {
    auto model = aotbuild::Model::try_create(*encoder_api(), options);
    if (!model) return model.status();
    return Encoder(*std::move(model));
  }

  aotbuild::Expected<Outputs> try_run(const Inputs& inputs) const {
    auto results = model_.try_run<1>({inputs.input_ids.c_tensor(), inputs.attention_mask.c_tensor()});
    if (!results) return results.status();
    return results->checked(Outputs{results->get<float, 2>(0)});
  }

  aotbuild::Status try_run(const Inputs& inputs, const OutputViews& outputs) const {
    return model_.try_run_into({inputs.input_ids.c_tensor(), inputs.attention_mask.c_tensor()},
                               {outputs.output.c_tensor()});
  }

  aotbuild::Expected<Encoder> try_new_session() const {
    auto session = model_.try_new_session();
    if (!session) return session.status();
    return Encoder(*std::move(session));
  }

  aotbuild::Status try_manual_seed(std::uint64_t seed) { return model_.try_manual_seed(seed); }

  aotbuild::Status try_load_weights(const std::string& path) { return model_.try_load_weights(path); }

  aotbuild::Status try_set_weights(const std::map<std::string, aotbuild::AnyTensorView>& weights) {
    return model_.try_set_weights(weights);
  }

  static const aotbuild_model_info& info() { return *encoder_describe(); }

  // The same model with inputs and outputs as arrays of aotbuild_tensor.
  const aotbuild::Model& untyped() const { return model_; }

 private:
  explicit Encoder(aotbuild::Model model) : model_(std::move(model)) {}

  aotbuild::Model model_;
};

}  // namespace search

#endif  // AOTBUILD_GENERATED_ENCODER_HPP_
