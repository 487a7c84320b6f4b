// OnGpu: the model of the CMake target on_gpu, compiled ahead of time by aotbuild.
//
// batch: 1 to 64
//
// Threads: any number of threads may call run(), load_weights() and set_weights() on one object at the same time. Each
// call has its own workspace, and ends with the weights that it began with. Results outlive the object.
// Calls on a stream are queued there after what is queued already: until the stream has got so far, inputs in device
// memory must stay as they are.
// Errors are exceptions, aotbuild::Error, or what functions return whose names begin with try_, which throw none.
#ifndef AOTBUILD_GENERATED_ON_GPU_HPP_
#define AOTBUILD_GENERATED_ON_GPU_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "aotbuild/cuda.hpp"
#include "aotbuild/model.hpp"
#include "on_gpu.h"

class OnGpu {
 public:
  struct Inputs {
    aotbuild::HostOrDeviceView<const float, 2> x;  // [batch, 3]
    aotbuild::HostOrDeviceView<const float, 0> s;  // []
  };

  // In host memory.
  struct Outputs {
    aotbuild::Tensor<float, 2> y;  // [batch, 3]
  };

  // On the model's device.
  struct DeviceOutputs {
    aotbuild::DeviceTensor<float, 2> y;  // [batch, 3]
  };

  // The caller's memory for each output.
  struct OutputViews {
    aotbuild::HostOrDeviceView<float, 2> y;  // [batch, 3]
  };

  // Name, element type, rank, and the smallest and largest size of each dimension.
  AOTBUILD_HIDDEN static constexpr std::array<aotbuild::TensorMetadata<2>, 2> input_metadata = {{
      {"x", aotbuild::dtype_v<float>, 2, {{{1, 64, "batch"}, {3, 3, nullptr}}}},
      {"s", aotbuild::dtype_v<float>, 0, {}},
  }};
  AOTBUILD_HIDDEN static constexpr std::array<aotbuild::TensorMetadata<2>, 1> output_metadata = {{
      {"y", aotbuild::dtype_v<float>, 2, {{{1, 64, "batch"}, {3, 3, nullptr}}}},
  }};
  AOTBUILD_HIDDEN static constexpr std::size_t weight_count = 0;

#if AOTBUILD_EXCEPTIONS
  // What throws aotbuild::Error. Code that is compiled without exceptions has the functions after these.
  explicit OnGpu(const aotbuild::Options& options = {})
      : OnGpu(aotbuild::detail::value_or_throw(try_create(options))) {}

  // The results are there on return.
  Outputs run(const Inputs& inputs, aotbuild::CudaStream stream = {}) const {
    return aotbuild::detail::value_or_throw(try_run(inputs, stream));
  }

  // The results are on the model's device: there on return, and with a stream when that gets so far.
  DeviceOutputs run_on_device(const Inputs& inputs, aotbuild::CudaStream stream = {}) const {
    return aotbuild::detail::value_or_throw(try_run_on_device(inputs, stream));
  }

  // Every size of an output has to be the one that this call gives.
  // Outputs in host memory are there on return, others with a stream when that gets so far.
  void run(const Inputs& inputs, const OutputViews& outputs, aotbuild::CudaStream stream = {}) const {
    aotbuild::detail::throw_unless_ok(try_run(inputs, outputs, stream));
  }

  // Captures the CUDA graph for inputs of these sizes, whose data is not read, instead of in the second call.
  void capture_graph(const Inputs& inputs) const { aotbuild::detail::throw_unless_ok(try_capture_graph(inputs)); }

  // What the model has done so far; why calls replay no graph, if they do not.
  aotbuild_statistics statistics() const { return aotbuild::detail::value_or_throw(try_statistics()); }

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
  static aotbuild::Expected<OnGpu> try_create(const aotbuild::Options& options = {}) {
    auto model = aotbuild::Model::try_create(*on_gpu_api(), options);
    if (!model) return model.status();
    return OnGpu(*std::move(model));
  }

  aotbuild::Expected<Outputs> try_run(const Inputs& inputs, aotbuild::CudaStream stream = {}) const {
    auto results = model_.try_run<1>({inputs.x.c_tensor(), inputs.s.c_tensor()}, stream.handle());
    if (!results) return results.status();
    return results->checked(Outputs{results->get<float, 2>(0)});
  }

  aotbuild::Expected<DeviceOutputs> try_run_on_device(const Inputs& inputs, aotbuild::CudaStream stream = {}) const {
    auto results = model_.try_run<1>({inputs.x.c_tensor(), inputs.s.c_tensor()}, stream.handle(), {AOTBUILD_CUDA, 0});
    if (!results) return results.status();
    return results->checked(DeviceOutputs{results->get<float, 2, aotbuild::DeviceTensor>(0)});
  }

  aotbuild::Status try_run(const Inputs& inputs, const OutputViews& outputs, aotbuild::CudaStream stream = {}) const {
    return model_.try_run_into({inputs.x.c_tensor(), inputs.s.c_tensor()}, {outputs.y.c_tensor()}, stream.handle());
  }

  aotbuild::Status try_capture_graph(const Inputs& inputs) const {
    return model_.try_capture_graph({inputs.x.c_tensor(), inputs.s.c_tensor()});
  }

  aotbuild::Expected<aotbuild_statistics> try_statistics() const { return model_.try_statistics(); }

  aotbuild::Status try_manual_seed(std::uint64_t seed) { return model_.try_manual_seed(seed); }

  aotbuild::Status try_load_weights(const std::string& path) { return model_.try_load_weights(path); }

  aotbuild::Status try_set_weights(const std::map<std::string, aotbuild::AnyTensorView>& weights) {
    return model_.try_set_weights(weights);
  }

  static const aotbuild_model_info& info() { return *on_gpu_describe(); }

  // The same model with inputs and outputs as arrays of aotbuild_tensor.
  const aotbuild::Model& untyped() const { return model_; }

 private:
  explicit OnGpu(aotbuild::Model model) : model_(std::move(model)) {}

  aotbuild::Model model_;
};

#endif  // AOTBUILD_GENERATED_ON_GPU_HPP_
