// What generated CUDA code hands to the runtime and asks of it: kernel binaries with how to launch them, and launches.
// Private: generated sources and the runtime are always of the same aotbuild version.
#ifndef AOTBUILD_DETAIL_CUDA_SPEC_HPP_
#define AOTBUILD_DETAIL_CUDA_SPEC_HPP_

#include <cstddef>
#include <cstdint>

#include "aotbuild/detail/export.h"
#include "aotbuild/detail/spec.h"

namespace aotbuild::detail {

// Which devices load an image that was compiled for an architecture, given as 10 * major + minor of its compute
// capability (CUDA C++ Programming Guide, "Application Compatibility" and "Family-Specific and Architecture-Specific
// Features").
enum class CudaImageKind : int {
  kCubin = 0,             // the same major capability and the same or a later minor one
  kArchitectureSpecific,  // exactly this capability: Triton compiles for sm_90a, sm_100a, sm_120a
  kPtx,                   // this capability and all later ones: the driver compiles it when it is loaded
};

// One kernel. Block size is (threads, 1, 1).
struct CudaKernelSpec {
  const char* name;            // the entry function in the image
  const unsigned char* image;  // cubin, or PTX with a terminating zero
  std::size_t image_size;
  unsigned threads;
  unsigned shared_bytes;       // dynamic shared memory; above 48 KiB the function's attribute must allow it
  unsigned cluster_blocks;     // blocks of a thread block cluster, 1 without; the grid's x is multiplied by it
  unsigned parameter_count;    // values that a launch passes
  bool cooperative;            // all blocks must be resident at once
  bool waits;                  // for the kernel before it, before it touches memory: it may be started early
  unsigned scratch_bytes = 0;  // of global memory a block, for tensor descriptors that it makes
};

// Which of a kernel's parameters is the address of its scratch memory. The last one is for profiling, and null.
constexpr std::size_t scratch_argument(const CudaKernelSpec& kernel) { return kernel.parameter_count - 2; }

// A matrix product that a kernel computes and that cuBLASLt may compute in its place: for each batch
// out[m, n] = a[m, k] @ b[k, n] + bias[n]. All tensors are of one type; the rows of `out` follow one another.
struct CudaProductSpec {
  int kernel;
  std::int32_t dtype;         // as in shim.h
  std::int64_t sizes[4];      // batch, m, n, k
  std::int64_t a_strides[3];  // in elements: batch, row, column, of which one of the last two is 1
  std::int64_t b_strides[3];
  int a;  // which of the kernel's parameters they are, and there are no others
  int b;
  int bias;  // -1: none
  int out;
  unsigned grid[3];
};

// Tensors that depend on weights alone, such as weights in the layout that a kernel reads best. They are computed when
// weights are loaded; the run function reads them as further weights.
struct CudaDerivedSpec {
  // As VariantSpec::run, without inputs.
  void (*derive)(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs);
  std::size_t count;  // of outputs
  // Weights that the run function does not read: they need not stay on the device.
  std::size_t unread_count;
  const int* unread;
};

// The kernels of one VariantSpec. A device serves it if it loads the images and allows `max_shared_bytes` a block: an
// sm_80 image loads on capability 8.6, which has less shared memory.
struct CudaVariantSpec {
  int architecture;  // 90 for sm_90
  CudaImageKind kind;
  unsigned max_shared_bytes;
  std::size_t kernel_count;
  const CudaKernelSpec* kernels;
  const CudaDerivedSpec* derived = nullptr;  // null: nothing is derived
  std::size_t product_count = 0;             // that cuBLASLt may compute
  const CudaProductSpec* products = nullptr;
};

// ModelSpec::make_device_model of a model whose variants are all for CUDA.
AOTBUILD_RUNTIME_API DeviceModel* make_cuda_model(const ModelSpec& spec, const aotbuild_options& options);

// Launches kernel `kernel` of the variant that runs, on the stream of the call. `arguments[i]` points at the value of
// parameter i, as for cuLaunchKernel. Does nothing when a size of the grid is 0.
AOTBUILD_RUNTIME_API void context_launch(CallContext& context, int kernel, unsigned grid_x, unsigned grid_y,
                                         unsigned grid_z, void** arguments);

// `tensor`, if its data pointer is a multiple of 16 bytes, as kernels expect of inputs; else a copy that is, valid
// until the run function returns. Borrowed either way.
AOTBUILD_RUNTIME_API AtenTensorHandle context_aligned(CallContext& context, AtenTensorHandle tensor);

// Fills `seeds`, int64 on the device, with numbers that no other call of the model's gets.
AOTBUILD_RUNTIME_API void context_random_seeds(CallContext& context, AtenTensorHandle seeds);

// Collective operations of all ranks of a model, in the order in which each rank queues them. `source` and `target` are
// contiguous and may be one tensor for kAllReduce and kBroadcast. `argument`: a Reduction's number, or kBroadcast's
// root.
enum class Collective : int { kAllReduce = 0, kAllGather, kReduceScatter, kBroadcast, kAllToAll };
enum class Reduction : int { kSum = 0, kProduct = 1, kMaximum = 2, kMinimum = 3, kMean = 4 };  // ncclRedOp_t
AOTBUILD_RUNTIME_API void context_collective(CallContext& context, Collective operation, AtenTensorHandle source,
                                             AtenTensorHandle target, int argument);

// Where a kernel that was given an index out of bounds writes what stands for its name (inductor/cuda/indexing.py): an
// int32 that host and device have in common. The call that finds it there fails.
AOTBUILD_RUNTIME_API void* context_index_error(CallContext& context);

}  // namespace aotbuild::detail

extern "C" {
// A new id for the ranks of a model, by NCCL.
AOTBUILD_RUNTIME_API aotbuild_status aotbuild_cuda_make_communicator_id(const aotbuild::detail::ModelSpec* spec,
                                                                        aotbuild_communicator_id* id);
}

#endif  // AOTBUILD_DETAIL_CUDA_SPEC_HPP_
