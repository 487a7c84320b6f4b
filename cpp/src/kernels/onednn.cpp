#include "kernels/onednn.hpp"

#include <omp.h>

#include <cstring>
#include <list>
#include <mutex>

namespace aotbuild::detail {

const dnnl::engine& cpu_engine() {
  static const auto* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);  // never freed, as the cache below
  return *engine;
}

bool onednn_dtype(ScalarType dtype, dnnl::memory::data_type* out) noexcept {
  switch (dtype) {
    case ScalarType::kFloat32:
      *out = dnnl::memory::data_type::f32;
      return true;
    case ScalarType::kBFloat16:
      *out = dnnl::memory::data_type::bf16;
      return true;
    case ScalarType::kFloat16:
      *out = dnnl::memory::data_type::f16;
      return true;
    default:
      return false;
  }
}

std::int64_t layout_id(const dnnl::memory::desc& layout) {
  struct Layouts {
    std::mutex mutex;
    std::vector<dnnl::memory::desc> all;
  };
  static auto* layouts = new Layouts;
  const std::lock_guard<std::mutex> lock(layouts->mutex);
  for (std::size_t i = 0; i < layouts->all.size(); ++i) {
    if (layouts->all[i] == layout) return static_cast<std::int64_t>(i);
  }
  layouts->all.push_back(layout);
  return static_cast<std::int64_t>(layouts->all.size() - 1);
}

// oneDNN fixes the number of threads when a primitive is created.
PrimitiveKey::PrimitiveKey(std::int64_t kind) {
  add(kind);
  add(std::int64_t{omp_get_max_threads()});
}

void PrimitiveKey::add(double value) {
  std::int64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  add(bits);
}

std::size_t PrimitiveKey::hash() const noexcept {
  std::uint64_t state = 0x9e3779b97f4a7c15U;
  for (std::size_t i = 0; i < size_; ++i) {
    state = (state ^ static_cast<std::uint64_t>(words_[i])) * 0xff51afd7ed558ccdU;
    state ^= state >> 32;
  }
  return state;
}

bool PrimitiveKey::operator==(const PrimitiveKey& other) const noexcept {
  return size_ == other.size_ && std::memcmp(words_.data(), other.words_.data(), size_ * sizeof words_[0]) == 0;
}

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

std::shared_ptr<const Primitive> make_reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to) {
  if (from == to) return nullptr;
  const dnnl::reorder::primitive_desc description(cpu_engine(), from, cpu_engine(), to, user_scratchpad());
  auto reorder = std::make_shared<Primitive>();
  reorder->primitive = dnnl::reorder(description);
  reorder->arguments = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  reorder->scratchpad = description.scratchpad_desc();
  return reorder;
}

BoundPrimitive::BoundPrimitive(std::shared_ptr<const Primitive> primitive) : primitive_(std::move(primitive)) {
  if (!is_supported()) return;
  for (const auto& [argument, layout] : primitive_->arguments) {
    memories_.emplace_back(layout, cpu_engine(), static_cast<void*>(DNNL_MEMORY_NONE));
    arguments_.push_back({argument, memories_.back().get()});
  }
  if (primitive_->scratchpad.get_size() != 0) {
    memories_.emplace_back(primitive_->scratchpad, cpu_engine(), static_cast<void*>(DNNL_MEMORY_NONE));
    arguments_.push_back({DNNL_ARG_SCRATCHPAD, memories_.back().get()});
  }
  if (primitive_->reorder_first != nullptr) {
    reorder_first_ = std::make_unique<BoundPrimitive>(primitive_->reorder_first);
  }
  if (primitive_->reorder_last != nullptr) {
    reorder_last_ = std::make_unique<BoundPrimitive>(primitive_->reorder_last);
  }
}

void BoundPrimitive::execute(Workspace& workspace, void* const* data) {
  if (reorder_first_ == nullptr && reorder_last_ == nullptr) return execute_core(workspace, data);
  const std::size_t count = primitive_->arguments.size();
  const ScratchBuffer source(workspace,
                             reorder_first_ != nullptr ? primitive_->arguments.front().second.get_size() : 0);
  const ScratchBuffer destination(workspace,
                                  reorder_last_ != nullptr ? primitive_->arguments.back().second.get_size() : 0);
  std::vector<void*> inner(data, data + count);
  if (reorder_first_ != nullptr) {
    inner.front() = source.data();
    void* const reorder_data[] = {data[0], source.data()};
    reorder_first_->execute_core(workspace, reorder_data);
  }
  if (reorder_last_ != nullptr) inner.back() = destination.data();
  execute_core(workspace, inner.data());
  if (reorder_last_ != nullptr) {
    void* const reorder_data[] = {destination.data(), data[count - 1]};
    reorder_last_->execute_core(workspace, reorder_data);
  }
}

void BoundPrimitive::execute_core(Workspace& workspace, void* const* data) {
  const std::size_t count = primitive_->arguments.size();
  const ScratchBuffer scratchpad(workspace, memories_.size() > count ? primitive_->scratchpad.get_size() : 0);
  for (std::size_t i = 0; i < count; ++i) memories_[i].set_data_handle(data[i]);
  if (memories_.size() > count) memories_[count].set_data_handle(scratchpad.data());
  const dnnl_status_t status =
      dnnl_primitive_execute(primitive_->primitive.get(), BoundPrimitives::of(workspace).stream().get(),
                             static_cast<int>(arguments_.size()), arguments_.data());
  if (status != dnnl_success) fail("oneDNN", "a primitive failed with status ", static_cast<int>(status));
}

struct PrimitiveCache::State {
  // A primitive holds some ten KiB of generated code.
  static constexpr std::size_t kMaxSize = 2048;
  using Entry = std::pair<PrimitiveKey, std::shared_ptr<const Primitive>>;

  std::mutex mutex;
  std::list<Entry> entries;  // the latest use first
  std::unordered_map<PrimitiveKey, std::list<Entry>::iterator, PrimitiveKeyHash> by_key;
};

PrimitiveCache::PrimitiveCache() : state_(new State) {}

PrimitiveCache& PrimitiveCache::instance() {
  static PrimitiveCache cache;
  return cache;
}

std::shared_ptr<const Primitive> PrimitiveCache::find(const PrimitiveKey& key) {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  const auto found = state_->by_key.find(key);
  if (found == state_->by_key.end()) return nullptr;
  state_->entries.splice(state_->entries.begin(), state_->entries, found->second);
  return found->second->second;
}

void PrimitiveCache::insert(const PrimitiveKey& key, std::shared_ptr<const Primitive> primitive) {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  if (state_->by_key.count(key) != 0) return;  // another thread made it meanwhile
  state_->entries.emplace_front(key, std::move(primitive));
  state_->by_key.emplace(key, state_->entries.begin());
  if (state_->entries.size() > State::kMaxSize) {
    state_->by_key.erase(state_->entries.back().first);
    state_->entries.pop_back();
  }
}

std::size_t PrimitiveCache::size() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->entries.size();
}

BoundPrimitives::BoundPrimitives() : stream_(cpu_engine()) {}

BoundPrimitives& BoundPrimitives::of(Workspace& workspace) {
  if (workspace.kernel_cache() == nullptr) {
    workspace.set_kernel_cache(std::unique_ptr<KernelCache>(new BoundPrimitives));
  }
  // Nothing else sets a workspace's cache.
  return static_cast<BoundPrimitives&>(*workspace.kernel_cache());
}

}  // namespace aotbuild::detail
