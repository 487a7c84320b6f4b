// Ownership in the little that the public headers need of it: <memory> and <string> would be two thirds of what a
// program compiles for them.
#ifndef AOTBUILD_DETAIL_SHARED_HPP_
#define AOTBUILD_DETAIL_SHARED_HPP_

#include <cstddef>
#include <type_traits>
#include <utility>

#include "aotbuild/detail/version.h"

namespace aotbuild::detail {
inline namespace AOTBUILD_NAMESPACE {

// A share of an object of any type, which goes with its last share. Copies may be made and go in any thread.
class Shared {
 public:
  Shared() = default;
  template <typename Owner, typename = std::enable_if_t<!std::is_same_v<Owner, Shared>>>
  Shared(Owner owner) : block_(new Holder<Owner>(std::move(owner))) {}
  Shared(const Shared& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) __atomic_fetch_add(&block_->count, 1, __ATOMIC_RELAXED);
  }
  Shared(Shared&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Shared& operator=(Shared other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Shared() {
    if (block_ != nullptr && __atomic_sub_fetch(&block_->count, 1, __ATOMIC_ACQ_REL) == 0) block_->destroy(block_);
  }

  explicit operator bool() const noexcept { return block_ != nullptr; }

 private:
  struct Block {
    void (*destroy)(Block* block);
    int count;
  };
  template <typename Owner>
  struct Holder : Block {
    explicit Holder(Owner&& shared)
        : Block{[](Block* block) { delete static_cast<Holder*>(block); }, 1}, owner(std::move(shared)) {}
    Owner owner;
  };

  Block* block_ = nullptr;
};

// An array that does not change; copies share it.
template <typename T>
class SharedArray {
 public:
  SharedArray() = default;
  explicit SharedArray(std::size_t size) : elements_(new T[size]()), size_(size), owner_(Owner(elements_)) {}
  SharedArray(const T* elements, std::size_t size) : SharedArray(size) {
    for (std::size_t i = 0; i < size; ++i) elements_[i] = elements[i];
  }

  T* data() const noexcept { return elements_; }
  std::size_t size() const noexcept { return size_; }
  T& operator[](std::size_t index) const { return elements_[index]; }

 private:
  struct Owner {
    explicit Owner(T* array) : elements(array) {}
    Owner(Owner&& other) noexcept : elements(std::exchange(other.elements, nullptr)) {}
    ~Owner() { delete[] elements; }
    T* elements;
  };

  T* elements_ = nullptr;
  std::size_t size_ = 0;
  Shared owner_;
};

// What a function of the C ABI has made, and the function that takes it back. Movable.
template <typename T>
class Handle {
 public:
  Handle(T* object, void (*destroy)(T*)) : object_(object), destroy_(destroy) {}
  Handle(Handle&& other) noexcept : object_(std::exchange(other.object_, nullptr)), destroy_(other.destroy_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(destroy_, other.destroy_);
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (object_ != nullptr) destroy_(object_);
  }

  T* get() const noexcept { return object_; }

 private:
  T* object_;
  void (*destroy_)(T*);
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild::detail

#endif  // AOTBUILD_DETAIL_SHARED_HPP_
