// The outputs of one call as generated classes hand them out.
#ifndef AOTBUILD_DETAIL_RESULTS_HPP_
#define AOTBUILD_DETAIL_RESULTS_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "aotbuild/detail/shared.hpp"
#include "aotbuild/tensor.hpp"

namespace aotbuild::detail {
inline namespace AOTBUILD_NAMESPACE {

// The outputs of one call, which share the ownership of the call's memory.
template <std::size_t Count>
class Results {
 public:
  Results(const std::array<aotbuild_tensor, Count>& tensors, Shared owner)
      : tensors_(tensors), owner_(std::move(owner)) {}

  // `Owning` is Tensor or DeviceTensor, as the call asked for. What `checked` gets says whether all were of their
  // types.
  template <typename T, std::size_t Rank, template <typename, std::size_t> class Owning = Tensor>
  Owning<T, Rank> get(std::size_t index) {
    const aotbuild_tensor& tensor = tensors_[index];
    if (tensor.dtype != dtype_v<T> || tensor.ndim != static_cast<std::int32_t>(Rank)) {
      mismatch_ = Status(AOTBUILD_RUNTIME_ERROR,
                         format("output %zu is %s of rank %d: the header and the library are of different builds",
                                index, dtype_name(tensor.dtype), static_cast<int>(tensor.ndim)));
      return {};
    }
    Extents<Rank> sizes;
    Extents<Rank> strides;
    for (std::size_t i = 0; i < Rank; ++i) {
      sizes[i] = tensor.shape[i];
      strides[i] = tensor.strides[i];
    }
    auto* const bytes = static_cast<unsigned char*>(tensor.data) + tensor.byte_offset;
    using View = typename Owning<T, Rank>::View;
    if constexpr (std::is_same_v<View, TensorView<T, Rank>>) {
      return {View(reinterpret_cast<T*>(bytes), sizes, strides), owner_};
    } else {
      return {View(reinterpret_cast<T*>(bytes), sizes, strides, tensor.device.index), owner_};
    }
  }

  // The structure of outputs, if each was what `get` took it for.
  template <typename Outputs>
  Expected<Outputs> checked(Outputs outputs) {
    if (!mismatch_.ok()) return std::move(mismatch_);
    return Expected<Outputs>(std::move(outputs));
  }

 private:
  std::array<aotbuild_tensor, Count> tensors_;
  Shared owner_;
  Status mismatch_;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild::detail

#endif  // AOTBUILD_DETAIL_RESULTS_HPP_
