#include "cuda/graphs.hpp"

#include <algorithm>

namespace aotbuild::detail::cuda {

GraphCache::GraphCache(const CudaDevice& device, BlockCache& memory, std::size_t limit)
    : device_(device), memory_(memory), limit_(limit) {}

ShapeEntry* GraphCache::find(const std::vector<std::int64_t>& key) {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const ShapeEntry& entry) { return entry.key == key; });
  if (found == entries_.end()) return nullptr;
  if (found != entries_.begin()) entries_.splice(entries_.begin(), entries_, found);
  return &entries_.front();
}

ShapeEntry& GraphCache::remember(const std::vector<std::int64_t>& key) {
  entries_.emplace_front().key = key;
  bound();
  return entries_.front();
}

void GraphCache::bound() {
  // Sizes without a graph are remembered for longer: they cost next to nothing.
  const std::size_t entry_limit = 4 * limit_;
  std::size_t graphs = 0;
  std::size_t entries = 0;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    graphs += entry->graph != nullptr ? 1 : 0;
    ++entries;
    if (entries <= entry_limit && (entry->graph == nullptr || graphs <= limit_)) {
      ++entry;
      continue;
    }
    drop(*entry);
    entry = entries_.erase(entry);
  }
}

void GraphCache::drop(ShapeEntry& entry) noexcept {
  // A graph that is still running is destroyed when it ends; its memory stays with the workspace.
  if (entry.graph != nullptr) device_.driver().graph_exec_destroy(entry.graph);
  memory_.unpin(entry.blocks);
}

void GraphCache::clear() noexcept {
  if (entries_.empty()) return;
  const ReleaseScope scope(device_);
  for (ShapeEntry& entry : entries_) drop(entry);
  entries_.clear();
}

}  // namespace aotbuild::detail::cuda
