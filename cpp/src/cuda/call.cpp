#include "cuda/call.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "aotbuild/detail/cuda_spec.hpp"
#include "tensor/copy.hpp"

namespace aotbuild::detail::cuda {

namespace {

constexpr std::uintptr_t kKernelAlignment = 16;

// Calls `rectangle(pointers, width in bytes, height, pitches)` until all elements of `loop` are covered. Rows of the
// rectangles have no gaps.
template <std::size_t kOperands, typename Rectangle>
void for_each_rectangle(const StridedLoop<kOperands>& loop, std::array<char*, kOperands> at, std::int64_t element,
                        Rectangle&& rectangle) {
  const auto& sizes = loop.sizes();
  const auto& strides = loop.strides();
  std::size_t inner = sizes.size();
  std::int64_t width = element;
  const auto is_stride = [&](std::size_t d, auto&& fits) {
    for (const std::int64_t stride : strides[d]) {
      if (!fits(stride)) return false;
    }
    return true;
  };
  if (inner > 0 && is_stride(inner - 1, [&](std::int64_t stride) { return stride == element; })) {
    width *= sizes[--inner];
  }
  std::int64_t height = 1;
  std::array<std::int64_t, kOperands> pitches;
  pitches.fill(width);
  if (inner > 0 && is_stride(inner - 1, [&](std::int64_t stride) { return stride >= width; })) {
    height = sizes[--inner];
    pitches = strides[inner];
  }
  StridedLoop<kOperands> outer;
  for (std::size_t d = 0; d < inner; ++d) outer.add_dim(sizes[d], strides[d]);
  outer.run(at, [&](std::array<char*, kOperands> pointers, std::int64_t count,
                    const std::array<std::int64_t, kOperands>& steps) {
    for (std::int64_t i = 0; i < count; ++i) {
      rectangle(pointers, static_cast<std::size_t>(width), static_cast<std::size_t>(height), pitches);
      for (std::size_t k = 0; k < kOperands; ++k) pointers[k] += steps[k];
    }
  });
}

}  // namespace

CudaCall::CudaCall(const std::shared_ptr<CudaDevice>& device, const CudaKernels& kernels, CudaWorkspace& workspace,
                   ResultPool& results, SeedGenerator& seeds, Communicator* communicator, Stream stream,
                   const CheckedCall* call, bool captures)
    : device_(device),
      kernels_(kernels),
      workspace_(workspace),
      results_(results),
      seeds_(seeds),
      communicator_(communicator),
      stream_(stream),
      call_(call),
      captures_(captures),
      result_blocks_(call != nullptr ? call->signature.outputs.size() : 0) {
  aotbuild::detail::Workspace::current()->set_device_call(this);
}

CudaCall::~CudaCall() {
  kept_.clear();
  aotbuild::detail::Workspace::current()->set_device_call(nullptr);
}

void* CudaCall::allocate(std::size_t nbytes, void** block) {
  Block* allocated = workspace_.memory.allocate(nbytes);
  *block = allocated;
  return reinterpret_cast<void*>(allocated->data);  // NOLINT: an address on the device
}

void CudaCall::deallocate(void* block) noexcept { workspace_.memory.deallocate(static_cast<Block*>(block)); }

void CudaCall::launch(int kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z, void** arguments) {
  const std::size_t blocks = std::size_t{grid_x} * grid_y * grid_z;
  const std::size_t nbytes = kernels_.scratch_bytes(kernel, blocks);
  void* block = nullptr;
  void* scratch = nullptr;
  if (nbytes != 0) {
    scratch = allocate(nbytes, &block);
    arguments[scratch_argument(kernels_.spec(kernel))] = &scratch;
  }
  try {
    kernels_.launch(kernel, grid_x, grid_y, grid_z, arguments, stream_, &follows_kernel_);
  } catch (...) {
    if (block != nullptr) deallocate(block);
    throw;
  }
  if (block != nullptr) deallocate(block);  // what is queued later comes later
}

void* CudaCall::allocate_result(std::size_t i, std::size_t nbytes, bool on_host) {
  result_blocks_[i] = on_host ? results_.allocate_host(nbytes, workspace_)
                              : results_.allocate_device(nbytes, static_cast<Stream>(call_->stream), workspace_);
  return result_blocks_[i].get();
}

TensorPtr CudaCall::allocate_output(ScalarType dtype, std::int64_t ndim, const std::int64_t* sizes,
                                    const std::int64_t* strides, int output_index) {
  if (call_ != nullptr && output_index >= 0 && static_cast<std::size_t>(output_index) < result_blocks_.size()) {
    const auto i = static_cast<std::size_t>(output_index);
    const aotbuild_tensor& output = call_->outputs[i];
    const std::size_t nbytes = extent_bytes(dtype, ndim, sizes, strides);
    if (output.device.type == AOTBUILD_CUDA && output.data == nullptr && result_blocks_[i] == nullptr) {
      return make_borrowed(allocate_result(i, nbytes, false), nbytes, dtype, ndim, sizes, strides, device());
    }
    if (output.device.type == AOTBUILD_CUDA && output.data != nullptr && call_->in_place[i] && output.ndim == ndim &&
        std::equal(sizes, sizes + ndim, output.shape) && has_strides(output, strides)) {
      call_->in_place[i] = false;
      return make_borrowed(data_of(output), nbytes, dtype, ndim, sizes, strides, device());
    }
  }
  return make_device_tensor(*this, dtype, ndim, sizes, strides);
}

void CudaCall::need_host(const char* function, const char* what) {
  if (!is_capturing()) return;
  obstacle_ = concat(function, " ", what);
  fail(function, what);
}

void CudaCall::copy(Tensor& destination, const Tensor& source, const char* function) {
  if (destination.on_device() && source.on_device()) {
    copy_on_device(destination, source, function);
  } else if (destination.on_device()) {
    copy_from_host(destination, source, function);
  } else {
    copy_to_host(destination, source, function);
  }
}

void CudaCall::copy_bytes(void* destination, const void* source, std::size_t nbytes, const char* function) {
  if (nbytes == 0) return;
  device_->check(
      device_->driver().copy_on_device(device_pointer(destination), device_pointer(source), nbytes, copy_stream()),
      "cuMemcpyDtoDAsync", " in ", function, " for ", nbytes, " bytes");
}

void CudaCall::copy_on_device(Tensor& destination, const Tensor& source, const char* function) {
  if (destination.dtype != source.dtype) {
    fail(function, "cannot convert ", dtype_name(source.dtype), " to ", dtype_name(destination.dtype),
         " on the GPU; only generated kernels do");
  }
  const StridedLoop<2> loop = copy_loop(destination, source, function);
  if (loop.is_empty()) return;
  for_each_rectangle(loop, {destination.data_as<char>(), source.data_as<char>()},
                     static_cast<std::int64_t>(source.element_size()),
                     [&](const std::array<char*, 2>& at, std::size_t width, std::size_t height,
                         const std::array<std::int64_t, 2>& pitches) {
                       if (height == 1) return copy_bytes(at[0], at[1], width, function);
                       Copy2D rectangle{};
                       rectangle.destination_type = kMemoryTypeDevice;
                       rectangle.destination_device = device_pointer(at[0]);
                       rectangle.destination_pitch = static_cast<std::size_t>(pitches[0]);
                       rectangle.source_type = kMemoryTypeDevice;
                       rectangle.source_device = device_pointer(at[1]);
                       rectangle.source_pitch = static_cast<std::size_t>(pitches[1]);
                       rectangle.width = width;
                       rectangle.height = height;
                       device_->check(device_->driver().copy_2d(&rectangle, copy_stream()), "cuMemcpy2DAsync", " in ",
                                      function, " for ", height, " rows of ", width, " bytes");
                     });
}

void CudaCall::copy_from_host(Tensor& destination, const Tensor& source, const char* function) {
  need_host(function, "copies from the CPU's memory");
  // In the destination's layout where that has no gaps, so that it is one copy.
  const bool dense = is_dense(destination);
  const TensorPtr staged =
      make_tensor(destination.dtype, destination.ndim, destination.sizes(), dense ? destination.strides() : nullptr);
  aotbuild::detail::copy(*staged, source, function);
  const std::size_t nbytes = staged->storage->nbytes;
  if (nbytes == 0) return;
  TensorPtr uploaded;
  if (!dense) uploaded = make_device_tensor(*this, staged->dtype, staged->ndim, staged->sizes(), nullptr);
  Tensor& target = dense ? destination : *uploaded;
  // From memory that is not pinned, the driver has taken the bytes when this returns.
  device_->check(device_->driver().copy_to_device(device_pointer(target.data()), staged->data(), nbytes, copy_stream()),
                 "cuMemcpyHtoDAsync", " in ", function, " for ", nbytes, " bytes");
  if (!dense) copy_on_device(destination, target, function);
}

void CudaCall::copy_to_host(Tensor& destination, const Tensor& source, const char* function) {
  need_host(function, "reads the GPU's memory");
  TensorPtr gathered;
  const bool dense = is_dense(source);
  if (!dense) {
    gathered = make_device_tensor(*this, source.dtype, source.ndim, source.sizes(), nullptr);
    copy_on_device(*gathered, source, function);
  }
  const Tensor& readable = dense ? source : *gathered;
  const TensorPtr staged = make_tensor(readable.dtype, readable.ndim, readable.sizes(), readable.strides());
  const std::size_t nbytes = staged->storage->nbytes;
  if (nbytes != 0) {
    device_->check(
        device_->driver().copy_to_host(staged->data(), device_pointer(readable.data()), nbytes, copy_stream()),
        "cuMemcpyDtoHAsync", " in ", function, " for ", nbytes, " bytes");
    device_->check(device_->driver().stream_synchronize(stream_), "cuStreamSynchronize", " in ", function);
  }
  aotbuild::detail::copy(destination, *staged, function);
}

void CudaCall::fill(Tensor& destination, const void* value, const char* function) {
  StridedLoop<1> loop;
  const std::size_t element = destination.element_size();
  for (std::int32_t d = 0; d < destination.ndim; ++d) {
    loop.add_dim(destination.sizes()[d], {destination.strides()[d] * static_cast<std::int64_t>(element)});
  }
  if (loop.is_empty()) return;
  const Driver& driver = device_->driver();
  std::array<unsigned, 4> words{};
  std::memcpy(words.data(), value, element);
  const bool uniform = std::all_of(words.begin(), words.begin() + std::max<std::size_t>(element / 4, 1),
                                   [&](unsigned word) { return word == words[0]; });
  for_each_rectangle(
      loop, {destination.data_as<char>()}, static_cast<std::int64_t>(element),
      [&](const std::array<char*, 1>& at, std::size_t width, std::size_t height,
          const std::array<std::int64_t, 1>& pitches) {
        const DevicePointer data = device_pointer(at[0]);
        auto pitch = static_cast<std::size_t>(pitches[0]);
        int result = kSuccess;
        if (element == 1) {
          result = driver.set_2d_8(data, pitch, static_cast<unsigned char>(words[0]), width, height, copy_stream());
        } else if (element == 2) {
          result =
              driver.set_2d_16(data, pitch, static_cast<unsigned short>(words[0]), width / 2, height, copy_stream());
        } else if (uniform) {
          result = driver.set_2d_32(data, pitch, words[0], width / 4, height, copy_stream());
        }
        // Larger elements word by word, down a column that is one word wide; row by row.
        for (std::size_t row = 0; !uniform && row < height; ++row) {
          for (std::size_t w = 0; w < element / 4 && result == kSuccess; ++w) {
            result = driver.set_2d_32(data + row * pitch + 4 * w, element, words[w], 1, width / element, copy_stream());
          }
        }
        device_->check(result, "cuMemsetD2DAsync", " in ", function);
      });
}

Tensor* CudaCall::aligned(Tensor& tensor) {
  if (reinterpret_cast<std::uintptr_t>(tensor.data()) % kKernelAlignment == 0) return &tensor;
  TensorPtr made = make_device_tensor(*this, tensor.dtype, tensor.ndim, tensor.sizes(), tensor.strides());
  copy_bytes(made->data(), tensor.data(), made->storage->nbytes, "context_aligned");
  kept_.push_back(std::move(made));
  return kept_.back().get();
}

void CudaCall::write_seeds(void* data, std::size_t count) {
  const std::vector<std::int64_t> values = seeds_.next(count);
  const std::size_t nbytes = count * sizeof(std::int64_t);
  // From memory that is not pinned, the driver has taken the bytes when this returns.
  device_->check(device_->driver().copy_to_device(device_pointer(data), values.data(), nbytes, copy_stream()),
                 "cuMemcpyHtoDAsync", " for random seeds");
}

void CudaCall::collective(Collective operation, const Tensor& source, Tensor& target, int argument) {
  constexpr const char* kFunction = "context_collective";
  if (communicator_ == nullptr) fail(kFunction, "the model is for one GPU");
  const auto ranks = static_cast<std::int64_t>(communicator_->world_size());
  const std::int64_t given = source.numel();
  const std::int64_t expected = operation == Collective::kAllGather       ? given * ranks
                                : operation == Collective::kReduceScatter ? given / ranks
                                                                          : given;
  const bool is_on_device = source.on_device() && target.on_device();
  if (!is_on_device || source.dtype != target.dtype || !is_contiguous(source) || !is_contiguous(target) ||
      target.numel() != expected ||
      (operation != Collective::kAllGather && given % ranks != 0 && operation != Collective::kAllReduce &&
       operation != Collective::kBroadcast)) {
    fail(kFunction, "expected contiguous tensors of one type on the GPU, got ", dtype_name(source.dtype), ' ',
         format_dims(source.ndim, source.sizes()), " and ", dtype_name(target.dtype), ' ',
         format_dims(target.ndim, target.sizes()));
  }
  const auto count = static_cast<std::size_t>(operation == Collective::kReduceScatter ? expected : given);
  if (count == 0) return;
  const Stream stream = copy_stream();
  const auto by = static_cast<Reduction>(argument);
  switch (operation) {
    case Collective::kAllReduce:
      return communicator_->all_reduce(source.data(), target.data(), count, source.dtype, by, stream);
    case Collective::kAllGather:
      return communicator_->all_gather(source.data(), target.data(), count, source.dtype, stream);
    case Collective::kReduceScatter:
      return communicator_->reduce_scatter(source.data(), target.data(), count, source.dtype, by, stream);
    case Collective::kBroadcast:
      return communicator_->broadcast(source.data(), target.data(), count, source.dtype, argument, stream);
    case Collective::kAllToAll:
      return communicator_->all_to_all(source.data(), target.data(), count, source.dtype, stream);
  }
}

void CudaCall::random_seeds(Tensor& seeds) {
  constexpr const char* kFunction = "context_random_seeds";
  if (!seeds.on_device() || seeds.dtype != ScalarType::kInt64 || !is_dense(seeds)) {
    fail(kFunction, "expected a dense int64 tensor on the GPU, got ", dtype_name(seeds.dtype), " of sizes ",
         format_dims(seeds.ndim, seeds.sizes()));
  }
  const auto count = static_cast<std::size_t>(seeds.numel());
  if (count == 0) return;
  if (!is_capturing()) return write_seeds(seeds.data(), count);
  kept_.push_back(make_device_tensor(*this, seeds.dtype, seeds.ndim, seeds.sizes(), seeds.strides()));
  void* source = kept_.back()->data();
  copy_bytes(seeds.data(), source, count * sizeof(std::int64_t), kFunction);
  seed_blocks_.push_back({source, count});
}

void CudaCall::refill_seeds(const std::vector<SeedBlock>& blocks) {
  for (const SeedBlock& block : blocks) write_seeds(block.data, block.count);
}

namespace {

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011): the generator of cuRAND, which is PyTorch's on GPUs.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::uint64_t seed) {
  auto low_key = static_cast<std::uint32_t>(seed);
  auto high_key = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t first = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t second = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(second >> 32) ^ counter[1] ^ low_key, static_cast<std::uint32_t>(second),
               static_cast<std::uint32_t>(first >> 32) ^ counter[3] ^ high_key, static_cast<std::uint32_t>(first)};
    low_key += 0x9E3779B9U;
    high_key += 0xBB67AE85U;
  }
  return counter;
}

}  // namespace

void SeedGenerator::manual_seed(std::uint64_t seed) {
  const std::lock_guard<std::mutex> lock(mutex_);
  seed_ = seed;
  draws_ = 0;
}

std::vector<std::int64_t> SeedGenerator::next(std::size_t count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::int64_t> seeds(count);
  for (std::size_t i = 0; i < count; ++i) {  // one thread of PyTorch's kernel an element: a subsequence of its own
    const auto words = philox({static_cast<std::uint32_t>(draws_), static_cast<std::uint32_t>(draws_ >> 32),
                               static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(std::uint64_t{i} >> 32)},
                              seed_);
    const std::uint64_t bits = (std::uint64_t{words[0]} << 32) | words[1];
    seeds[i] = static_cast<std::int64_t>(bits % UINT64_MAX + (std::uint64_t{1} << 63));
  }
  ++draws_;
  return seeds;
}

}  // namespace aotbuild::detail::cuda

namespace aotbuild::detail {

namespace {
cuda::CudaCall& cuda_call(const CallContext& context, const char* function) {
  if (context.device == nullptr) fail(function, "this is no call of a model for CUDA");
  return static_cast<cuda::CudaCall&>(*context.device);
}
}  // namespace

void context_launch(CallContext& context, int kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                    void** arguments) {
  cuda_call(context, "context_launch").launch(kernel, grid_x, grid_y, grid_z, arguments);
}

void* context_index_error(CallContext& context) { return cuda_call(context, "context_index_error").index_error(); }

AtenTensorHandle context_aligned(CallContext& context, AtenTensorHandle tensor) {
  if (tensor == nullptr || tensor->storage == nullptr) fail("context_aligned", "the tensor is null");
  if (!tensor->on_device()) return tensor;
  return cuda_call(context, "context_aligned").aligned(*tensor);
}

void context_collective(CallContext& context, Collective operation, AtenTensorHandle source, AtenTensorHandle target,
                        int argument) {
  constexpr const char* kFunction = "context_collective";
  for (const AtenTensorHandle tensor : {source, target}) {
    if (tensor == nullptr || tensor->storage == nullptr) fail(kFunction, "a tensor is null");
  }
  cuda_call(context, kFunction).collective(operation, *source, *target, argument);
}

void context_random_seeds(CallContext& context, AtenTensorHandle seeds) {
  if (seeds == nullptr || seeds->storage == nullptr) fail("context_random_seeds", "the tensor is null");
  cuda_call(context, "context_random_seeds").random_seeds(*seeds);
}

}  // namespace aotbuild::detail
