#include "call.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "support.hpp"

namespace aotbuild::triton {

namespace {

constexpr std::size_t kAlignment = 64;

std::size_t item_size(const aotbuild_tensor& tensor) { return tensor.dtype.bits / 8; }

std::int64_t element_count(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

bool is_contiguous(const aotbuild_tensor& tensor) {
  if (tensor.strides == nullptr) return true;
  std::int64_t expected = 1;
  for (std::int32_t d = tensor.ndim - 1; d >= 0; --d) {
    if (tensor.shape[d] != 1 && tensor.strides[d] != expected) return false;
    expected *= tensor.shape[d];
  }
  return true;
}

// Copies between a tensor of any strides and contiguous memory, dimension by dimension from `d` on.
template <typename Copy>
void for_each_element(const aotbuild_tensor& tensor, std::int32_t d, char* strided, char** packed, const Copy& copy) {
  const std::size_t item = item_size(tensor);
  if (d == tensor.ndim) {
    copy(strided, *packed, item);
    *packed += item;
    return;
  }
  for (std::int64_t i = 0; i < tensor.shape[d]; ++i) {
    for_each_element(tensor, d + 1, strided + i * tensor.strides[d] * static_cast<std::int64_t>(item), packed, copy);
  }
}

// The rows [first, first + rows) of an output as contiguous memory; all of it where the model has no batch.
void copy_rows(const aotbuild_tensor& output, std::int64_t first, std::int64_t rows, bool is_batched, char* to) {
  aotbuild_tensor part = output;
  std::vector<std::int64_t> shape(output.shape, output.shape + output.ndim);
  char* from = static_cast<char*>(output.data) + output.byte_offset;
  const std::int64_t item = static_cast<std::int64_t>(item_size(output));
  const bool contiguous = is_contiguous(output);
  if (is_batched) {
    const std::int64_t row =
        contiguous ? element_count(shape) / std::max<std::int64_t>(shape[0], 1) : output.strides[0];
    from += first * row * item;
    shape[0] = rows;
  }
  part.shape = shape.data();
  if (contiguous) {
    const std::size_t size = static_cast<std::size_t>(element_count(shape) * item);
    if (size != 0) std::memcpy(to, from, size);
  } else {
    for_each_element(part, 0, from, &to,
                     [](char* strided, char* packed, std::size_t count) { std::memcpy(packed, strided, count); });
  }
}

// The requests' tensors of one input as the model takes them: where they lie if that is one piece, else copied.
class Argument {
 public:
  Argument(const Model& model, const std::vector<Request*>& requests, std::size_t index, Scratch* scratch)
      : info_(*requests[0]->method().info->inputs[index]), shape_(requests[0]->inputs()[index].shape) {
    const RequestInput& first = requests[0]->inputs()[index];
    if (requests.size() > 1) {
      shape_[0] = 0;
      for (const Request* const request : requests) shape_[0] += request->rows();
    }
    tensor_.device = first.device;
    tensor_.ndim = info_.ndim;
    tensor_.dtype = info_.dtype;
    if (info_.strides != nullptr) strides_.assign(info_.strides, info_.strides + info_.ndim);
    const bool is_one_piece = requests.size() == 1 && first.pieces.size() == 1;
    if (is_one_piece && (first.device.type != AOTBUILD_CPU || is_usable(first.pieces[0].data))) {
      tensor_.data = const_cast<char*>(first.pieces[0].data);
      return;
    }
    std::size_t size = 0;
    for (const Request* const request : requests) size += request->inputs()[index].size;
    char* const memory = scratch->take(std::max<std::size_t>(size, 1));
    char* end = memory;
    for (const Request* const request : requests) end = copy_input(model.config().name, request->inputs()[index], end);
    tensor_.data = memory;
    if (!strides_.empty() && size != 0) spread(memory, scratch);
  }

  aotbuild_tensor tensor() {
    tensor_.shape = shape_.data();
    tensor_.strides = strides_.empty() ? nullptr : strides_.data();
    return tensor_;
  }

 private:
  bool is_usable(const char* data) const {
    const std::size_t item = info_.dtype.bits / 8;
    return info_.strides == nullptr && info_.is_written == 0 && reinterpret_cast<std::uintptr_t>(data) % item == 0;
  }

  // Lays packed memory out with the strides that the model asks for.
  void spread(char* packed, Scratch* scratch) {
    std::int64_t last = 0;
    for (std::size_t d = 0; d < shape_.size(); ++d) last += (shape_[d] - 1) * strides_[d];
    char* const memory = scratch->take(static_cast<std::size_t>(last + 1) * item_size(tensor_));
    aotbuild_tensor strided = tensor();
    for_each_element(strided, 0, memory, &packed,
                     [](char* to, char* from, std::size_t count) { std::memcpy(to, from, count); });
    tensor_.data = memory;
  }

  const aotbuild_tensor_info& info_;
  std::vector<std::int64_t> shape_;
  std::vector<std::int64_t> strides_;
  aotbuild_tensor tensor_{};
};

// Memory of the response for one output. `wanted`: where the model can write to; the server says what it is.
struct OutputMemory {
  void* data = nullptr;
  aotbuild_device device{AOTBUILD_CPU, 0};
};

OutputMemory output_memory(const Model& model, const Request& request, const aotbuild_tensor_info& info,
                           const std::vector<std::int64_t>& shape, aotbuild_device preferred) {
  aotbuild_tensor described{};
  described.ndim = info.ndim;
  described.dtype = info.dtype;
  described.shape = const_cast<std::int64_t*>(shape.data());
  const std::vector<std::int64_t> sizes = server_shape(model.config(), described);
  TRITONBACKEND_Output* output = nullptr;
  check(TRITONBACKEND_ResponseOutput(request.response(), &output, info.name, data_type_of(info.dtype), sizes.data(),
                                     static_cast<std::uint32_t>(sizes.size())));
  OutputMemory memory;
  TRITONSERVER_MemoryType type = preferred.type == AOTBUILD_CUDA ? TRITONSERVER_MEMORY_GPU : TRITONSERVER_MEMORY_CPU;
  std::int64_t id = preferred.index;
  const std::size_t size = static_cast<std::size_t>(element_count(shape)) * item_size(described);
  check(TRITONBACKEND_OutputBuffer(output, &memory.data, size, &type, &id));
  if (type == TRITONSERVER_MEMORY_GPU) memory.device = {AOTBUILD_CUDA, static_cast<std::int32_t>(id)};
  if (memory.device.type != AOTBUILD_CPU && !model.is_on_gpu()) {
    fail(TRITONSERVER_ERROR_UNSUPPORTED, model.config().name, ": output '", info.name,
         "' is asked for in GPU memory, and the model runs on the CPU; ask for it in host memory");
  }
  return memory;
}

// The outputs of a call. Of a request that is alone, those whose sizes are known are written into its response's
// memory.
class Results {
 public:
  Results(const Model& model, const std::vector<Request*>& requests,
          const std::vector<std::vector<std::int64_t>>& input_shapes)
      : model_(model), info_(*requests[0]->method().info), tensors_(info_.output_count) {
    direct_.assign(info_.output_count, false);
    if (requests.size() > 1) return;
    shapes_ = requests[0]->method().output_shapes(input_shapes);
    for (std::size_t i = 0; i < info_.output_count; ++i) {
      const aotbuild_tensor_info& info = *info_.outputs[i];
      if (!requests[0]->wants(i) || !shapes_[i].first || info.strides != nullptr) continue;
      direct_[i] = true;
      const OutputMemory memory = output_memory(model, *requests[0], info, shapes_[i].second, device_of(info));
      const bool is_aligned = reinterpret_cast<std::uintptr_t>(memory.data) % (info.dtype.bits / 8) == 0;
      if (element_count(shapes_[i].second) == 0) continue;
      if (!is_aligned) {
        misaligned_.emplace_back(i, memory.data);
        continue;
      }
      tensors_[i] = {memory.data, memory.device, info.ndim, info.dtype, shapes_[i].second.data(), nullptr, 0};
    }
  }

  std::vector<aotbuild_tensor>& tensors() { return tensors_; }

  // Puts what the library allocated into the responses, and what keeps a response from having it into its place.
  void copy_to(const std::vector<Request*>& requests, std::vector<std::exception_ptr>* failures) const {
    for (const auto& [index, data] : misaligned_) {
      copy_rows(tensors_[index], 0, requests[0]->rows(), false, static_cast<char*>(data));
    }
    std::int64_t first = 0;
    for (std::size_t r = 0; r < requests.size(); ++r) {
      try {
        for (std::size_t i = 0; i < info_.output_count; ++i) {
          if (requests[r]->wants(i) && !direct_[i]) copy_to(*requests[r], i, first);
        }
      } catch (...) {
        (*failures)[r] = std::current_exception();
      }
      first += requests[r]->rows();
    }
  }

 private:
  aotbuild_device device_of(const aotbuild_tensor_info& info) const {
    return info.device.type == AOTBUILD_CUDA ? aotbuild_device{AOTBUILD_CUDA, 0} : aotbuild_device{AOTBUILD_CPU, 0};
  }

  void copy_to(const Request& request, std::size_t index, std::int64_t first) const {
    const aotbuild_tensor& tensor = tensors_[index];
    std::vector<std::int64_t> shape(tensor.shape, tensor.shape + tensor.ndim);
    if (model_.is_batched()) shape[0] = request.rows();
    const OutputMemory memory = output_memory(model_, request, *info_.outputs[index], shape, {AOTBUILD_CPU, 0});
    if (memory.device.type != AOTBUILD_CPU) {
      fail(TRITONSERVER_ERROR_UNSUPPORTED, model_.config().name, ": output '", info_.outputs[index]->name,
           "' is asked for in GPU memory, and its sizes are not known before the call; ask for it in host memory");
    }
    copy_rows(tensor, first, request.rows(), model_.is_batched(), static_cast<char*>(memory.data));
  }

  const Model& model_;
  const aotbuild_method_info& info_;
  std::vector<aotbuild_tensor> tensors_;
  std::vector<std::pair<bool, std::vector<std::int64_t>>> shapes_;
  std::vector<bool> direct_;
  std::vector<std::pair<std::size_t, void*>> misaligned_;
};

}  // namespace

void Scratch::Free::operator()(void* memory) const { std::free(memory); }

char* Scratch::take(std::size_t size) {
  if (used_ == blocks_.size()) blocks_.push_back({nullptr, 0});
  Block& block = blocks_[used_++];
  if (block.size < size) {
    const std::size_t whole = (size + kAlignment - 1) / kAlignment * kAlignment;
    block.memory.reset(std::aligned_alloc(kAlignment, whole));
    if (block.memory == nullptr) throw std::bad_alloc();
    block.size = whole;
  }
  return static_cast<char*>(block.memory.get());
}

std::shared_ptr<aotbuild_result> run_tensors(const Model& model, const Object& object, const Method& method,
                                             const std::vector<aotbuild_tensor>& inputs,
                                             std::vector<aotbuild_tensor>* outputs, CallTimes* times) {
  aotbuild_result* result = nullptr;
  times->begin_ns = now_ns();
  const aotbuild_status status = model.api().run(object.get(), method.index, nullptr, inputs.data(), inputs.size(),
                                                 outputs->data(), outputs->size(), &result);
  times->end_ns = now_ns();
  check(model.api(), status);
  model.metrics().add(Metric::kCalls, 1);
  model.metrics().add(Metric::kMicroseconds, static_cast<double>(times->end_ns - times->begin_ns) * 1e-3);
  return {result, [&api = model.api()](aotbuild_result* owned) {
            if (owned != nullptr) api.destroy_result(owned);
          }};
}

CallTimes run_call(Model& model, const std::vector<Request*>& requests, Scratch* scratch,
                   std::vector<std::exception_ptr>* failures) {
  const Request& first = *requests[0];
  const Method& method = first.method();
  scratch->reset();
  std::vector<Argument> arguments;
  arguments.reserve(method.info->input_count);
  std::vector<aotbuild_tensor> inputs;
  std::vector<std::vector<std::int64_t>> shapes;
  for (std::size_t i = 0; i < method.info->input_count; ++i) {
    arguments.emplace_back(model, requests, i, scratch);
    inputs.push_back(arguments.back().tensor());
    shapes.emplace_back(inputs.back().shape, inputs.back().shape + inputs.back().ndim);
  }
  Results results(model, requests, shapes);
  CallTimes times{};
  const std::shared_ptr<aotbuild_result> owner =
      run_tensors(model, first.object(), method, inputs, &results.tensors(), &times);
  failures->assign(requests.size(), nullptr);
  results.copy_to(requests, failures);
  std::int64_t rows = 0;
  for (const Request* const request : requests) rows += request->rows();
  model.metrics().observe(Metric::kBatchSize, static_cast<double>(rows));
  model.report_graphs(first.object());
  return times;
}

}  // namespace aotbuild::triton
