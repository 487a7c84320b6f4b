// Tensors whose element type and rank are known at run time only, and sets of them by name: weights.
#ifndef AOTBUILD_ANY_TENSOR_HPP_
#define AOTBUILD_ANY_TENSOR_HPP_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include "aotbuild/detail/shared.hpp"
#include "aotbuild/error.hpp"
#include "aotbuild/tensor.hpp"

namespace aotbuild {
inline namespace AOTBUILD_NAMESPACE {

// A view of somebody else's memory.
class AnyTensorView {
 public:
  AnyTensorView() = default;  // of no memory

  // The same memory.
  template <typename T, std::size_t Rank>
  AnyTensorView(const TensorView<T, Rank>& view)
      : AnyTensorView(view.data(), dtype_v<T>, Rank, view.sizes().data(), view.strides().data(), view.device()) {}
  // The tensor's memory.
  template <typename T, std::size_t Rank>
  AnyTensorView(const Tensor<T, Rank>& tensor) : AnyTensorView(tensor.view()) {}

  // Copies `rank` sizes and strides; without strides the memory is contiguous.
  AnyTensorView(const void* data, aotbuild_dtype dtype, std::size_t rank, const std::int64_t* sizes,
                const std::int64_t* strides = nullptr, aotbuild_device device = kCpuDevice)
      : data_(data), dtype_(dtype), sizes_(sizes, rank), device_(device) {
    if (strides != nullptr) strides_ = detail::SharedArray<std::int64_t>(strides, rank);
  }

  // The same view for the C ABI; it points into this object.
  aotbuild_tensor c_tensor() const {
    aotbuild_tensor tensor{};
    tensor.data = const_cast<void*>(data_);
    tensor.device = device_;
    tensor.ndim = static_cast<std::int32_t>(sizes_.size());
    tensor.dtype = dtype_;
    tensor.shape = sizes_.data();
    tensor.strides = strides_.data();
    return tensor;
  }

 private:
  const void* data_ = nullptr;
  aotbuild_dtype dtype_{};
  detail::SharedArray<std::int64_t> sizes_;
  detail::SharedArray<std::int64_t> strides_;
  aotbuild_device device_ = kCpuDevice;
};

// A tensor with its name.
struct NamedTensor {
  Text name;             // of a weight: in the model's state_dict
  AnyTensorView tensor;  // its memory is borrowed
};

// Tensors by name: `{{"weight", view}, ...}`, or any map from names to views, such as std::map.
class NamedTensors {
 public:
  NamedTensors() = default;  // none
  // Those of a list; of a name that comes twice the last one.
  NamedTensors(std::initializer_list<NamedTensor> tensors) {
    for (const NamedTensor& tensor : tensors) insert_or_assign(tensor.name, tensor.tensor);
  }
  // Those of a map from names to views.
  template <typename Map, typename = std::enable_if_t<
                              std::is_convertible_v<decltype(std::declval<const Map&>().begin()->first), Text>>>
  NamedTensors(const Map& tensors) {
    for (const auto& entry : tensors) add({entry.first, entry.second});
  }
  // A copy of names and views, not of elements.
  NamedTensors(const NamedTensors& other) {
    for (const NamedTensor& tensor : other) add(tensor);
  }
  // Takes those of another.
  NamedTensors(NamedTensors&& other) noexcept
      : tensors_(std::move(other.tensors_)), size_(std::exchange(other.size_, 0)) {}
  // Becomes what `other` is.
  NamedTensors& operator=(NamedTensors other) noexcept {
    std::swap(tensors_, other.tensors_);
    std::swap(size_, other.size_);
    return *this;
  }

  std::size_t size() const noexcept { return size_; }                          // how many there are
  bool empty() const noexcept { return size_ == 0; }                           // whether there are none
  const NamedTensor* begin() const noexcept { return tensors_.data(); }        // the first one
  const NamedTensor* end() const noexcept { return tensors_.data() + size_; }  // behind the last one

  // The tensor of that name, which is added if there is none.
  AnyTensorView& operator[](const Text& name) {
    for (std::size_t i = 0; i < size_; ++i) {
      if (tensors_[i].name == name) return tensors_[i].tensor;
    }
    return add({name, {}});
  }
  // Adds a tensor, or replaces the one of that name.
  void insert_or_assign(const Text& name, const AnyTensorView& tensor) { (*this)[name] = tensor; }

  // The same for the C ABI; they point into this object.
  detail::SharedArray<aotbuild_named_tensor> c_tensors() const {
    detail::SharedArray<aotbuild_named_tensor> tensors(size_);
    for (std::size_t i = 0; i < size_; ++i) {
      tensors[i] = {sizeof(aotbuild_named_tensor), tensors_[i].name.c_str(), tensors_[i].tensor.c_tensor()};
    }
    return tensors;
  }

 private:
  AnyTensorView& add(const NamedTensor& tensor) {
    if (size_ == tensors_.size()) {
      const detail::SharedArray<NamedTensor> longer(2 * size_ + 4);
      for (std::size_t i = 0; i < size_; ++i) longer[i] = tensors_[i];
      tensors_ = longer;
    }
    tensors_[size_] = tensor;
    return tensors_[size_++].tensor;
  }

  detail::SharedArray<NamedTensor> tensors_;  // with room for more than `size_`; no copy shares it
  std::size_t size_ = 0;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild

#endif  // AOTBUILD_ANY_TENSOR_HPP_
