// What run functions of models with RUNTIME torch ask for, beside libtorch's own C shim. Implemented by
// cpp/torch/torch_runtime.cpp, which the project compiles against its libtorch.
// Private: generated sources and the runtime are always of the same aotbuild version.
//
// A handle is libtorch's (an at::Tensor*) in every function that takes a TorchCall or belongs to an OperatorCall, and
// the runtime's where a function takes a CallContext.
#ifndef AOTBUILD_DETAIL_TORCH_RUNTIME_HPP_
#define AOTBUILD_DETAIL_TORCH_RUNTIME_HPP_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>

#include "aotbuild/detail/spec.h"

namespace aotbuild::detail {

// One call of a model on libtorch: its inputs, weights and outputs as tensors of libtorch over the runtime's memory.
class TorchCall;

// The functions of runtime.hpp of the same names.
AtenTensorHandle context_weight(TorchCall& call, int index);
AtenTensorHandle context_allocate(TorchCall& call, std::int64_t ndim, const std::int64_t* sizes,
                                  const std::int64_t* strides, std::int32_t dtype, int output_index);
void context_linear(TorchCall& call, int slot, AtenTensorHandle input, AtenTensorHandle output);
void context_mlp(TorchCall& call, int slot, AtenTensorHandle input, AtenTensorHandle output);
void context_quantized_linear(TorchCall& call, int slot, AtenTensorHandle input, AtenTensorHandle output);
void context_convolution(TorchCall& call, int slot, AtenTensorHandle input, AtenTensorHandle output);

// Handles in `inputs` are borrowed. `outputs` receives owned handles.
using TorchRun = void (*)(TorchCall& call, AtenTensorHandle* inputs, AtenTensorHandle* outputs);

// Runs `run` on tensors of libtorch, with no gradients. `inputs` and `outputs` are the runtime's, as for VariantSpec.
void run_with_torch(CallContext& context, AtenTensorHandle* inputs, std::size_t input_count, AtenTensorHandle* outputs,
                    std::size_t output_count, TorchRun run);

// Throws std::runtime_error where the libtorch that the program has loaded is another than the one of the generator.
void check_torch_version(unsigned major, unsigned minor);

// Throws the message of the C shim's last error on this thread.
[[noreturn]] void throw_torch_error();

// An operator of libtorch's dispatcher by its name, as in "aten::linalg_qr", and its overload, "" for the first.
struct OperatorName {
  const char* name;
  const char* overload;
};

// The operators that a model calls through the dispatcher, because they have no function of the C shim.
class TorchOperators {
 public:
  // Throws std::runtime_error that names all those that libtorch does not have.
  TorchOperators(std::initializer_list<OperatorName> names);
  ~TorchOperators();
  TorchOperators(const TorchOperators&) = delete;
  TorchOperators& operator=(const TorchOperators&) = delete;

 private:
  friend class OperatorCall;
  struct Handles;
  std::unique_ptr<Handles> handles_;
};

// One call of such an operator: arguments in the order of its schema, then run(), then results by their position in the
// schema.
class OperatorCall {
 public:
  OperatorCall(const TorchOperators& operators, int index);
  ~OperatorCall();
  OperatorCall(const OperatorCall&) = delete;
  OperatorCall& operator=(const OperatorCall&) = delete;

  void none();
  void tensor(AtenTensorHandle value);
  void integer(std::int64_t value);
  void number(double value);
  void boolean(bool value);
  void complex(double real, double imaginary);
  void text(const char* value);
  void device(std::int32_t type, std::int32_t index);
  void tensors(std::initializer_list<AtenTensorHandle> values);
  void optional_tensors(std::initializer_list<AtenTensorHandle> values);  // null: none
  void integers(std::initializer_list<std::int64_t> values);
  void numbers(std::initializer_list<double> values);
  void booleans(std::initializer_list<bool> values);
  void texts(std::initializer_list<const char*> values);

  void run();

  // A new owned handle. Each result can be taken once.
  AtenTensorHandle tensor_result(std::size_t position);
  // The same of element `index` of a list of tensors.
  AtenTensorHandle tensor_result(std::size_t position, std::size_t index) const;
  // Throws where the operator gives another number than the one that the model was generated for.
  void check_integer_result(std::size_t position, std::int64_t expected) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace aotbuild::detail

// The message of a kernel.h function that fails, for throw_torch_error().
extern "C" void aotbuild_set_torch_error(const char* message);

#endif  // AOTBUILD_DETAIL_TORCH_RUNTIME_HPP_
