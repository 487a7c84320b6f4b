// oneDNN: the engine, and primitives cached for the process and bound to memory for each workspace.
#ifndef AOTBUILD_SRC_KERNELS_ONEDNN_HPP_
#define AOTBUILD_SRC_KERNELS_ONEDNN_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tensor/dtype.hpp"
#include "tensor/workspace.hpp"

namespace aotbuild::detail {

// Whether the runtime has it; without, src/without_onednn stands in for its header.
#ifdef AOTBUILD_WITHOUT_ONEDNN
constexpr bool kHasOneDnn = false;
#else
constexpr bool kHasOneDnn = true;
#endif

const dnnl::engine& cpu_engine();

// False for element types that oneDNN has no name for.
bool onednn_dtype(ScalarType dtype, dnnl::memory::data_type* out) noexcept;

// A number for a memory layout, the same for equal layouts for the life of the process.
std::int64_t layout_id(const dnnl::memory::desc& layout);

// All that a primitive depends on, as a row of integers.
class PrimitiveKey {
 public:
  explicit PrimitiveKey(std::int64_t kind);  // the number of threads belongs to every key

  void add(std::int64_t word) { words_[size_++] = word; }
  void add(double value);
  void add(const std::int64_t* values, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) add(values[i]);
  }

  std::size_t hash() const noexcept;
  bool operator==(const PrimitiveKey& other) const noexcept;

 private:
  static constexpr std::size_t kCapacity = 64;
  std::size_t size_ = 0;
  std::array<std::int64_t, kCapacity> words_;  // the first `size_` are set
};

struct PrimitiveKeyHash {
  std::size_t operator()(const PrimitiveKey& key) const noexcept { return key.hash(); }
};

enum PrimitiveKind : std::int64_t { kMatmulKey = 1, kConvolutionKey };

// A primitive with the layout of each of its arguments. Immutable, and executed by many threads at once.
struct Primitive {
  dnnl::primitive primitive;                                  // empty: oneDNN has no implementation
  std::vector<std::pair<int, dnnl::memory::desc>> arguments;  // DNNL_ARG_*, without the scratchpad
  dnnl::memory::desc scratchpad;
  // Reorders of the first and the last argument between the caller's layout and the one that the primitive wants; null
  // where they are the same.
  std::shared_ptr<const Primitive> reorder_first;
  std::shared_ptr<const Primitive> reorder_last;
};

// `attributes` of every primitive here: the caller gives the scratchpad, so that threads may share a primitive.
dnnl::primitive_attr user_scratchpad();

// Null when the layouts are equal.
std::shared_ptr<const Primitive> make_reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to);

// A primitive with memory objects of its own, for one thread at a time.
class BoundPrimitive {
 public:
  explicit BoundPrimitive(std::shared_ptr<const Primitive> primitive);

  bool is_supported() const { return static_cast<bool>(primitive_->primitive); }
  // `data`: one pointer for each of `Primitive::arguments`, in their order; the last is the destination.
  void execute(Workspace& workspace, void* const* data);

 private:
  void execute_core(Workspace& workspace, void* const* data);

  std::shared_ptr<const Primitive> primitive_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
  std::unique_ptr<BoundPrimitive> reorder_first_;
  std::unique_ptr<BoundPrimitive> reorder_last_;
};

// The primitives of the process. Creating one takes 10 to 1000 microseconds, finding one less than 1.
class PrimitiveCache {
 public:
  static PrimitiveCache& instance();
  std::shared_ptr<const Primitive> find(const PrimitiveKey& key);
  void insert(const PrimitiveKey& key, std::shared_ptr<const Primitive> primitive);
  std::size_t size() const;

 private:
  struct State;
  PrimitiveCache();
  State* state_;  // never freed: threads may still run while the process ends
};

// What one workspace has used, found without a lock.
class BoundPrimitives final : public KernelCache {
 public:
  // Those of the workspace, made when first asked for.
  static BoundPrimitives& of(Workspace& workspace);

  const dnnl::stream& stream() const { return stream_; }

  // `make()` gives a std::shared_ptr<const Primitive>, on the first use of the key.
  template <typename Make>
  BoundPrimitive& get(const PrimitiveKey& key, Make&& make) {
    const auto found = bound_.find(key);
    if (found != bound_.end()) return found->second;
    std::shared_ptr<const Primitive> primitive = PrimitiveCache::instance().find(key);
    if (primitive == nullptr) {
      primitive = make();
      PrimitiveCache::instance().insert(key, primitive);
    }
    if (bound_.size() >= kMaxBound) bound_.clear();  // shapes that never repeat: start again
    return bound_.emplace(key, BoundPrimitive(std::move(primitive))).first->second;
  }

 private:
  BoundPrimitives();

  static constexpr std::size_t kMaxBound = 512;
  dnnl::stream stream_;
  std::unordered_map<PrimitiveKey, BoundPrimitive, PrimitiveKeyHash> bound_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_KERNELS_ONEDNN_HPP_
