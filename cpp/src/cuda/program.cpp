#include "cuda/program.hpp"

#include <algorithm>
#include <string>

#include "base/error.hpp"

namespace aotbuild::detail::cuda {

namespace {

constexpr int kTimeout = 60000;  // milliseconds that a rank waits for the others

// The best of the variants that the device loads for every method; they are of the same architectures in all.
std::size_t choose_for_all(const ModelSpec& spec, const CudaDevice& device) {
  std::vector<VariantSpec> variants(spec.variants, spec.variants + spec.variant_count);
  std::vector<CudaVariantSpec> needs;
  needs.reserve(variants.size());
  const std::size_t method_count = spec.methods == nullptr ? 0 : spec.info->method_count;
  for (std::size_t i = 0; i < variants.size() && variants[i].cuda != nullptr; ++i) {
    needs.push_back(*variants[i].cuda);
    for (std::size_t m = 0; m < method_count; ++m) {
      const CudaVariantSpec& of_method = *spec.methods[m].variants[i].cuda;
      needs.back().max_shared_bytes = std::max(needs.back().max_shared_bytes, of_method.max_shared_bytes);
    }
    variants[i].cuda = &needs.back();
  }
  return static_cast<std::size_t>(&choose_variant(variants.data(), variants.size(), device) - variants.data());
}

}  // namespace

std::size_t CudaMethod::weight_count(const ModelSpec& model) const {
  if (spec == nullptr) return model.info->weight_count;
  return spec->weights.count - (variant.cuda->derived == nullptr ? 0 : variant.cuda->derived->count);
}

CudaProgram::CudaProgram(const ModelSpec& spec, const aotbuild_options& options)
    : spec_(spec),
      device_(std::make_shared<CudaDevice>(open_driver(spec.info->name), options.device.index, spec.info->name)),
      results_(std::make_shared<ResultPool>(device_)) {
  const ContextScope scope(*device_);
  const std::size_t chosen = choose_for_all(spec_, *device_);
  const aotbuild_model_info& info = *spec_.info;
  const auto add_method = [&](const aotbuild_method_info& method, const MethodSpec* method_spec) {
    const VariantSpec& variant = (method_spec == nullptr ? spec_.variants : method_spec->variants)[chosen];
    methods_.emplace_back(new CudaMethod{method, method_spec, variant, {device_, *variant.cuda}});
    const CudaDerivedSpec* const derived = variant.cuda->derived;
    for (std::size_t k = 0; derived != nullptr && k < derived->count; ++k) {
      const CudaMethod& added = *methods_.back();
      const std::size_t number = added.number_of(added.weight_count(spec_) + k);
      derived_count_ = std::max(derived_count_, number + 1 - info.weight_count);
    }
  };
  for (std::size_t i = 0; i < info.method_count; ++i) {
    add_method(*info.methods[i], spec_.methods == nullptr ? nullptr : &spec_.methods[i]);
  }
  if (info.world_size != 0) {
    const std::chrono::milliseconds timeout(options.collective_timeout > 0 ? options.collective_timeout : kTimeout);
    communicator_ =
        std::make_unique<Communicator>(device_, *options.communicator_id, options.rank, info.world_size, timeout);
  }
}

bool CudaProgram::reads_weight(std::size_t index) const noexcept {
  return std::any_of(methods_.begin(), methods_.end(), [&](const std::unique_ptr<const CudaMethod>& method) {
    const std::size_t count = method->weight_count(spec_);
    const CudaDerivedSpec* const derived = method->variant.cuda->derived;
    for (std::size_t i = 0; i < count; ++i) {
      if (method->number_of(i) != index) continue;
      if (derived == nullptr) return true;
      const int* const end = derived->unread + derived->unread_count;
      if (std::find(derived->unread, end, static_cast<int>(i)) == end) return true;
    }
    return false;
  });
}

const char* CudaProgram::kernel_of(std::int32_t code) const {
  for (const std::unique_ptr<const CudaMethod>& method : methods_) {
    const char* const name = method->kernels.name_of(code);
    if (name != nullptr) return name;
  }
  return nullptr;
}

void CudaProgram::check_indices(CudaWorkspace& workspace, bool earlier) const {
  const std::int32_t code = workspace.take_index_error();
  if (code == 0) return;
  const char* kernel = kernel_of(code);
  fail(AOTBUILD_RUNTIME_ERROR, spec_.info->name, ": ", earlier ? "in an earlier call on a stream, " : "",
       kernel != nullptr ? concat("kernel '", kernel, "'") : std::string("a kernel"),
       " was given an index out of bounds and used 0 instead; the outputs ", earlier ? "of that call " : "",
       "are wrong. Check the values of the inputs that hold indices");
}

std::shared_ptr<DeviceBuffer> CudaProgram::allocate(std::size_t nbytes, const char* kind) {
  nbytes = std::max<std::size_t>(nbytes, 1);
  try {
    return std::make_shared<DeviceBuffer>(device_, nbytes, kind);
  } catch (const Error& error) {
    if (error.status() != AOTBUILD_OUT_OF_MEMORY) throw;
  }
  reclaim();
  return std::make_shared<DeviceBuffer>(device_, nbytes, kind);
}

void CudaProgram::add(MemoryReclaimer& session) {
  const std::lock_guard<std::mutex> lock(sessions_mutex_);
  sessions_.push_back(&session);
}

void CudaProgram::remove(MemoryReclaimer& session) noexcept {
  const std::lock_guard<std::mutex> lock(sessions_mutex_);
  sessions_.erase(std::find(sessions_.begin(), sessions_.end(), &session));
}

void CudaProgram::reclaim() noexcept {
  {
    const std::lock_guard<std::mutex> lock(sessions_mutex_);
    for (MemoryReclaimer* session : sessions_) session->reclaim();
  }
  results_->release_free();
}

}  // namespace aotbuild::detail::cuda
