// CUDA graphs of a workspace, by the input sizes that they were captured for.
#ifndef AOTBUILD_SRC_CUDA_GRAPHS_HPP_
#define AOTBUILD_SRC_CUDA_GRAPHS_HPP_

#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/memory.hpp"
#include "tensor/dtype.hpp"

namespace aotbuild::detail::cuda {

// Seeds of random numbers on the device.
struct SeedBlock {
  void* data;
  std::size_t count;
};

// What is known of one set of input sizes: they have come once, or their graph.
struct ShapeEntry {
  struct Output {
    void* data;
    std::size_t nbytes;
    ScalarType dtype;
    std::vector<std::int64_t> sizes;
    std::vector<std::int64_t> strides;
  };

  std::vector<std::int64_t> key;
  bool blocked = false;    // there was no memory for a graph
  bool is_ahead = false;   // captured when the caller asked for it
  bool is_direct = false;  // the graph reads and writes the caller's memory, which is part of the key
  GraphExec graph = nullptr;
  std::vector<void*> inputs;     // what the graph reads; null for an input without elements
  std::vector<Output> outputs;   // what it makes
  std::vector<SeedBlock> seeds;  // what it reads, new for each replay
  std::vector<Block*> blocks;    // memory whose addresses it has
};

// The sizes that came last, with at most `limit` graphs.
class GraphCache {
 public:
  GraphCache(const CudaDevice& device, BlockCache& memory, std::size_t limit);
  ~GraphCache() { clear(); }
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  // The entry of `key`, moved to the front; null if there is none.
  ShapeEntry* find(const std::vector<std::int64_t>& key);
  // A new entry at the front, for a key that has none.
  ShapeEntry& remember(const std::vector<std::int64_t>& key);
  // Makes room after the first entry got a graph.
  void bound();
  void clear() noexcept;

 private:
  void drop(ShapeEntry& entry) noexcept;

  const CudaDevice& device_;
  BlockCache& memory_;
  const std::size_t limit_;
  std::list<ShapeEntry> entries_;  // the last used first
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_GRAPHS_HPP_
