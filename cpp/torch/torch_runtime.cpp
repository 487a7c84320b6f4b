// The part of the runtime that is compiled against libtorch, for models with RUNTIME torch. It uses nothing of the
// runtime but what generated code uses, so that it may be linked to the static and to the shared one.
#include "aotbuild/detail/torch_runtime.hpp"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/inductor/aoti_torch/utils.h>
#if __has_include(<torch/csrc/shim_exception_state.h>)
#include <torch/csrc/shim_exception_state.h>
#endif

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/detail/runtime.hpp"
#include "aotbuild/detail/shim.h"

namespace aotbuild::detail {

namespace {

at::Tensor& torch_tensor(AtenTensorHandle handle) { return *reinterpret_cast<at::Tensor*>(handle); }

AtenTensorHandle new_torch_handle(at::Tensor tensor) {
  return reinterpret_cast<AtenTensorHandle>(new at::Tensor(std::move(tensor)));
}

// Of the runtime's own shim.
void check_own(AOTITorchError status) {
  if (status != 0) throw std::runtime_error(aotbuild_last_error());
}

struct DeleteOwn {
  void operator()(AtenTensorHandle handle) const { aotbuild_torch_delete_tensor_object(handle); }
};
using OwnTensor = std::unique_ptr<AtenTensorOpaque, DeleteOwn>;

#if !__has_include(<torch/csrc/shim_exception_state.h>)
// Where libtorch keeps no message of the shim's last error: that of a registered kernel.
thread_local std::string kernel_error;
#endif

// A tensor of libtorch over the memory of one of the runtime's, which outlives it.
at::Tensor to_torch(AtenTensorHandle own) {
  std::int64_t ndim = 0;
  std::int64_t* sizes = nullptr;
  std::int64_t* strides = nullptr;
  std::int32_t dtype = 0;
  void* data = nullptr;
  check_own(aotbuild_torch_get_dim(own, &ndim));
  check_own(aotbuild_torch_get_sizes(own, &sizes));
  check_own(aotbuild_torch_get_strides(own, &strides));
  check_own(aotbuild_torch_get_dtype(own, &dtype));
  check_own(aotbuild_torch_get_data_ptr(own, &data));
  const auto rank = static_cast<std::size_t>(ndim);
  return at::from_blob(data, {sizes, rank}, {strides, rank}, static_cast<at::ScalarType>(dtype));
}

// A tensor of the runtime over the memory of one of libtorch's, which outlives it.
OwnTensor to_own(AtenTensorHandle handle) {
  const at::Tensor& tensor = torch_tensor(handle);
  AtenTensorHandle own = nullptr;
  check_own(aotbuild_torch_create_tensor_from_blob(tensor.data_ptr(), tensor.dim(), tensor.sizes().data(),
                                                   tensor.strides().data(), 0,
                                                   static_cast<std::int32_t>(tensor.scalar_type()), 0, 0, &own));
  return OwnTensor(own);
}

}  // namespace

class TorchCall {
 public:
  TorchCall(CallContext& context, std::size_t output_count) : context_(context), outputs_(output_count) {}

  CallContext& context() { return context_; }

  AtenTensorHandle weight(int index) {
    const auto i = static_cast<std::size_t>(index);
    if (weights_.size() <= i) weights_.resize(i + 1);
    if (weights_[i] == nullptr) weights_[i] = std::make_unique<at::Tensor>(to_torch(context_weight(context_, index)));
    return reinterpret_cast<AtenTensorHandle>(weights_[i].get());
  }

  // Memory of the runtime, so that no copy is made of it at the end.
  at::Tensor allocate_output(at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType dtype, std::size_t i) {
    OwnTensor& output = outputs_[i];
    output.reset(context_allocate(context_, static_cast<std::int64_t>(sizes.size()), sizes.data(), strides.data(),
                                  static_cast<std::int32_t>(dtype), static_cast<int>(i)));
    return to_torch(output.get());
  }

  // Output `i` as the runtime has it.
  AtenTensorHandle finish(std::size_t i, const at::Tensor& result) {
    if (!result.defined() || result.layout() != at::kStrided) {
      throw std::runtime_error("output " + std::to_string(i) + " was made as no dense tensor");
    }
    if (outputs_[i] != nullptr) {
      const at::Tensor allocated = to_torch(outputs_[i].get());
      if (!result.is_conj() && !result.is_neg() && result.data_ptr() == allocated.data_ptr() &&
          result.scalar_type() == allocated.scalar_type() && result.sizes() == allocated.sizes() &&
          result.strides() == allocated.strides()) {
        return outputs_[i].release();
      }
    }
    const at::Tensor dense = result.is_non_overlapping_and_dense() ? result : result.contiguous();
    OwnTensor copy(context_allocate(context_, dense.dim(), dense.sizes().data(), dense.strides().data(),
                                    static_cast<std::int32_t>(dense.scalar_type()), static_cast<int>(i)));
    to_torch(copy.get()).copy_(dense);
    return copy.release();
  }

 private:
  CallContext& context_;
  std::vector<std::unique_ptr<at::Tensor>> weights_;
  std::vector<OwnTensor> outputs_;
};

AtenTensorHandle context_weight(TorchCall& call, int index) { return call.weight(index); }

AtenTensorHandle context_allocate(TorchCall& call, std::int64_t ndim, const std::int64_t* sizes,
                                  const std::int64_t* strides, std::int32_t dtype, int output_index) {
  const auto rank = static_cast<std::size_t>(ndim);
  const auto type = static_cast<at::ScalarType>(dtype);
  if (output_index >= 0) {
    return new_torch_handle(
        call.allocate_output({sizes, rank}, {strides, rank}, type, static_cast<std::size_t>(output_index)));
  }
  return new_torch_handle(at::empty_strided({sizes, rank}, {strides, rank}, at::TensorOptions(type)));
}

void context_linear(TorchCall& call, int slot, AtenTensorHandle input, AtenTensorHandle output) {
  context_linear(call.context(), slot, to_own(input).get(), to_own(output).get());
}

void context_mlp(TorchCall& call, int slot, AtenTensorHandle input, AtenTensorHandle output) {
  context_mlp(call.context(), slot, to_own(input).get(), to_own(output).get());
}

void context_quantized_linear(TorchCall& call, int slot, AtenTensorHandle input, AtenTensorHandle output) {
  context_quantized_linear(call.context(), slot, to_own(input).get(), to_own(output).get());
}

void context_convolution(TorchCall& call, int slot, AtenTensorHandle input, AtenTensorHandle output) {
  context_convolution(call.context(), slot, to_own(input).get(), to_own(output).get());
}

void run_with_torch(CallContext& context, AtenTensorHandle* inputs, std::size_t input_count, AtenTensorHandle* outputs,
                    std::size_t output_count, TorchRun run) {
  const at::NoGradGuard no_gradients;
  TorchCall call(context, output_count);
  std::vector<at::Tensor> arguments;
  std::vector<AtenTensorHandle> argument_handles;
  arguments.reserve(input_count);
  for (std::size_t i = 0; i < input_count; ++i) {
    arguments.push_back(to_torch(inputs[i]));
    argument_handles.push_back(reinterpret_cast<AtenTensorHandle>(&arguments.back()));
  }
  std::vector<AtenTensorHandle> results(output_count);
  run(call, argument_handles.data(), results.data());
  std::vector<std::unique_ptr<at::Tensor>> owned;
  for (AtenTensorHandle result : results) owned.emplace_back(reinterpret_cast<at::Tensor*>(result));
  for (std::size_t i = 0; i < output_count; ++i) outputs[i] = call.finish(i, *owned[i]);
}

void check_torch_version(unsigned major, unsigned minor) {
  const std::uint64_t version = aoti_torch_abi_version();
  const auto loaded_major = static_cast<unsigned>(version >> 56);
  const auto loaded_minor = static_cast<unsigned>(version >> 48 & 0xff);
  if (loaded_major == major && loaded_minor == minor) return;
  throw std::runtime_error("built for libtorch " + std::to_string(major) + "." + std::to_string(minor) +
                           ", but this program has loaded libtorch " + std::to_string(loaded_major) + "." +
                           std::to_string(loaded_minor) + "; let it find the other, or build it again");
}

void throw_torch_error() {
#if __has_include(<torch/csrc/shim_exception_state.h>)
  throw std::runtime_error(torch::csrc::shim::details::get_torch_exception_what_without_backtrace());
#else
  if (!kernel_error.empty()) throw std::runtime_error(std::exchange(kernel_error, {}));
  throw std::runtime_error("an operator of libtorch failed; libtorch before 2.13 writes why to standard error only");
#endif
}

}  // namespace aotbuild::detail

void aotbuild_set_torch_error(const char* message) {
#if __has_include(<torch/csrc/shim_exception_state.h>)
  torch::csrc::shim::details::set_torch_exception_what_without_backtrace(message);
#else
  aotbuild::detail::kernel_error = message;
#endif
}

namespace aotbuild::detail {

struct TorchOperators::Handles {
  std::vector<c10::OperatorHandle> operators;
};

TorchOperators::TorchOperators(std::initializer_list<OperatorName> names) : handles_(std::make_unique<Handles>()) {
  std::string missing;
  for (const OperatorName& operator_name : names) {
    const c10::OperatorName full_name(operator_name.name, operator_name.overload);
    const std::optional<c10::OperatorHandle> found = c10::Dispatcher::singleton().findSchema(full_name);
    if (found) {
      handles_->operators.push_back(*found);
    } else {
      missing += (missing.empty() ? "" : ", ") + c10::toString(full_name);
    }
  }
  if (!missing.empty()) {
    throw std::runtime_error(
        "libtorch has no operator " + missing +
        "; link the library that registers it in C++ (TORCH_LIBRARY) to the program: operators that "
        "are registered in Python alone need Python");
  }
}

TorchOperators::~TorchOperators() = default;

struct OperatorCall::State {
  const c10::OperatorHandle& handle;
  std::vector<c10::IValue> stack;

  c10::IValue& result(std::size_t position) {
    if (position >= stack.size()) {
      throw std::runtime_error(c10::toString(handle.operator_name()) + " returned " + std::to_string(stack.size()) +
                               " results");
    }
    return stack[position];
  }
};

OperatorCall::OperatorCall(const TorchOperators& operators, int index)
    : state_(new State{operators.handles_->operators.at(static_cast<std::size_t>(index)), {}}) {}

OperatorCall::~OperatorCall() = default;

void OperatorCall::none() { state_->stack.emplace_back(); }
void OperatorCall::tensor(AtenTensorHandle value) { state_->stack.emplace_back(torch_tensor(value)); }
void OperatorCall::integer(std::int64_t value) { state_->stack.emplace_back(value); }
void OperatorCall::number(double value) { state_->stack.emplace_back(value); }
void OperatorCall::boolean(bool value) { state_->stack.emplace_back(value); }
void OperatorCall::complex(double real, double imaginary) {
  state_->stack.emplace_back(c10::complex<double>(real, imaginary));
}
void OperatorCall::text(const char* value) { state_->stack.emplace_back(std::string(value)); }
void OperatorCall::device(std::int32_t type, std::int32_t index) {
  const auto device_type = static_cast<c10::DeviceType>(type);
  state_->stack.emplace_back(c10::Device(device_type, static_cast<c10::DeviceIndex>(index)));
}
void OperatorCall::tensors(std::initializer_list<AtenTensorHandle> values) {
  std::vector<at::Tensor> list;
  for (AtenTensorHandle value : values) list.push_back(torch_tensor(value));
  state_->stack.emplace_back(std::move(list));
}
void OperatorCall::optional_tensors(std::initializer_list<AtenTensorHandle> values) {
  std::vector<std::optional<at::Tensor>> list;
  for (AtenTensorHandle value : values) {
    list.push_back(value == nullptr ? std::nullopt : std::optional<at::Tensor>(torch_tensor(value)));
  }
  state_->stack.emplace_back(std::move(list));
}
void OperatorCall::integers(std::initializer_list<std::int64_t> values) {
  state_->stack.emplace_back(std::vector<std::int64_t>(values));
}
void OperatorCall::numbers(std::initializer_list<double> values) {
  state_->stack.emplace_back(std::vector<double>(values));
}
void OperatorCall::booleans(std::initializer_list<bool> values) {
  c10::List<bool> list;
  for (const bool value : values) list.push_back(value);
  state_->stack.emplace_back(std::move(list));
}
void OperatorCall::texts(std::initializer_list<const char*> values) {
  c10::List<std::string> list;
  for (const char* value : values) list.push_back(value);
  state_->stack.emplace_back(std::move(list));
}

void OperatorCall::run() {
  try {
    state_->handle.callBoxed(state_->stack);
  } catch (const c10::Error& error) {  // without the addresses of libtorch's backtrace
    throw std::runtime_error(error.what_without_backtrace());
  }
}

AtenTensorHandle OperatorCall::tensor_result(std::size_t position) {
  return new_torch_handle(std::move(state_->result(position)).toTensor());
}

AtenTensorHandle OperatorCall::tensor_result(std::size_t position, std::size_t index) const {
  return new_torch_handle(state_->result(position).toTensorVector().at(index));
}

void OperatorCall::check_integer_result(std::size_t position, std::int64_t expected) const {
  const std::int64_t actual = state_->result(position).toInt();
  if (actual == expected) return;
  throw std::runtime_error(c10::toString(state_->handle.operator_name()) + " returned " + std::to_string(actual) +
                           ", but the model was generated for " + std::to_string(expected));
}

}  // namespace aotbuild::detail
