// One loop nest over several strided operands of the same sizes.
#ifndef AOTBUILD_SRC_BASE_LOOPS_HPP_
#define AOTBUILD_SRC_BASE_LOOPS_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace aotbuild::detail {

// Dimensions are added from the outermost inwards; neighbours that all operands cross evenly are merged.
// Strides are in bytes.
template <std::size_t kOperands>
class StridedLoop {
 public:
  using Strides = std::array<std::int64_t, kOperands>;
  using Pointers = std::array<char*, kOperands>;

  void add_dim(std::int64_t size, const Strides& strides) {
    empty_ = empty_ || size == 0;
    if (size == 1) return;
    if (!sizes_.empty()) {
      bool even = true;
      for (std::size_t i = 0; i < kOperands; ++i) even = even && strides_.back()[i] == strides[i] * size;
      if (even) {
        sizes_.back() *= size;
        strides_.back() = strides;
        return;
      }
    }
    sizes_.push_back(size);
    strides_.push_back(strides);
  }

  bool is_empty() const { return empty_; }
  // What is left after merging, from the outermost dimension inwards.
  const std::vector<std::int64_t>& sizes() const { return sizes_; }
  const std::vector<Strides>& strides() const { return strides_; }

  // Calls `row(pointers, count, strides)` for each innermost row. Not for an empty loop.
  template <typename Row>
  void run(Pointers at, Row&& row) const {
    if (sizes_.empty()) return row(at, 1, Strides{});
    const std::size_t outer = sizes_.size() - 1;
    std::vector<std::int64_t> index(outer, 0);
    while (true) {
      row(at, sizes_.back(), strides_.back());
      std::size_t d = outer;
      while (d > 0) {
        --d;
        for (std::size_t i = 0; i < kOperands; ++i) at[i] += strides_[d][i];
        if (++index[d] < sizes_[d]) break;
        for (std::size_t i = 0; i < kOperands; ++i) at[i] -= strides_[d][i] * sizes_[d];
        index[d] = 0;
        if (d == 0) return;
      }
      if (outer == 0) return;
    }
  }

 private:
  std::vector<std::int64_t> sizes_;
  std::vector<Strides> strides_;
  bool empty_ = false;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_BASE_LOOPS_HPP_
