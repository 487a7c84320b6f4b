// OnGpu: the model of the CMake target on_gpu, compiled ahead of time by aotbuild.
//
// batch: 1 to 64
//
// Threads: any number of threads may call run(), load_weights() and set_weights() on one object at the same time. Each
// call has its own workspace, and ends with the weights that it began with. Results outlive the object.
// Calls on a stream are queued there after what is queued already: until the stream has got so far, inputs in device
// memory must stay as they are.
// Errors are exceptions, aotbuild::Error.
#ifndef ON_GPU_HPP_
#define ON_GPU_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

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
  static constexpr std::array<aotbuild::TensorMetadata<2>, 2> input_metadata = {{
      {"x", aotbuild::dtype_v<float>, 2, {{{1, 64, "batch"}, {3, 3, nullptr}}}},
      {"s", aotbuild::dtype_v<float>, 0, {}},
  }};
  static constexpr std::array<aotbuild::TensorMetadata<2>, 1> output_metadata = {{
      {"y", aotbuild::dtype_v<float>, 2, {{{1, 64, "batch"}, {3, 3, nullptr}}}},
  }};
  static constexpr std::size_t weight_count = 0;

  explicit OnGpu(const aotbuild::Options& options = {}) : model_(*on_gpu_api(), options) {}

  // The results are there on return.
  Outputs run(const Inputs& inputs, aotbuild::CudaStream stream = {}) const {
    const auto results = model_.run<1>(stream.handle(), {inputs.x.c_tensor(), inputs.s.c_tensor()});
    return {results.get<float, 2>(0)};
  }

  // The results are on the model's device: there on return, and with a stream when that gets so far.
  DeviceOutputs run_on_device(const Inputs& inputs, aotbuild::CudaStream stream = {}) const {
    const auto results = model_.run_on_device<1>(stream.handle(), {inputs.x.c_tensor(), inputs.s.c_tensor()});
    return {results.get<float, 2, aotbuild::DeviceTensor>(0)};
  }

  // Every size of an output has to be the one that this call gives.
  // Outputs in host memory are there on return, others with a stream when that gets so far.
  void run(const Inputs& inputs, const OutputViews& outputs, aotbuild::CudaStream stream = {}) const {
    model_.run(stream.handle(), {inputs.x.c_tensor(), inputs.s.c_tensor()}, {outputs.y.c_tensor()});
  }

  // Captures the CUDA graph for inputs of these sizes, whose data is not read, instead of in the second call.
  void capture_graph(const Inputs& inputs) const { model_.capture_graph({inputs.x.c_tensor(), inputs.s.c_tensor()}); }

  // What the model has done so far; why calls replay no graph, if they do not.
  aotbuild_statistics statistics() const { return model_.statistics(); }

  // The random numbers of the calls that follow are those of torch.compile's code after torch.manual_seed(seed).
  void manual_seed(std::uint64_t seed) { model_.manual_seed(seed); }

  // Takes a safetensors checkpoint of the same architecture. Calls in flight end with the weights before it.
  void load_weights(const std::string& path) { model_.load_weights(path); }

  // Takes tensors by their state_dict names. Their memory is borrowed and has to outlive this object.
  void set_weights(const std::map<std::string, aotbuild::AnyTensorView>& weights) { model_.set_weights(weights); }

  static const aotbuild_model_info& info() { return *on_gpu_describe(); }

  // The same model with inputs and outputs as arrays of aotbuild_tensor.
  const aotbuild::Model& untyped() const { return model_; }

 private:
  aotbuild::Model model_;
};

#endif  // ON_GPU_HPP_
