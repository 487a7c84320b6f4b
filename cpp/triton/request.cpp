#include "request.hpp"

#include <algorithm>
#include <cstring>

#include "support.hpp"

namespace aotbuild::triton {

namespace {

const RequestInput* find(const std::vector<RequestInput>& inputs, const char* name) {
  const auto found =
      std::find_if(inputs.begin(), inputs.end(), [&](const RequestInput& input) { return input.name == name; });
  return found == inputs.end() ? nullptr : &*found;
}

// Whether the request has the method's inputs and no others.
bool fits(const Method& method, const std::vector<RequestInput>& given) {
  const aotbuild_method_info& info = *method.info;
  return given.size() == info.input_count &&
         std::all_of(info.inputs, info.inputs + info.input_count,
                     [&](const aotbuild_tensor_info* input) { return find(given, input->name) != nullptr; });
}

std::string names(const std::vector<RequestInput>& inputs) {
  std::string text;
  for (const RequestInput& input : inputs) text += (text.empty() ? "" : ", ") + input.name;
  return text.empty() ? "none" : text;
}

std::string names(const std::vector<Method>& methods) {
  std::string text;
  for (const Method& method : methods) text += (text.empty() ? "" : ", ") + std::string(method.info->name);
  return text;
}

}  // namespace

std::vector<RequestInput> read_inputs(TRITONBACKEND_Request* request) {
  std::uint32_t count = 0;
  check(TRITONBACKEND_RequestInputCount(request, &count));
  std::vector<RequestInput> inputs(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    TRITONBACKEND_Input* handle = nullptr;
    check(TRITONBACKEND_RequestInputByIndex(request, i, &handle));
    RequestInput& input = inputs[i];
    const char* name = nullptr;
    const std::int64_t* shape = nullptr;
    std::uint32_t dims = 0;
    std::uint64_t size = 0;
    std::uint32_t pieces = 0;
    check(TRITONBACKEND_InputProperties(handle, &name, &input.type, &shape, &dims, &size, &pieces));
    input.name = name;
    input.shape.assign(shape, shape + dims);
    for (std::uint32_t piece = 0; piece < pieces; ++piece) {
      const void* data = nullptr;
      std::uint64_t piece_size = 0;
      TRITONSERVER_MemoryType memory = TRITONSERVER_MEMORY_CPU;
      std::int64_t memory_id = 0;
      check(TRITONBACKEND_InputBuffer(handle, piece, &data, &piece_size, &memory, &memory_id));
      if (memory == TRITONSERVER_MEMORY_GPU) input.device = {AOTBUILD_CUDA, static_cast<std::int32_t>(memory_id)};
      input.pieces.push_back({static_cast<const char*>(data), piece_size});
      input.size += piece_size;
    }
  }
  return inputs;
}

char* copy_input(const std::string& model, const RequestInput& input, char* to) {
  if (input.device.type != AOTBUILD_CPU) {
    fail(TRITONSERVER_ERROR_UNSUPPORTED, model, ": input '", input.name, "' is in ", input.pieces.size(),
         " pieces of GPU memory; send it in one piece");
  }
  for (const RequestInput::Piece& piece : input.pieces) {
    if (piece.size != 0) std::memcpy(to, piece.data, piece.size);
    to += piece.size;
  }
  return to;
}

std::string text_parameter(TRITONBACKEND_Request* request, const char* name) {
  std::uint32_t count = 0;
  check(TRITONBACKEND_RequestParameterCount(request, &count));
  for (std::uint32_t i = 0; i < count; ++i) {
    const char* key = nullptr;
    TRITONSERVER_ParameterType type{};
    const void* value = nullptr;
    check(TRITONBACKEND_RequestParameter(request, i, &key, &type, &value));
    if (std::strcmp(key, name) == 0 && type == TRITONSERVER_PARAMETER_STRING) return static_cast<const char*>(value);
  }
  return "";
}

std::string sequence_of(TRITONBACKEND_Request* request) {
  // A request has a number or text; the function for the other kind returns an error.
  const char* text = nullptr;
  TRITONSERVER_Error* const error = TRITONBACKEND_RequestCorrelationIdString(request, &text);
  if (error == nullptr) return text == nullptr || *text == '\0' ? "" : concat('"', text, '"');
  TRITONSERVER_ErrorDelete(error);
  std::uint64_t number = 0;
  check(TRITONBACKEND_RequestCorrelationId(request, &number));
  return number == 0 ? "" : std::to_string(number);
}

Request::Request(TRITONBACKEND_Request* handle) : handle_(handle) {
  check(TRITONBACKEND_ResponseNew(&response_, handle));
}

Request::~Request() {
  if (response_ != nullptr) succeeded(TRITONBACKEND_ResponseDelete(response_));
}

void Request::prepare(Model& model, const Object& object) {
  bool is_cancelled = false;
  check(TRITONBACKEND_RequestIsCancelled(handle_, &is_cancelled));
  // A sequence ends also by a request that is refused.
  std::uint32_t flags = 0;
  check(TRITONBACKEND_RequestFlags(handle_, &flags));
  if (model.config().has_sequences && (flags & TRITONSERVER_REQUEST_FLAG_SEQUENCE_END) != 0) {
    ended_sequence_ = sequence_of(handle_);
  }
  if (is_cancelled) {
    fail(TRITONSERVER_ERROR_CANCELLED, model.config().name, ": the request was cancelled before it was run");
  }
  choose_method(model, read_inputs(handle_));
  choose_outputs(model);
  choose_object(model, object);
}

void Request::choose_method(const Model& model, std::vector<RequestInput> given) {
  const std::string& name = model.config().name;
  const std::string wanted = model.methods().size() == 1 ? "" : text_parameter(handle_, "method");
  for (const Method& method : model.methods()) {
    const bool is_wanted = wanted.empty() ? fits(method, given) : wanted == method.info->name;
    if (is_wanted && method_ != nullptr) {
      fail(TRITONSERVER_ERROR_INVALID_ARG, name, ": the methods ", method_->info->name, " and ", method.info->name,
           " have the same inputs; name one as the request's parameter \"method\"");
    }
    if (is_wanted) method_ = &method;
  }
  if (method_ == nullptr && !wanted.empty()) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, name, ": the request's parameter \"method\" is \"", wanted,
         "\", the model has ", names(model.methods()));
  }
  if (method_ == nullptr && model.methods().size() > 1) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, name, ": no method has the request's inputs, ", names(given),
         ", and no others; the model has ", names(model.methods()));
  }
  if (method_ == nullptr) method_ = &model.methods()[0];
  const aotbuild_method_info& info = *method_->info;
  for (std::size_t i = 0; i < info.input_count; ++i) {
    const aotbuild_tensor_info& expected = *info.inputs[i];
    const RequestInput* const input = find(given, expected.name);
    if (input == nullptr) {
      fail(TRITONSERVER_ERROR_INVALID_ARG, name, ": ", info.name, " needs the input '", expected.name,
           "', the request has ", names(given));
    }
    if (input->type != data_type_of(expected.dtype)) {
      fail(TRITONSERVER_ERROR_INVALID_ARG, name, ": input '", expected.name, "' has another type than ",
           type_name_of(expected.dtype), " of the method ", info.name);
    }
    inputs_.push_back(*input);
    inputs_.back().shape = model_shape(name, expected, input->shape.data(), input->shape.size());
    std::size_t size = expected.dtype.bits / 8;
    for (const std::int64_t dim : inputs_.back().shape)
      size *= static_cast<std::size_t>(std::max<std::int64_t>(dim, 0));
    if (size != input->size) {
      fail(TRITONSERVER_ERROR_INVALID_ARG, name, ": input '", expected.name, "' has ", input->size,
           " bytes, its sizes need ", size);
    }
  }
  if (given.size() != info.input_count) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, name, ": ", info.name, " has ", info.input_count, " inputs, the request has ",
         names(given));
  }
  if (model.is_batched() && !inputs_.empty()) rows_ = inputs_[0].shape[0];
}

void Request::choose_outputs(const Model& model) {
  const aotbuild_method_info& info = *method_->info;
  wanted_.assign(info.output_count, false);
  std::uint32_t count = 0;
  check(TRITONBACKEND_RequestOutputCount(handle_, &count));
  for (std::uint32_t i = 0; i < count; ++i) {
    const char* name = nullptr;
    check(TRITONBACKEND_RequestOutputName(handle_, i, &name));
    const auto* const found =
        std::find_if(info.outputs, info.outputs + info.output_count,
                     [&](const aotbuild_tensor_info* output) { return std::strcmp(output->name, name) == 0; });
    if (found != info.outputs + info.output_count) {
      wanted_[static_cast<std::size_t>(found - info.outputs)] = true;
    } else if (model.methods().size() == 1) {
      fail(TRITONSERVER_ERROR_INVALID_ARG, model.config().name, ": ", info.name, " has no output '", name, "'");
    }
  }
}

void Request::choose_object(Model& model, const Object& object) {
  object_ = object;
  if (!model.config().has_sequences) return;
  std::uint32_t flags = 0;
  check(TRITONBACKEND_RequestFlags(handle_, &flags));
  object_ = model.sequence(sequence_of(handle_), (flags & TRITONSERVER_REQUEST_FLAG_SEQUENCE_START) != 0, object);
}

bool Request::can_join(const Request& other) const {
  if (method_ != other.method_ || object_ != other.object_) return false;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const std::vector<std::int64_t>& left = inputs_[i].shape;
    const std::vector<std::int64_t>& right = other.inputs_[i].shape;
    const bool on_host = inputs_[i].device.type == AOTBUILD_CPU && other.inputs_[i].device.type == AOTBUILD_CPU;
    if (!on_host || left[0] != rows_ || right[0] != other.rows_ ||
        !std::equal(left.begin() + 1, left.end(), right.begin() + 1, right.end())) {
      return false;
    }
  }
  return !inputs_.empty();
}

void Request::send(Model& model, bool failed) {
  TRITONSERVER_Error* const error = failed ? current_error() : nullptr;
  if (failed) model.metrics().add(Metric::kFailures, 1);
  if (!ended_sequence_.empty()) model.end_sequence(ended_sequence_);
  succeeded(TRITONBACKEND_ResponseSend(response_, TRITONSERVER_RESPONSE_COMPLETE_FINAL, error));
  if (error != nullptr) TRITONSERVER_ErrorDelete(error);
  response_ = nullptr;
}

}  // namespace aotbuild::triton
