// One call of a model after its arguments were checked, and what calls on every device have in common.
#ifndef AOTBUILD_SRC_MODEL_CALL_HPP_
#define AOTBUILD_SRC_MODEL_CALL_HPP_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "model/context.hpp"
#include "tensor/signature.hpp"
#include "tensor/tensor.hpp"
#include "tensor/workspace.hpp"
#include "weights/state.hpp"
#include "weights/weights.hpp"

// The memory of allocated outputs.
struct aotbuild_result {
  std::vector<aotbuild::detail::AlignedBuffer> blocks;
  std::vector<std::shared_ptr<void>> device_blocks;
  std::unique_ptr<std::int64_t[]> dims;  // shapes and strides of all outputs in the blocks
};

namespace aotbuild::detail {

// Handles that a call owns. One handle may stand for several outputs, but is deleted once.
class OwnedHandles {
 public:
  explicit OwnedHandles(std::size_t count) : handles_(count) {}
  ~OwnedHandles() {
    for (std::size_t i = 0; i < handles_.size(); ++i) {
      if (is_first(i)) delete_tensor(handles_[i]);
    }
  }
  OwnedHandles(const OwnedHandles&) = delete;
  OwnedHandles& operator=(const OwnedHandles&) = delete;
  AtenTensorHandle* data() { return handles_.data(); }
  AtenTensorHandle& operator[](std::size_t i) { return handles_[i]; }
  std::size_t size() const { return handles_.size(); }
  bool is_first(std::size_t i) {
    return std::find(handles_.begin(), handles_.begin() + i, handles_[i]) == handles_.begin() + i;
  }

 private:
  SmallArray<AtenTensorHandle, 16> handles_;
};

// The bytes from the first to the last element of a tensor.
struct Range {
  const char* begin = nullptr;
  const char* end = nullptr;
  bool overlaps(const Range& other) const { return begin < other.end && other.begin < end; }
  std::size_t size() const { return static_cast<std::size_t>(end - begin); }
};

Range range_of(const aotbuild_tensor& tensor, ScalarType dtype);

// A caller's tensor of `nbytes`, where it lies. Strides of dimensions with no second element, which may be any numbers,
// become those of contiguous memory.
TensorPtr make_given(const aotbuild_tensor& tensor, ScalarType dtype, std::size_t nbytes);

struct CheckedCall {
  const char* name;    // of the model, and of the method where it has several
  std::size_t method;  // its index; 0 where the model has none
  const Signature& signature;
  std::shared_ptr<const WeightSet> weights;
  std::shared_ptr<const State> state;
  const aotbuild_tensor* inputs;
  aotbuild_tensor* outputs;
  // The outputs that may be written while the model runs: no input is read from their memory.
  bool* in_place;
  // Some output may not: what is a view of an input is copied before anything is written.
  bool overlaps_inputs;
  aotbuild_result** result;
  void* stream;  // the caller's; null: the call waits for all of its work
};

// What the model made for output `i`, checked against the signature and the caller's buffer.
Tensor& checked_output(const CheckedCall& call, OwnedHandles& handles, std::size_t i);

// Whether the tensor has the strides that the signature promises.
bool has_promised_strides(const aotbuild_tensor_info& info, const Tensor& tensor);
// The strides of a copy: those that are promised, where they may vary those of the tensor.
std::vector<std::int64_t> copy_strides(const aotbuild_tensor_info& info, const Tensor& tensor);

// Describes allocated outputs; the arrays of sizes and strides are the result's.
class ResultBuilder {
 public:
  ResultBuilder(const CheckedCall& call, std::size_t dims);
  void add(std::size_t i, void* data, aotbuild_device device, const Tensor& tensor);
  aotbuild_result& result() { return *result_; }
  // Fills the caller's outputs in. Nothing can fail here.
  void finish() noexcept;

 private:
  const CheckedCall& call_;
  std::unique_ptr<aotbuild_result> result_;
  std::int64_t* at_;
  std::vector<aotbuild_tensor> filled_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_MODEL_CALL_HPP_
