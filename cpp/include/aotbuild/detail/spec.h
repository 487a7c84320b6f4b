// What generated code hands to the runtime: the description of one model, in plain data and function pointers.
// Private: generated sources and the runtime are always of the same aotbuild version.
#ifndef AOTBUILD_DETAIL_SPEC_H_
#define AOTBUILD_DETAIL_SPEC_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "aotbuild/c_api.h"
#include "aotbuild/detail/export.h"
#include "aotbuild/detail/version.h"

struct AtenTensorOpaque;
using AtenTensorHandle = AtenTensorOpaque*;

namespace aotbuild::detail {

class CallContext;  // runtime: weights, workspace and options of one call
class DeviceModel;  // runtime: what a model has on a device other than the CPU
struct CudaVariantSpec;
struct ModelSpec;

// Pointers to the elements of an array, as the C ABI has them in the place of arrays of structures that may grow.
template <typename T, std::size_t Count>
struct Pointers {
  const T* items[Count];
};
template <typename T, std::size_t Count, std::size_t... Index>
constexpr Pointers<T, Count> pointers_to(const T (&array)[Count], std::index_sequence<Index...>) {
  return {{&array[Index]...}};
}
template <typename T, std::size_t Count>
constexpr Pointers<T, Count> pointers_to(const T (&array)[Count]) {
  return pointers_to(array, std::make_index_sequence<Count>());
}

// Where a weight lies in the embedded blob or in nothing (FILE and EXTERNAL are found by name).
struct WeightSpec {
  std::uint64_t offset;  // bytes from the start of the embedded blob, a multiple of 64
  std::uint64_t nbytes;
  bool mutated;                // a buffer that the model writes: each session has its own
  bool required;               // false: a constant with no name in the state_dict; a checkpoint may leave it out
  const char* const* aliases;  // other state_dict names of the same tensor, null-terminated; may be null
  bool packed = false;         // the blob has it only as part of ModelSpec::packed
  bool zeros = false;          // mutated and zero in the beginning: nothing has it
  // An int8 [N, K] of values from -8 to 7, two to a byte where it is stored: of each 32 values of a row, the first 16
  // are the low halves of 16 bytes and the others the high ones. Only quantized layers read it.
  bool four_bits = false;
  // Of a 16-bit type where the model's module has float32: a checkpoint may have either.
  bool rounded = false;
};

// A matrix [rows, columns] of a packed layer as the embedded blob holds it: columns in panels of 32, in each panel the
// rows one after the other, to a multiple of 16 of them, zeros beyond the matrix. Layers read it in place, so that a
// program starts without copying its weights.
struct PackedMatrix {
  std::uint64_t offset;  // as in WeightSpec
  std::int64_t rows;
  std::int64_t columns;
};

// What a layer over float32 computes with. kOwn: its tensors' own type. Else its weights are of that type, or rounded
// to it, its input is rounded where that is faster, and its bias, its sums and its output are float32.
enum class Precision : int { kOwn = 0, kBFloat16, kFloat16 };

enum class Activation : int { kNone = 0, kRelu, kGelu, kGeluTanh, kSilu, kTanh, kHardswish, kLeakyRelu };

// One linear layer over constant weights, packed when the weights are loaded.
// y[M, N] = activation(x[M, K] @ concat(weights).T + concat(biases)); weights are [N_i, K], row-major, or [K, N_i].
struct LinearSpec {
  int part_count;
  const int* weights;  // `part_count` indices of weights
  const int* biases;   // `part_count` indices, -1 for none; null: no part has a bias
  Activation activation;
  double alpha;             // the activation's parameter (negative slope of leaky ReLU)
  bool transposed = false;  // weights are [K, N_i]
  Precision precision = Precision::kOwn;
};

// Two linear layers, the first of one part, with nothing between them: second(first(x)). The hidden features are made
// for so many rows at a time that they stay in the cache.
struct MlpSpec {
  LinearSpec first;
  LinearSpec second;
};

// One linear layer over quantized constant weights [N, K] of type int8, in groups of `group` values of one row.
// int8 to int32: y[M, N] = x[M, K] @ weights.T. float32: y[M, N] = x[M, K] @ ((weights - zero_point) * scale).T.
struct QuantizedLinearSpec {
  int weight;
  int scale;       // float32, one value for each group, row by row; -1: 1
  int zero_point;  // int8, as many; -1: 0
  std::int64_t group;
  bool integers;  // x is int8 and y int32
};

enum class RecurrentCell : int { kLstm = 0, kGru, kTanh, kRelu };

// Recurrent layers over constant weights, as torch.nn.LSTM, GRU and RNN have them: all layers and directions.
struct RecurrentSpec {
  RecurrentCell cell;
  int layers;
  bool bidirectional;
  bool batch_first;
  bool has_biases;
  bool has_projection;
  int weight_count;
  const int* weights;  // in PyTorch's order: for each layer and direction those of the input, of h, biases, projection
};

// One convolution over constant weights, packed when the weights are loaded. Spatial rank 1 to 3.
struct ConvolutionSpec {
  int weight;  // [O, I/groups, k...]; transposed: [I, O/groups, k...]
  int bias;    // index, or -1
  // Batch normalisation of the output by its running statistics, folded into the weights; -1 for none.
  int norm_mean = -1;
  int norm_variance = -1;
  int norm_weight = -1;  // -1: not affine
  int norm_bias = -1;
  double norm_epsilon = 0;
  int spatial_rank;
  bool transposed;
  bool channels_last;
  std::int64_t groups;
  std::int64_t stride[3];
  std::int64_t padding[3];
  std::int64_t dilation[3];
  std::int64_t output_padding[3];
  Activation activation;
  double alpha;
  std::int64_t input_hint[5];  // a typical N, C, spatial...
  Precision precision = Precision::kOwn;
};

// One compilation of the model for one instruction set, or for one GPU architecture.
struct VariantSpec {
  const char* isa;  // as in CPU_ISA: "x86-64-v3", "avx2", "avx512", "aarch64", ...; for a GPU "sm_90"
  // True when this machine can run it. Null: it always can.
  bool (*supported)();
  // Handles in `inputs` are borrowed. `outputs` receives owned handles.
  void (*run)(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs);
  const CudaVariantSpec* cuda = nullptr;  // null: for the CPU
  // Throws what keeps the variant from running in this program, when a model is created. Null: nothing can.
  void (*prepare)() = nullptr;
  // What has to hold of the sizes of a call and does not, as text; null where all does. `sizes` are the values of the
  // symbols in the order in which the inputs have them. Null: the symbols' ranges say it all.
  const char* (*broken_condition)(const std::int64_t* sizes) = nullptr;
};

// The numbers that the model has for what a method's code counts on its own. Those of weights are followed by those of
// what a GPU derives from them; methods that derive the same have one number for it, behind those of the model's
// weights.
struct IndexTable {
  const int* indices;
  std::size_t count;
};

// One method of a model with several.
struct MethodSpec {
  const VariantSpec* variants;  // for the same instruction sets as ModelSpec::variants
  IndexTable weights;
  IndexTable linears;
  IndexTable mlps;
  IndexTable convolutions;
  IndexTable quantized;
  IndexTable recurrent;
};

// Opens the device that `options` name and loads the best of the model's variants there.
// The caller owns the result. Throws Error(AOTBUILD_UNSUPPORTED_HARDWARE).
using DeviceFactory = DeviceModel* (*)(const ModelSpec& spec, const aotbuild_options& options);

enum class WeightsMode : int { kEmbed = 0, kFile = 1, kExternal = 2 };

struct ModelSpec {
  std::uint32_t release;  // AOTBUILD_RELEASE of what it was generated with; the runtime refuses another than its own
  const aotbuild_model_info* info;
  const WeightSpec* weights;  // parallel to info->weights
  WeightsMode weights_mode;
  const unsigned char* embedded_weights;  // kEmbed: 64-byte aligned
  std::size_t embedded_weights_size;
  const char* weights_file;  // kFile: file name, looked for beside the library or program that holds the model
  std::size_t linear_count;
  const LinearSpec* linears;
  std::size_t mlp_count;
  const MlpSpec* mlps;
  std::size_t convolution_count;
  const ConvolutionSpec* convolutions;
  std::size_t variant_count;
  const VariantSpec* variants;  // best first
  // Null: the CPU. Only through this pointer do programs refer to the CUDA runtime, so those without CUDA models are
  // linked without it.
  DeviceFactory make_device_model = nullptr;
  // The matrices of all layers whose weights are `packed`, in the order in which layers are made: linears, then mlps.
  std::size_t packed_count = 0;
  const PackedMatrix* packed = nullptr;
  // Parallel to info->methods; `variants` are those of the first. Null: the model was built without METHODS.
  const MethodSpec* methods = nullptr;
  std::size_t quantized_count = 0;
  const QuantizedLinearSpec* quantized = nullptr;
  std::size_t recurrent_count = 0;
  const RecurrentSpec* recurrent = nullptr;
  // Of the one weights file that the model takes, in hexadecimal digits. Null: it takes any with its tensors.
  const char* weights_sha256 = nullptr;
};

}  // namespace aotbuild::detail

// The functions behind a model's C ABI. Every one catches all exceptions and sets the thread's last error.
extern "C" {
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_model_create(const aotbuild::detail::ModelSpec* spec,
                                                           const aotbuild_options* options, aotbuild_model** model);
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_model_run(aotbuild_model* model, std::size_t method, void* stream,
                                                        const aotbuild_tensor* inputs, std::size_t input_count,
                                                        aotbuild_tensor* outputs, std::size_t output_count,
                                                        aotbuild_result** result);
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_model_new_session(aotbuild_model* model, aotbuild_model** session);
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_model_statistics(const aotbuild_model* model,
                                                               aotbuild_statistics* statistics);
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_model_capture_graph(aotbuild_model* model, std::size_t method,
                                                                  const aotbuild_tensor* inputs,
                                                                  std::size_t input_count);
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_model_synchronize(aotbuild_model* model, void* stream);
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_model_manual_seed(aotbuild_model* model, std::uint64_t seed);
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_model_load_weights(aotbuild_model* model, const char* path);
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_model_set_weights(aotbuild_model* model,
                                                                const aotbuild_named_tensor* weights,
                                                                std::size_t count);
AOTBUILD_RUNTIME_API void aotbuild_model_destroy(aotbuild_model* model);
AOTBUILD_RUNTIME_API void aotbuild_result_destroy(aotbuild_result* result);
AOTBUILD_RUNTIME_API const char* aotbuild_last_error(void);
}

#endif  // AOTBUILD_DETAIL_SPEC_H_
