// Hand-written kernels as functions of a program: loaded on a device, their arguments checked, launched on its stream.
#include "aotbuild/detail/launcher.hpp"

#include <array>
#include <memory>

#include "cuda/kernels.hpp"
#include "model/versioned_struct.hpp"

namespace {

namespace cuda = aotbuild::detail::cuda;
using aotbuild::detail::argument_value;
using aotbuild::detail::fail;
using aotbuild::detail::GridFunction;
using aotbuild::detail::KernelParameterSpec;
using aotbuild::detail::LauncherSpec;
using aotbuild::detail::reported;
using aotbuild::detail::VariantSpec;

// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"
constexpr std::array<std::int64_t, 3> kMaxBlocks = {2147483647, 65535, 65535};

std::int64_t integer_of(const KernelParameterSpec& parameter, const void* argument) {
  switch (parameter.size) {
    case 1:
      return argument_value<std::int8_t>(argument);
    case 2:
      return argument_value<std::int16_t>(argument);
    case 4:
      return argument_value<std::int32_t>(argument);
    default:
      return argument_value<std::int64_t>(argument);
  }
}

}  // namespace

struct aotbuild_kernel {
 public:
  aotbuild_kernel(const LauncherSpec& spec, int device)
      : spec_(spec), device_(std::make_shared<cuda::CudaDevice>(cuda::open_driver(spec.name), device, spec.name)) {
    const cuda::ContextScope scope(*device_);
    const VariantSpec& variant = cuda::choose_variant(spec.variants, spec.variant_count, *device_);
    grid_ = spec.grids[&variant - spec.variants];
    kernels_ = std::make_unique<cuda::CudaKernels>(device_, *variant.cuda);
  }

  void launch(void* stream, void** arguments) const {
    const std::array<std::int64_t, 3> blocks = blocks_of(arguments);
    if (blocks[0] == 0 || blocks[1] == 0 || blocks[2] == 0) return;
    for (std::size_t i = 0; i < spec_.parameter_count; ++i) check(spec_.parameters[i], arguments[i]);
    const cuda::ContextScope scope(*device_);
    bool follows_kernel = false;  // nothing is known of the stream
    kernels_->launch(0, static_cast<unsigned>(blocks[0]), static_cast<unsigned>(blocks[1]),
                     static_cast<unsigned>(blocks[2]), arguments, static_cast<cuda::Stream>(stream), &follows_kernel);
  }

 private:
  std::array<std::int64_t, 3> blocks_of(void** arguments) const {
    std::array<std::int64_t, 3> blocks{};
    try {
      grid_(arguments, blocks.data());
    } catch (const std::domain_error& error) {
      fail(AOTBUILD_INVALID_ARGUMENT, spec_.name, ": GRID ", error.what(), " with these arguments: ", grid_text());
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i] >= 0 && blocks[i] <= kMaxBlocks[i]) continue;
      fail(AOTBUILD_INVALID_ARGUMENT, spec_.name, ": GRID ", spec_.grid[i], " is ", blocks[i],
           " with these arguments; ", "CUDA allows 0 to ", kMaxBlocks[i], " blocks in ", "xyz"[i]);
    }
    return blocks;
  }

  std::string grid_text() const {
    return aotbuild::detail::concat(spec_.grid[0], ", ", spec_.grid[1], ", ", spec_.grid[2]);
  }

  void check(const KernelParameterSpec& parameter, const void* argument) const {
    if (parameter.is_pointer) {
      const auto address = argument_value<std::uintptr_t>(argument);
      if (address == 0) fail(AOTBUILD_INVALID_ARGUMENT, spec_.name, ": argument '", parameter.name, "' is null");
      if (address % parameter.alignment == 0) return;
      fail(AOTBUILD_INVALID_ARGUMENT, spec_.name, ": argument '", parameter.name, "' points to an address that is no ",
           "multiple of ", parameter.alignment, ", as its type in SIGNATURE promises");
    }
    if (parameter.alignment == 1) return;
    const std::int64_t value = integer_of(parameter, argument);
    if (value % parameter.alignment == 0) return;
    fail(AOTBUILD_INVALID_ARGUMENT, spec_.name, ": argument '", parameter.name, "' is ", value, ", no multiple of ",
         parameter.alignment, ", as its type in SIGNATURE promises");
  }

  const LauncherSpec& spec_;
  const std::shared_ptr<cuda::CudaDevice> device_;
  GridFunction grid_ = nullptr;
  std::unique_ptr<const cuda::CudaKernels> kernels_;
};

aotbuild_status aotbuild_kernel_create(const LauncherSpec* spec, std::int32_t device, aotbuild_kernel** kernel) {
  return reported([&] {
    if (kernel == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, spec->name, ": nowhere to put the kernel");
    *kernel = nullptr;
    if (spec->release != AOTBUILD_RELEASE) aotbuild::detail::refuse_release(spec->name, spec->release);
    *kernel = new aotbuild_kernel(*spec, device);
  });
}

aotbuild_status aotbuild_kernel_launch(const aotbuild_kernel* kernel, void* stream, void** arguments) {
  return reported([&] {
    if (kernel == nullptr) fail(AOTBUILD_INVALID_ARGUMENT, "aotbuild_kernel_launch: the kernel is null");
    kernel->launch(stream, arguments);
  });
}

void aotbuild_kernel_destroy(aotbuild_kernel* kernel) { delete kernel; }
