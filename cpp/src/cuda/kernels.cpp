#include "cuda/kernels.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace aotbuild::detail::cuda {

namespace {

// Without asking, a kernel may use this much (CUDA C++ Programming Guide, "Shared Memory" of each capability).
constexpr unsigned kPlainSharedBytes = 48 * 1024;
constexpr unsigned kPortableClusterBlocks = 8;
// Programmatic dependent launches are captured into graphs since this release ("CUDA C++ Programming Guide", "Use in
// CUDA Graphs").
constexpr int kProgrammaticLaunchVersion = 12030;

bool loads_on(const CudaVariantSpec& variant, int capability) {
  switch (variant.kind) {
    case CudaImageKind::kCubin:
      return variant.architecture / 10 == capability / 10 && variant.architecture <= capability;
    case CudaImageKind::kArchitectureSpecific:
      return variant.architecture == capability;
    case CudaImageKind::kPtx:
      return variant.architecture <= capability;
  }
  return false;
}

// Binaries before PTX, which the driver has still to compile; then the later architecture.
std::pair<bool, int> rank_of(const CudaVariantSpec& variant) {
  return {variant.kind != CudaImageKind::kPtx, variant.architecture};
}

// What a kernel writes that was given an index out of bounds: _code of inductor/cuda/indexing.py.
std::int32_t index_error_code(const char* name) {
  std::uint32_t value = 2166136261U;
  for (; *name != 0; ++name) value = (value ^ static_cast<unsigned char>(*name)) * 16777619U;
  return static_cast<std::int32_t>(value >> 1 | 1U);
}

}  // namespace

const VariantSpec& choose_variant(const VariantSpec* variants, std::size_t count, const CudaDevice& device) {
  const VariantSpec* best = nullptr;
  std::string inside;
  for (std::size_t i = 0; i < count; ++i) {
    const VariantSpec& variant = variants[i];
    if (variant.cuda == nullptr) {
      fail(AOTBUILD_RUNTIME_ERROR, device.model(), ": variant '", variant.isa, "' has no CUDA kernels");
    }
    inside += (i == 0 ? "" : ", ") + std::string(variant.isa);
    if (!loads_on(*variant.cuda, device.capability())) continue;
    if (variant.cuda->max_shared_bytes > static_cast<unsigned>(device.max_shared_bytes())) {
      inside += concat(" (needs ", variant.cuda->max_shared_bytes, " bytes of shared memory, the device has ",
                       device.max_shared_bytes(), ")");
      continue;
    }
    if (best == nullptr || rank_of(*best->cuda) < rank_of(*variant.cuda)) best = &variant;
  }
  if (best != nullptr) return *best;
  fail(AOTBUILD_UNSUPPORTED_HARDWARE, device.model(), ": ", device.description(), " loads none of the architectures ",
       "that it was built for: ", inside, "; add ", device.capability(), " to CUDA_ARCHITECTURES");
}

CudaKernels::CudaKernels(std::shared_ptr<CudaDevice> device, const CudaVariantSpec& variant)
    : device_(std::move(device)), variant_(variant) {
  try {
    load();
    products_ = std::make_unique<CudaProducts>(device_, variant_,
                                               [this](const CudaProductSpec& product, void** arguments, Stream stream) {
                                                 bool follows_kernel = false;
                                                 const auto& [x, y, z] = product.grid;
                                                 launch(product.kernel, x, y, z, arguments, stream, &follows_kernel);
                                               });
  } catch (...) {
    unload();
    throw;
  }
}

CudaKernels::~CudaKernels() {
  const ReleaseScope scope(*device_);
  unload();
}

void CudaKernels::load() {
  std::map<const unsigned char*, Module> loaded;  // kernels may share an image
  for (std::size_t i = 0; i < variant_.kernel_count; ++i) {
    const CudaKernelSpec& kernel = variant_.kernels[i];
    Module& module = loaded[kernel.image];
    if (module == nullptr) {
      modules_.reserve(modules_.size() + 1);
      device_->check(device_->driver().module_load_data(&module, kernel.image), "cuModuleLoadData", " for kernel '",
                     kernel.name, "' on ", device_->description(), " with a driver for CUDA ",
                     version_text(device_->driver().version));
      modules_.push_back(module);
    }
    functions_.push_back(load_function(module, kernel));
  }
}

Function CudaKernels::load_function(Module module, const CudaKernelSpec& kernel) const {
  const Driver& driver = device_->driver();
  Function function = nullptr;
  device_->check(driver.module_get_function(&function, module, kernel.name), "cuModuleGetFunction", " for kernel '",
                 kernel.name, "'");
  // Asking for an attribute makes drivers that load functions lazily load this one.
  int max_threads = 0;
  device_->check(driver.function_get_attribute(&max_threads, kFunctionMaxThreads, function), "cuFuncGetAttribute",
                 " for kernel '", kernel.name, "'");
  if (kernel.threads > static_cast<unsigned>(max_threads)) {
    fail(AOTBUILD_UNSUPPORTED_HARDWARE, device_->model(), ": kernel '", kernel.name, "' needs blocks of ",
         kernel.threads, " threads, but ", device_->description(), " runs it with at most ", max_threads,
         "; generate the model again with this device in CUDA_ARCHITECTURES");
  }
  if (kernel.cooperative && !device_->has_cooperative_launch()) {
    fail(AOTBUILD_UNSUPPORTED_HARDWARE, device_->model(), ": kernel '", kernel.name,
         "' needs cooperative launches, which ", device_->description(), " does not have");
  }
  if (kernel.shared_bytes > kPlainSharedBytes) {
    device_->check(
        driver.function_set_attribute(function, kFunctionMaxDynamicShared, static_cast<int>(kernel.shared_bytes)),
        "cuFuncSetAttribute", " for the ", kernel.shared_bytes, " bytes of shared memory of kernel '", kernel.name,
        "'");
  }
  if (kernel.cluster_blocks > kPortableClusterBlocks) {
    device_->check(driver.function_set_attribute(function, kFunctionNonPortableClusterSize, 1), "cuFuncSetAttribute",
                   " for the clusters of kernel '", kernel.name, "'");
  }
  return function;
}

const char* CudaKernels::name_of(std::int32_t code) const {
  for (std::size_t i = 0; i < variant_.kernel_count; ++i) {
    if (index_error_code(variant_.kernels[i].name) == code) return variant_.kernels[i].name;
  }
  return nullptr;
}

void CudaKernels::unload() noexcept {
  for (Module module : modules_) device_->driver().module_unload(module);
}

std::size_t CudaKernels::scratch_bytes(int kernel, std::size_t blocks) const {
  if (kernel < 0 || static_cast<std::size_t>(kernel) >= functions_.size()) return 0;
  const CudaKernelSpec& spec = variant_.kernels[kernel];
  return spec.scratch_bytes * blocks * std::max(1U, spec.cluster_blocks);
}

void CudaKernels::launch(int kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z, void** arguments, Stream stream,
                         bool* follows_kernel) const {
  if (kernel < 0 || static_cast<std::size_t>(kernel) >= functions_.size()) {
    fail("context_launch", "there is no kernel ", kernel);
  }
  if (grid_x == 0 || grid_y == 0 || grid_z == 0) return;
  if (products_ != nullptr && products_->compute(kernel, arguments, stream)) {
    *follows_kernel = false;
    return;
  }
  const CudaKernelSpec& spec = variant_.kernels[kernel];
  const Function function = functions_[static_cast<std::size_t>(kernel)];
  const Driver& driver = device_->driver();
  // After a copy the attribute would let a kernel start before the copy has ended.
  const bool starts_early =
      *follows_kernel && spec.waits && !spec.cooperative && driver.version >= kProgrammaticLaunchVersion;
  int result = kSuccess;
  if (spec.cluster_blocks <= 1 && !spec.cooperative && !starts_early) {
    result = driver.launch_kernel(function, grid_x, grid_y, grid_z, spec.threads, 1, 1, spec.shared_bytes, stream,
                                  arguments, nullptr);
  } else {
    LaunchAttribute attributes[3] = {};
    LaunchConfig config{{grid_x, grid_y, grid_z}, {spec.threads, 1, 1}, spec.shared_bytes, stream, attributes, 0};
    if (spec.cluster_blocks > 1) {
      config.grid[0] *= spec.cluster_blocks;
      LaunchAttribute& attribute = attributes[config.attribute_count++];
      attribute.id = kLaunchAttributeClusterDimension;
      attribute.value[0] = spec.cluster_blocks;
      attribute.value[1] = 1;
      attribute.value[2] = 1;
    }
    if (spec.cooperative) {
      LaunchAttribute& attribute = attributes[config.attribute_count++];
      attribute.id = kLaunchAttributeCooperative;
      attribute.value[0] = 1;
    }
    if (starts_early) {
      LaunchAttribute& attribute = attributes[config.attribute_count++];
      attribute.id = kLaunchAttributeProgrammaticSerialization;
      attribute.value[0] = 1;
    }
    result = driver.launch_kernel_ex(&config, function, arguments, nullptr);
  }
  *follows_kernel = true;
  if (result == kSuccess) return;
  device_->check(result, "cuLaunchKernel", " for kernel '", spec.name, "' with ", grid_x, " x ", grid_y, " x ", grid_z,
                 " blocks of ", spec.threads, " threads and ", spec.shared_bytes, " bytes of shared memory");
}

}  // namespace aotbuild::detail::cuda
