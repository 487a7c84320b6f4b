// Typed tensors: views over the user's memory and results that own theirs. Element type and rank are in the type.
#ifndef AOTBUILD_TENSOR_HPP_
#define AOTBUILD_TENSOR_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "aotbuild/c_api.h"
#include "aotbuild/detail/mdspan.hpp"
#include "aotbuild/detail/shared.hpp"
#include "aotbuild/dtype.hpp"
#include "aotbuild/error.hpp"
#include "aotbuild/extents.hpp"

namespace aotbuild {
inline namespace AOTBUILD_NAMESPACE {

// The host's memory.
AOTBUILD_HIDDEN inline constexpr aotbuild_device kCpuDevice{AOTBUILD_CPU, 0};

}  // namespace AOTBUILD_NAMESPACE

namespace detail {
inline namespace AOTBUILD_NAMESPACE {

// Why begin() refuses.
AOTBUILD_HIDDEN inline constexpr const char* kNotContiguous =
    "begin(): the tensor is not contiguous; index it with operator()";

// Of memory in row-major order without gaps.
template <std::size_t Rank>
Extents<Rank> contiguous_strides(const Extents<Rank>& sizes) {
  Extents<Rank> strides;
  std::int64_t stride = 1;
  for (std::size_t i = Rank; i-- > 0;) {
    strides[i] = stride;
    stride *= sizes[i] > 1 ? sizes[i] : 1;
  }
  return strides;
}

// What the views of host and of device memory have in common: everything but the elements.
template <typename T, std::size_t Rank>
class ViewBase {
 public:
  using element_type = T;                     // the elements' type, const where they are only read
  using value_type = std::remove_const_t<T>;  // the elements' type
  static constexpr std::size_t rank = Rank;   // the number of dimensions

  T* data() const { return data_; }                                     // the first element
  const Extents<Rank>& sizes() const { return sizes_; }                 // of all dimensions
  const Extents<Rank>& strides() const { return strides_; }             // of all dimensions, in elements
  std::int64_t size(std::size_t dim) const { return sizes_[dim]; }      // of one dimension
  std::int64_t stride(std::size_t dim) const { return strides_[dim]; }  // of one dimension, in elements
  aotbuild_device device() const { return device_; }                    // where the elements lie

  // How many elements there are.
  std::int64_t numel() const {
    std::int64_t count = 1;
    for (std::int64_t size : sizes_) count *= size;
    return count;
  }

  // Whether the elements lie in row-major order without gaps.
  bool is_contiguous() const {
    const Extents<Rank> expected = contiguous_strides<Rank>(sizes_);
    for (std::size_t i = 0; i < Rank; ++i) {
      if (sizes_[i] == 0) return true;
      if (sizes_[i] != 1 && strides_[i] != expected[i]) return false;
    }
    return true;
  }

  // The same view for the C ABI; it points into this object.
  aotbuild_tensor c_tensor() const {
    aotbuild_tensor tensor{};
    tensor.data = const_cast<value_type*>(data_);
    tensor.device = device_;
    tensor.ndim = static_cast<std::int32_t>(Rank);
    tensor.dtype = dtype_v<T>;
    tensor.shape = const_cast<std::int64_t*>(sizes_.data());
    tensor.strides = const_cast<std::int64_t*>(strides_.data());
    return tensor;
  }

 protected:
  ViewBase() = default;  // of no memory
  // Memory of a device with steps of so many elements.
  ViewBase(T* data, const Extents<Rank>& sizes, const Extents<Rank>& strides, aotbuild_device device)
      : data_(data), sizes_(sizes), strides_(strides), device_(device) {}

 private:
  T* data_ = nullptr;
  Extents<Rank> sizes_;
  Extents<Rank> strides_;
  aotbuild_device device_ = kCpuDevice;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail

inline namespace AOTBUILD_NAMESPACE {

// A tensor in somebody else's host memory, `T const` for one that is only read. Copying copies the view, not the
// elements. Strides count elements.
template <typename T, std::size_t Rank>
class TensorView : public detail::ViewBase<T, Rank> {
  using Base = detail::ViewBase<T, Rank>;

 public:
  TensorView() = default;  // of no memory

  // Contiguous (row-major) memory.
  TensorView(T* data, const Extents<Rank>& sizes) : TensorView(data, sizes, detail::contiguous_strides<Rank>(sizes)) {}

  // Memory with steps of so many elements.
  TensorView(T* data, const Extents<Rank>& sizes, const Extents<Rank>& strides)
      : Base(data, sizes, strides, kCpuDevice) {}

  // One value, for rank 0.
  template <std::size_t R = Rank, typename = std::enable_if_t<R == 0>>
  TensorView(T& value) : TensorView(&value, Extents<Rank>()) {}

  // std::vector, std::array, std::span and the like, for rank 1.
  template <typename Container, std::size_t R = Rank,
            typename =
                std::enable_if_t<R == 1 && std::is_convertible_v<decltype(std::data(std::declval<Container&>())), T*> &&
                                 std::is_integral_v<std::decay_t<decltype(std::size(std::declval<Container&>()))>>>>
  TensorView(Container&& container) : TensorView(std::data(container), Extents<1>(std::size(container))) {}

  // A read-only view of the same elements.
  template <typename U, typename = std::enable_if_t<std::is_same_v<const U, T>>>
  TensorView(const TensorView<U, Rank>& other) : TensorView(other.data(), other.sizes(), other.strides()) {}

  // std::mdspan and what else has its members, of these elements and with strides.
  template <typename Mdspan, std::enable_if_t<detail::FromMdspan<Mdspan, T, Rank>::value, int> = 0>
  TensorView(const Mdspan& span)
      : TensorView(span.data_handle(), detail::extents_of<Rank>([&](std::size_t i) { return span.extent(i); }),
                   detail::extents_of<Rank>([&](std::size_t i) { return span.stride(i); })) {}

  // As a std::mdspan of any layout that has these strides. For others, and for other sizes than those of its type, it
  // throws Error, and ends the program where there are no exceptions.
  template <typename Mdspan, std::enable_if_t<detail::ToMdspan<Mdspan, T, Rank>::value, int> = 0>
  operator Mdspan() const {
    return detail::to_mdspan<Mdspan, AOTBUILD_EXCEPTIONS>(this->data(), this->sizes(), this->strides());
  }

  // view(i, j, ...): one element. Indices are not checked.
  template <typename... Indices>
  T& operator()(Indices... indices) const {
    static_assert(sizeof...(Indices) == Rank, "give one index for each dimension");
    const std::array<std::int64_t, Rank> index{{static_cast<std::int64_t>(indices)...}};
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < Rank; ++i) offset += index[i] * this->stride(i);
    return this->data()[offset];
  }

  // view[i]: the i-th slice along the first dimension; an element for rank 1. The index is not checked.
  decltype(auto) operator[](std::int64_t index) const {
    static_assert(Rank > 0, "a tensor of rank 0 has one element: use view()");
    T* const slice = this->data() + index * this->stride(0);
    if constexpr (Rank == 1) {
      return static_cast<T&>(*slice);
    } else {
      Extents<Rank - 1> sizes;
      Extents<Rank - 1> strides;
      for (std::size_t i = 1; i < Rank; ++i) {
        sizes[i - 1] = this->size(i);
        strides[i - 1] = this->stride(i);
      }
      return TensorView<T, Rank - 1>(slice, sizes, strides);
    }
  }

  // All elements in row-major order; only a contiguous view has them in one run. For others it throws Error, and ends
  // the program where there are no exceptions.
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  T* begin() const {
    if (!this->is_contiguous()) detail::refuse<kThrows>(detail::kNotContiguous);
    return this->data();
  }
  // Behind the last element of a contiguous view; else as begin().
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  T* end() const {
    return begin<kThrows>() + this->numel();
  }
};

}  // namespace AOTBUILD_NAMESPACE

namespace detail {
inline namespace AOTBUILD_NAMESPACE {

// What Tensor and DeviceTensor have in common: a view, and a share of the memory that it shows.
template <template <typename, std::size_t> class ViewOf, typename T, std::size_t Rank>
class OwnedView {
 public:
  using View = ViewOf<T, Rank>;              // a view of its elements
  using value_type = T;                      // the elements' type
  static constexpr std::size_t rank = Rank;  // the number of dimensions

  OwnedView() = default;  // of no memory
  // `owner` keeps the memory of `view` alive.
  OwnedView(const View& view, Shared owner) : view_(view), owner_(std::move(owner)) {}
  OwnedView(OwnedView&&) noexcept = default;             // takes the memory
  OwnedView& operator=(OwnedView&&) noexcept = default;  // takes the memory
  OwnedView(const OwnedView&) = delete;
  OwnedView& operator=(const OwnedView&) = delete;

  View view() { return view_; }                             // valid as long as this tensor
  ViewOf<const T, Rank> view() const { return view_; }      // valid as long as this tensor
  operator View() { return view_; }                         // view()
  operator ViewOf<const T, Rank>() const { return view_; }  // view()

  T* data() { return view_.data(); }                                        // the first element
  const T* data() const { return view_.data(); }                            // the first element
  const Extents<Rank>& sizes() const { return view_.sizes(); }              // of all dimensions
  const Extents<Rank>& strides() const { return view_.strides(); }          // of all dimensions, in elements
  std::int64_t size(std::size_t dim) const { return view_.size(dim); }      // of one dimension
  std::int64_t stride(std::size_t dim) const { return view_.stride(dim); }  // of one dimension, in elements
  aotbuild_device device() const { return view_.device(); }                 // where the elements lie
  std::int64_t numel() const { return view_.numel(); }                      // how many elements there are
  bool is_contiguous() const { return view_.is_contiguous(); }              // as of the view

 private:
  View view_;
  Shared owner_;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace detail

inline namespace AOTBUILD_NAMESPACE {

// A tensor that owns its host memory, or a share of it: what a model returns. It outlives the model that made it.
template <typename T, std::size_t Rank>
class Tensor : public detail::OwnedView<TensorView, T, Rank> {
 public:
  using detail::OwnedView<TensorView, T, Rank>::OwnedView;

  // tensor(i, j, ...): one element. Indices are not checked.
  template <typename... Indices>
  T& operator()(Indices... indices) {
    return this->view()(indices...);
  }
  // tensor(i, j, ...): one element. Indices are not checked.
  template <typename... Indices>
  const T& operator()(Indices... indices) const {
    return this->view()(indices...);
  }
  // As of the view.
  template <typename Mdspan, std::enable_if_t<detail::ToMdspan<Mdspan, T, Rank>::value, int> = 0>
  operator Mdspan() {
    return this->view();
  }
  // As of the view.
  template <typename Mdspan, std::enable_if_t<detail::ToMdspan<Mdspan, const T, Rank>::value, int> = 0>
  operator Mdspan() const {
    return this->view();
  }
  decltype(auto) operator[](std::int64_t index) { return this->view()[index]; }        // as of the view
  decltype(auto) operator[](std::int64_t index) const { return this->view()[index]; }  // as of the view

  // As of the view.
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  T* begin() {
    return this->view().template begin<kThrows>();
  }
  // As of the view.
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  T* end() {
    return this->view().template end<kThrows>();
  }
  // As of the view.
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  const T* begin() const {
    return this->view().template begin<kThrows>();
  }
  // As of the view.
  template <bool kThrows = AOTBUILD_EXCEPTIONS>
  const T* end() const {
    return this->view().template end<kThrows>();
  }
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild

#endif  // AOTBUILD_TENSOR_HPP_
