// The C types that every generated model library shares. Plain C99, so that Rust, Go, C# or anything else can bind it.
//
// A generated library `encoder` exports functions named after its symbol prefix, declared in its own header
// `encoder.h`:
//
//     aotbuild_status encoder_create(const aotbuild_options* options, aotbuild_model** model);
//     aotbuild_status encoder_run(aotbuild_model* model, const aotbuild_tensor* inputs, size_t input_count,
//                                 aotbuild_tensor* outputs, size_t output_count, aotbuild_result** result);
//     aotbuild_status encoder_run_on_stream(aotbuild_model* model, void* stream, ...as above...);
//     aotbuild_status encoder_run_capture_graph(aotbuild_model* model, const aotbuild_tensor* inputs,
//                                               size_t input_count);
//     aotbuild_status encoder_synchronize(aotbuild_model* model, void* stream);
//     const aotbuild_model_info* encoder_describe(void);
//     void encoder_destroy(aotbuild_model* model);
//     const char* encoder_last_error(void);
//     aotbuild_status encoder_new_session(aotbuild_model* model, aotbuild_model** session);
//
// A library `generator` that was built with METHODS prefill decode has in the place of each of those with `_run` one
// for each method, `generator_prefill` and `generator_decode`, with the same arguments.
//
// Buffers that a model writes are state: each model object has its own, and it persists from call to call and is shared
// by all methods. `_new_session` makes another object with the state as it is in the beginning and with the weights of
// the given one, which exist once however many sessions there are. It is a model object like the others; either may be
// destroyed first. `_load_weights` changes the one object that it is called with, and begins its state anew.
//
// A model for CUDA takes and gives tensors in host or device memory; `aotbuild_tensor::device` says which. An output
// that the library allocates lies in host memory, unless its device's type is AOTBUILD_CUDA. `_run` returns when the
// outputs are there. `_run_on_stream` takes a CUstream or cudaStream_t (1 is the legacy default stream) of the device's
// primary context and queues its work there, after what is queued already; outputs in host memory are there on return,
// those in device memory once the stream gets so far. Until then the inputs must stay as they are. An index out of
// bounds that such a call meets later is the error of the next call, or of `_synchronize`, which waits for a stream.
// Destroy a result on the device when nothing that reads it is queued on another stream, and a stream when its work has
// ended.
//
// Threads: any number of threads may call `_run`, `_load_weights`, `_new_session` and `_describe` on one model at the
// same time. Calls that write state of one object come one after the other; those of different sessions do not wait.
// `_create` and `_destroy` are ordinary constructor and destructor calls. `_last_error` is per thread.
#ifndef AOTBUILD_C_API_H_
#define AOTBUILD_C_API_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Marks what a shared model library exports; model libraries are compiled with hidden visibility. A DLL exports what it
// marks while it is compiled, and programs find it by the import library.
#if defined(_WIN32)
#ifdef AOTBUILD_MODEL_EXPORTS
#define AOTBUILD_EXPORT __declspec(dllexport)
#else
#define AOTBUILD_EXPORT
#endif
#elif defined(__GNUC__)
#define AOTBUILD_EXPORT __attribute__((visibility("default")))
#else
#define AOTBUILD_EXPORT
#endif

// The version of all that follows. `abi_version` is the first member of aotbuild_api and aotbuild_model_info in every
// version: refuse a library of another one. Within a version structures only grow, at their ends. `struct_size` says
// how many bytes of a structure are known to the side that filled it in: read no member beyond it, and take what is not
// there for zero. Lists are arrays of pointers for that reason. docs/c-abi.md has the rules.
#define AOTBUILD_ABI_VERSION 4

// How a call ended. What went wrong is the thread's `_last_error`.
typedef enum aotbuild_status {
  AOTBUILD_OK = 0,                    // the call did what it was asked for
  AOTBUILD_INVALID_ARGUMENT = 1,      // wrong dtype, rank, size, stride, device, null or unaligned pointer
  AOTBUILD_INVALID_WEIGHTS = 2,       // weights file or tensors: missing, truncated, corrupt, wrong names or shapes
  AOTBUILD_UNSUPPORTED_HARDWARE = 3,  // the machine lacks an instruction set or a device that the library needs
  AOTBUILD_OUT_OF_MEMORY = 4,         // the host or the device had too little memory
  AOTBUILD_RUNTIME_ERROR = 5,         // a kernel failed; the message says which
} aotbuild_status;

// Device and element types have the numbers of DLPack 1.0, and `aotbuild_tensor` has the layout of its DLTensor:
// a DLTensor* may be passed wherever an aotbuild_tensor* is expected. These three structures never change.
typedef struct aotbuild_device {
  int32_t type;   // AOTBUILD_CPU or AOTBUILD_CUDA
  int32_t index;  // of several devices of that type, from 0
} aotbuild_device;

// Types of devices.
enum {
  AOTBUILD_CPU = 1,   // memory of the host
  AOTBUILD_CUDA = 2,  // memory of an NVIDIA GPU
};

// The type of a tensor's elements.
typedef struct aotbuild_dtype {
  uint8_t code;    // one of aotbuild_dtype_code
  uint8_t bits;    // bits of one element: 32 for float32; 8 for bool
  uint16_t lanes;  // always 1
} aotbuild_dtype;

// Kinds of element types; with `bits` they are a type.
enum aotbuild_dtype_code {
  AOTBUILD_INT = 0,             // signed integers, 8 to 64 bits
  AOTBUILD_UINT = 1,            // unsigned integers, 8 to 64 bits
  AOTBUILD_FLOAT = 2,           // IEEE 754, 16 to 64 bits
  AOTBUILD_BFLOAT = 4,          // bfloat16
  AOTBUILD_COMPLEX = 5,         // two IEEE 754 numbers, 32 to 128 bits in all
  AOTBUILD_BOOL = 6,            // a byte that is 0 or 1
  AOTBUILD_FLOAT8_E4M3FN = 10,  // 8 bits, 4 of them exponent, no infinities
  AOTBUILD_FLOAT8_E5M2 = 12,    // 8 bits, 5 of them exponent
};

// A tensor in somebody's memory.
typedef struct aotbuild_tensor {
  // An output with null `data` asks the library to allocate: `_run` then sets every field, and `data`, `shape` and
  // `strides` point into the result. Otherwise shape and strides describe the caller's memory and have to fit.
  void* data;
  aotbuild_device device;  // where `data` lies
  int32_t ndim;            // the number of dimensions
  aotbuild_dtype dtype;    // the type of the elements
  int64_t* shape;          // `ndim` sizes
  int64_t* strides;        // `ndim` strides in elements; null means contiguous (row-major)
  uint64_t byte_offset;    // from `data` to the first element
} aotbuild_tensor;

// One dimension of an input or output. A static size has `symbol` null and min == max.
// A dynamic size is multiplier * symbol + offset when `symbol` is set; all dimensions with one symbol vary together.
typedef struct aotbuild_dim_info {
  uint32_t struct_size;  // of this structure, in bytes
  // The smallest size.
  int64_t min;
  int64_t max;         // the largest size
  const char* symbol;  // the name of what varies; null for a static size
  int64_t multiplier;  // of the symbol's value
  int64_t offset;      // added to that
} aotbuild_dim_info;

// An input or output of a method.
typedef struct aotbuild_tensor_info {
  uint32_t struct_size;                  // of this structure, in bytes
  int32_t ndim;                          // the number of dimensions
  const char* name;                      // the name in the model's signature, "a.b" for nested ones
  aotbuild_dtype dtype;                  // the type of the elements
  int32_t is_written;                    // 1: an input that a call writes to
  aotbuild_device device;                // that the model computes on
  const aotbuild_dim_info* const* dims;  // `ndim` of them
  const int64_t* strides;  // null: contiguous. Otherwise `ndim` required strides; -1 marks one that may vary
} aotbuild_tensor_info;

// A weight of a model: a parameter, buffer or constant.
typedef struct aotbuild_weight_info {
  uint32_t struct_size;  // of this structure, in bytes
  int32_t ndim;          // the number of dimensions
  const char* name;      // the name in the model's state_dict, or the constant's name
  const int64_t* shape;  // `ndim` sizes
  aotbuild_dtype dtype;  // the type of the elements
} aotbuild_weight_info;

// A function of a model.
typedef struct aotbuild_method_info {
  uint32_t struct_size;                        // of this structure, in bytes
  const char* name;                            // of METHODS, or `run`
  size_t input_count;                          // how many inputs a call takes
  const aotbuild_tensor_info* const* inputs;   // in the order of a call
  size_t output_count;                         // how many outputs a call gives
  const aotbuild_tensor_info* const* outputs;  // in the order of a call
} aotbuild_method_info;

// What a model is: known without creating one.
typedef struct aotbuild_model_info {
  uint32_t abi_version;                        // AOTBUILD_ABI_VERSION of the library
  uint32_t struct_size;                        // of this structure, in bytes
  const char* name;                            // the CMake target
  size_t method_count;                         // how many functions it has
  const aotbuild_method_info* const* methods;  // one called "run" of a model that was built without METHODS
  size_t weight_count;                         // how many weights it has
  const aotbuild_weight_info* const* weights;  // `weight_count` of them
  const char* manifest;                        // the manifest as JSON: versions, options, signature
  int32_t world_size;                          // WORLD_SIZE: ranks of a model for several GPUs; 0: it is for one
} aotbuild_model_info;

// A weight that a program gives.
typedef struct aotbuild_named_tensor {
  uint32_t struct_size;    // sizeof(aotbuild_named_tensor), in every element of an array
  const char* name;        // in the model's state_dict
  aotbuild_tensor tensor;  // of the shape and type that the model has it in
} aotbuild_named_tensor;

// By it the ranks of a model for several GPUs find each other. One rank makes it, all are created with it.
typedef struct aotbuild_communicator_id {
  char bytes[128];  // NCCL's unique id
} aotbuild_communicator_id;

// What a model is created with. Zero-initialise, set `struct_size`, then set what you need.
typedef struct aotbuild_options {
  uint32_t struct_size;      // sizeof(aotbuild_options)
  int32_t num_threads;       // threads of one call; 0: what OpenMP says (OMP_NUM_THREADS, else all cores)
  const char* weights_file;  // a safetensors file; null: the embedded weights, or the file beside the library
  const aotbuild_named_tensor* weights;  // WEIGHTS EXTERNAL: tensors by name; borrowed, they must outlive the model
  size_t weight_count;                   // how many `weights` there are
  aotbuild_device device;                // type 0: the device that the model was built for, index 0
  // CUDA: how many graphs are kept, each for one set of input sizes; as many for each call that runs at the same time.
  // A graph is captured when sizes come for the second time, and replayed from then on; the one that was not used for
  // longest makes room. 0: 16. -1: none, every call launches its kernels.
  int32_t cuda_graphs;
  // A model for several GPUs (WORLD_SIZE): the id of its ranks, and which of them this object is. Ranks are threads or
  // processes, each with a device of its own; all make the same calls in the same order. Creation waits for all of
  // them.
  const aotbuild_communicator_id* communicator_id;
  int32_t rank;
  // How long a rank waits for the others, in milliseconds, before the call is an error on all. 0: a minute.
  int32_t collective_timeout;
} aotbuild_options;

// What a model on a GPU has done so far; zeros for the CPU. Set `struct_size` before asking for it.
typedef struct aotbuild_statistics {
  uint32_t struct_size;         // sizeof(aotbuild_statistics)
  uint64_t calls;               // since the model was created
  uint64_t graph_captures;      // calls that captured a graph
  uint64_t graph_replays;       // calls that replayed a graph
  uint64_t driver_allocations;  // of device and pinned memory; does not grow once all sizes have come
  uint64_t device_bytes;        // held now: weights, workspaces, results
  // Why calls launch their kernels instead of replaying graphs; null when nothing keeps them from it. Lives as long as
  // the model.
  const char* graph_obstacle;
} aotbuild_statistics;

// A model object.
typedef struct aotbuild_model aotbuild_model;
// Owns the memory of those outputs that the library allocated. `_run` accepts null for it when the caller provides the
// memory of every output.
typedef struct aotbuild_result aotbuild_result;
// A hand-written kernel of add_aot_kernel, loaded on a device. Its library's own header declares the functions.
typedef struct aotbuild_kernel aotbuild_kernel;

// The functions of one model in one table, found in a shared library as the symbol `aotbuild_model_api`. `method` is an
// index of `aotbuild_model_info::methods`; 0 is the only one of a model that was built without METHODS.
typedef struct aotbuild_api {
  uint32_t abi_version;  // AOTBUILD_ABI_VERSION of the library
  uint32_t struct_size;  // of this structure, in bytes
  // What the model is; lives as long as the library.
  const aotbuild_model_info* (*describe)(void);
  // Makes a model object. Null options are all zero.
  aotbuild_status (*create)(const aotbuild_options* options, aotbuild_model** model);
  // Ends it; null is nothing to end.
  void (*destroy)(aotbuild_model* model);
  // What was wrong with this thread's last call that failed; lives until its next one.
  const char* (*last_error)(void);
  // Calls a method. `stream` is null, but for CUDA. `result` may be null where every output has memory.
  aotbuild_status (*run)(aotbuild_model* model, size_t method, void* stream, const aotbuild_tensor* inputs,
                         size_t input_count, aotbuild_tensor* outputs, size_t output_count, aotbuild_result** result);
  // Ends what a call allocated.
  void (*destroy_result)(aotbuild_result* result);
  // Another object over the same weights, with state of its own.
  aotbuild_status (*new_session)(aotbuild_model* model, aotbuild_model** session);
  // Swaps the weights for those of a safetensors file.
  aotbuild_status (*load_weights)(aotbuild_model* model, const char* path);
  // Swaps the weights for tensors by name, which are borrowed as `aotbuild_options::weights` are.
  aotbuild_status (*set_weights)(aotbuild_model* model, const aotbuild_named_tensor* weights, size_t count);
  // Begins the random numbers of the calls that follow anew.
  aotbuild_status (*manual_seed)(aotbuild_model* model, uint64_t seed);
  // What a model on a GPU has done so far.
  aotbuild_status (*statistics)(const aotbuild_model* model, aotbuild_statistics* statistics);
  // CUDA: captures the graph for inputs of these sizes, whose data is not read.
  aotbuild_status (*capture_graph)(aotbuild_model* model, size_t method, const aotbuild_tensor* inputs,
                                   size_t input_count);
  // CUDA: waits for the work that is queued on a stream.
  aotbuild_status (*synchronize)(aotbuild_model* model, void* stream);
} aotbuild_api;

#ifdef __cplusplus
}
#endif

#endif  // AOTBUILD_C_API_H_
