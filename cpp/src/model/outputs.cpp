#include "model/outputs.hpp"

#include <vector>

#include "tensor/copy.hpp"

namespace aotbuild::detail {

void OutputWriter::write() {
  std::size_t dims = 0;
  bool allocates = false;
  for (std::size_t i = 0; i < handles_.size(); ++i) {
    const Tensor& made = checked_output(call_, handles_, i);
    if (call_.outputs[i].data != nullptr) continue;
    allocates = true;
    dims += 2 * static_cast<std::size_t>(made.ndim);
  }
  if (call_.overlaps_inputs) detach_from_caller();
  for (std::size_t i = 0; i < handles_.size(); ++i) {
    if (call_.outputs[i].data != nullptr) write_to_caller(i);
  }
  if (!allocates) return;
  ResultBuilder builder(call_, dims);
  builder.result().blocks.reserve(handles_.size());
  for (std::size_t i = 0; i < handles_.size(); ++i) {
    if (call_.outputs[i].data == nullptr) allocate(i, &builder);
  }
  builder.finish();
}

void OutputWriter::detach_from_caller() {
  for (std::size_t i = 0; i < handles_.size(); ++i) {
    Tensor& tensor = *handles_[i];
    if (tensor.storage->owned || tensor.data() == data_of(call_.outputs[i])) continue;
    tensor.assign(*clone_preserving(tensor, "aotbuild_model_run"));
  }
}

void OutputWriter::write_to_caller(std::size_t i) {
  const aotbuild_tensor& output = call_.outputs[i];
  const Tensor& made = *handles_[i];
  void* data = data_of(output);
  if (made.data() == data && has_strides(output, made.strides())) return;
  const TensorPtr target = make_given(output, made.dtype, 0);
  copy(*target, made, "aotbuild_model_run");
}

void OutputWriter::allocate(std::size_t i, ResultBuilder* builder) {
  // The memory of the tensor itself becomes the result's, when nothing else is in it and nobody else sees it.
  Tensor* tensor = handles_[i];
  TensorPtr copied;
  const aotbuild_tensor_info& info = call_.signature.outputs[i].info();
  const std::size_t needed = static_cast<std::size_t>(tensor->numel()) * tensor->element_size();
  const bool is_shared = !handles_.is_first(i) || tensor->storage->references != 1;
  if (is_shared || !tensor->storage->owned || tensor->storage->nbytes > 2 * needed ||
      !has_promised_strides(info, *tensor)) {
    const std::vector<std::int64_t> strides = copy_strides(info, *tensor);
    copied = make_tensor(tensor->dtype, tensor->ndim, tensor->sizes(), strides.data());
    copy(*copied, *tensor, "aotbuild_model_run");
    tensor = copied.get();
  }
  builder->add(i, tensor->data(), {AOTBUILD_CPU, 0}, *tensor);
  builder->result().blocks.emplace_back(static_cast<char*>(Workspace::current()->detach(tensor->storage)));
}

}  // namespace aotbuild::detail
