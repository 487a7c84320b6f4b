// search::Awkward: the model of the CMake target awkward, compiled ahead of time by aotbuild.
//
// n: 1 to 64
//
// Threads: any number of threads may call run(), load_weights() and set_weights() on one object at the same time. Each
// call has its own workspace, and ends with the weights that it began with. Results outlive the object.
// Errors are exceptions, aotbuild::Error, or what functions return whose names begin with try_, which throw none.
#ifndef AOTBUILD_GENERATED_AWKWARD_HPP_
#define AOTBUILD_GENERATED_AWKWARD_HPP_

#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "aotbuild/model.hpp"
#include "awkward.h"

namespace search {

class Awkward {
 public:
  struct Inputs {
    aotbuild::TensorView<const float, 2> class_;  // [2*n, n+2]
    struct State {
      aotbuild::TensorView<const aotbuild::bfloat16, 1> Inputs;  // [n]
      aotbuild::TensorView<const bool, 0> state;                 // []
    } state;
    aotbuild::TensorView<const std::complex<float>, 1> Inputs_;  // [4]
  };

  struct Outputs {
    struct Hidden {
      aotbuild::Tensor<aotbuild::float16, 1> last;  // [n]
      aotbuild::Tensor<std::int8_t, 0> int_;        // []
    } hidden;
    aotbuild::Tensor<std::complex<double>, 1> OutputViews_;  // [?]
  };

  // The caller's memory for each output.
  struct OutputViews {
    struct Hidden {
      aotbuild::TensorView<aotbuild::float16, 1> last;  // [n]
      aotbuild::TensorView<std::int8_t, 0> int_;        // []
    } hidden;
    aotbuild::TensorView<std::complex<double>, 1> OutputViews_;  // [?]
  };

  // Name, element type, rank, and the smallest and largest size of each dimension.
  AOTBUILD_HIDDEN static constexpr std::array<aotbuild::TensorMetadata<2>, 4> input_metadata = {{
      {"class", aotbuild::dtype_v<float>, 2, {{{2, 128, "2*n"}, {3, 66, "n+2"}}}},
      {"state.Inputs", aotbuild::dtype_v<aotbuild::bfloat16>, 1, {{{1, 64, "n"}}}},
      {"state.state", aotbuild::dtype_v<bool>, 0, {}},
      {"Inputs", aotbuild::dtype_v<std::complex<float>>, 1, {{{4, 4, nullptr}}}},
  }};
  AOTBUILD_HIDDEN static constexpr std::array<aotbuild::TensorMetadata<1>, 3> output_metadata = {{
      {"hidden.last", aotbuild::dtype_v<aotbuild::float16>, 1, {{{1, 64, "n"}}}},
      {"hidden.int", aotbuild::dtype_v<std::int8_t>, 0, {}},
      {"OutputViews", aotbuild::dtype_v<std::complex<double>>, 1, {{{0, 9, "?"}}}},
  }};
  AOTBUILD_HIDDEN static constexpr std::size_t weight_count = 0;

#if AOTBUILD_EXCEPTIONS
  // What throws aotbuild::Error. Code that is compiled without exceptions has the functions after these.
  explicit Awkward(const aotbuild::Options& options = {})
      : Awkward(aotbuild::detail::value_or_throw(try_create(options))) {}

  Outputs run(const Inputs& inputs) const { return aotbuild::detail::value_or_throw(try_run(inputs)); }

  // Every size of an output has to be the one that this call gives.
  void run(const Inputs& inputs, const OutputViews& outputs) const {
    aotbuild::detail::throw_unless_ok(try_run(inputs, outputs));
  }

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
  static aotbuild::Expected<Awkward> try_create(const aotbuild::Options& options = {}) {
    auto model = aotbuild::Model::try_create(*awkward_api(), options);
    if (!model) return model.status();
    return Awkward(*std::move(model));
  }

  aotbuild::Expected<Outputs> try_run(const Inputs& inputs) const {
    auto results = model_.try_run<3>({
        inputs.class_.c_tensor(),
        inputs.state.Inputs.c_tensor(),
        inputs.state.state.c_tensor(),
        inputs.Inputs_.c_tensor(),
    });
    if (!results) return results.status();
    return results->checked(Outputs{
        {results->get<aotbuild::float16, 1>(0), results->get<std::int8_t, 0>(1)},
        results->get<std::complex<double>, 1>(2),
    });
  }

  aotbuild::Status try_run(const Inputs& inputs, const OutputViews& outputs) const {
    return model_.try_run_into(
        {
            inputs.class_.c_tensor(),
            inputs.state.Inputs.c_tensor(),
            inputs.state.state.c_tensor(),
            inputs.Inputs_.c_tensor(),
        },
        {outputs.hidden.last.c_tensor(), outputs.hidden.int_.c_tensor(), outputs.OutputViews_.c_tensor()});
  }

  aotbuild::Status try_manual_seed(std::uint64_t seed) { return model_.try_manual_seed(seed); }

  aotbuild::Status try_load_weights(const std::string& path) { return model_.try_load_weights(path); }

  aotbuild::Status try_set_weights(const std::map<std::string, aotbuild::AnyTensorView>& weights) {
    return model_.try_set_weights(weights);
  }

  static const aotbuild_model_info& info() { return *awkward_describe(); }

  // The same model with inputs and outputs as arrays of aotbuild_tensor.
  const aotbuild::Model& untyped() const { return model_; }

 private:
  explicit Awkward(aotbuild::Model model) : model_(std::move(model)) {}

  aotbuild::Model model_;
};

}  // namespace search

#endif  // AOTBUILD_GENERATED_AWKWARD_HPP_
