// The model object behind the C ABI: methods, weights, state, and calls.
#ifndef AOTBUILD_SRC_MODEL_MODEL_HPP_
#define AOTBUILD_SRC_MODEL_MODEL_HPP_

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/detail/spec.h"
#include "model/call.hpp"
#include "model/device_model.hpp"
#include "tensor/random_state.hpp"
#include "tensor/signature.hpp"
#include "weights/state.hpp"

namespace aotbuild::detail {

// One method, or what a model without methods runs.
struct Method {
  Method(std::string full_name, std::size_t method_index, const aotbuild_method_info& method_info,
         aotbuild_device device, const VariantSpec* variants, const VariantSpec* chosen, const MethodSpec* method_spec)
      : name(std::move(full_name)),
        index(method_index),
        signature(name.c_str(), method_info, device),
        first_variant(variants),
        variant(chosen),
        spec(method_spec) {}
  Method(const Method&) = delete;  // the signature refers to the name
  Method& operator=(const Method&) = delete;

  const std::string name;
  const std::size_t index;
  const Signature signature;
  const VariantSpec* const first_variant;  // what all have in common
  const VariantSpec* const variant;        // null: a device has it
  const MethodSpec* const spec;            // null: the model has no methods
};

}  // namespace aotbuild::detail

struct aotbuild_model {
  aotbuild_model(const aotbuild::detail::ModelSpec& model_spec, const aotbuild_options& options);
  // A session: the weights of `model`, and state of its own.
  explicit aotbuild_model(aotbuild_model& model);

  void load(const aotbuild::detail::WeightsSource& source);
  const aotbuild::detail::Method& method(std::size_t index) const;
  void run(const aotbuild::detail::Method& method, const aotbuild_tensor* inputs, std::size_t input_count,
           aotbuild_tensor* outputs, std::size_t output_count, aotbuild_result** result, void* stream);
  void capture_graph(const aotbuild::detail::Method& method, const aotbuild_tensor* inputs, std::size_t input_count);
  void synchronize(void* stream);
  void manual_seed(std::uint64_t seed);

  const aotbuild::detail::ModelSpec& spec;
  const std::unique_ptr<aotbuild::detail::DeviceModel> device;  // null: the CPU

 private:
  // What calls read and write.
  struct Loaded {
    std::shared_ptr<const aotbuild::detail::WeightSet> weights;
    std::shared_ptr<const aotbuild::detail::State> state;
  };

  void add_methods();
  void begin(std::shared_ptr<const aotbuild::detail::WeightSet> weights);
  Loaded loaded();
  void run_on_cpu(const aotbuild::detail::Method& method, const aotbuild::detail::CheckedCall& call);

  std::vector<std::unique_ptr<const aotbuild::detail::Method>> methods_;
  const int threads_;
  const int rank_;  // of a model with WORLD_SIZE
  bool mutates_ = false;
  std::mutex weights_mutex_;
  Loaded current_;
  std::mutex mutation_mutex_;  // runs of a model that writes to its state come one after the other
  const std::shared_ptr<aotbuild::detail::WorkspacePool> workspaces_;  // of all sessions
  aotbuild::detail::RandomState random_state_;
};

#endif  // AOTBUILD_SRC_MODEL_MODEL_HPP_
