// The stand-in's functions of requests and responses.
#include <algorithm>

#include "handles.hpp"

using fake::error;

TRITONSERVER_Error* TRITONBACKEND_RequestIsCancelled(TRITONBACKEND_Request* request, bool* is_cancelled) {
  *is_cancelled = request->answer->is_cancelled;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestCorrelationId(TRITONBACKEND_Request* request, std::uint64_t* id) {
  *id = request->content.sequence;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestCorrelationIdString(TRITONBACKEND_Request* request, const char** id) {
  if (request->content.sequence_text.empty()) return error(TRITONSERVER_ERROR_INVALID_ARG, "the id is no text");
  *id = request->content.sequence_text.c_str();
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestFlags(TRITONBACKEND_Request* request, std::uint32_t* flags) {
  *flags = request->content.flags;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_InferenceRequestTimeoutMicroseconds(TRITONBACKEND_Request* request,
                                                                      std::uint64_t* timeout) {
  *timeout = request->content.timeout;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestParameterCount(TRITONBACKEND_Request* request, std::uint32_t* count) {
  *count = request->content.method.empty() ? 0 : 1;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestParameter(TRITONBACKEND_Request* request, std::uint32_t /*index*/,
                                                   const char** key, TRITONSERVER_ParameterType* type,
                                                   const void** value) {
  *key = "method";
  *type = TRITONSERVER_PARAMETER_STRING;
  *value = request->content.method.c_str();
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestInputCount(TRITONBACKEND_Request* request, std::uint32_t* count) {
  *count = static_cast<std::uint32_t>(request->inputs.size());
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestInputByIndex(TRITONBACKEND_Request* request, std::uint32_t index,
                                                      TRITONBACKEND_Input** input) {
  *input = &request->inputs[index];
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestOutputCount(TRITONBACKEND_Request* request, std::uint32_t* count) {
  *count = static_cast<std::uint32_t>(request->content.outputs.size());
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestOutputName(TRITONBACKEND_Request* request, std::uint32_t index,
                                                    const char** name) {
  *name = request->content.outputs[index].c_str();
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestRelease(TRITONBACKEND_Request* request, std::uint32_t /*flags*/) {
  const std::shared_ptr<fake::Answer> answer = request->answer;
  delete request;  // the last one of a model that was unloaded ends it here
  answer->set_released();
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_InputProperties(TRITONBACKEND_Input* input, const char** name,
                                                  TRITONSERVER_DataType* type, const std::int64_t** shape,
                                                  std::uint32_t* dims_count, std::uint64_t* byte_size,
                                                  std::uint32_t* buffer_count) {
  *name = input->tensor->name.c_str();
  *type = input->tensor->type;
  *shape = input->tensor->shape.data();
  *dims_count = static_cast<std::uint32_t>(input->tensor->shape.size());
  *byte_size = 0;
  for (const std::vector<char>& piece : input->tensor->pieces) *byte_size += piece.size();
  *buffer_count = static_cast<std::uint32_t>(input->memory.size());
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_InputBuffer(TRITONBACKEND_Input* input, std::uint32_t index, const void** buffer,
                                              std::uint64_t* byte_size, TRITONSERVER_MemoryType* memory_type,
                                              std::int64_t* memory_type_id) {
  *buffer = input->memory[index].data() + input->tensor->offset;
  *byte_size = input->memory[index].size() - input->tensor->offset;
  *memory_type = TRITONSERVER_MEMORY_CPU;
  *memory_type_id = 0;
  return nullptr;
}

TRITONSERVER_Error* TRITONBACKEND_ResponseNew(TRITONBACKEND_Response** response, TRITONBACKEND_Request* request) {
  *response = new TRITONBACKEND_Response;
  (*response)->answer = request->answer;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseNewFromFactory(TRITONBACKEND_Response** response,
                                                         TRITONBACKEND_ResponseFactory* factory) {
  *response = new TRITONBACKEND_Response;
  (*response)->answer = factory->answer;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseDelete(TRITONBACKEND_Response* response) {
  delete response;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseOutput(TRITONBACKEND_Response* response, TRITONBACKEND_Output** output,
                                                 const char* name, TRITONSERVER_DataType type,
                                                 const std::int64_t* shape, std::uint32_t dims_count) {
  response->outputs.push_back({{name, type, std::vector<std::int64_t>(shape, shape + dims_count), {}}});
  response->outputs.back().tensor.offset = response->answer->output_offset;
  *output = &response->outputs.back();
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_OutputBuffer(TRITONBACKEND_Output* output, void** buffer, std::uint64_t byte_size,
                                               TRITONSERVER_MemoryType* memory_type, std::int64_t* memory_type_id) {
  *memory_type = TRITONSERVER_MEMORY_CPU;
  *memory_type_id = 0;
  output->tensor.pieces = {std::vector<char>(output->tensor.offset + byte_size)};
  *buffer = output->tensor.pieces[0].data() + output->tensor.offset;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseSend(TRITONBACKEND_Response* response, std::uint32_t flags,
                                               TRITONSERVER_Error* failed) {
  fake::Response sent;
  for (TRITONBACKEND_Output& output : response->outputs) sent.outputs.push_back(std::move(output.tensor));
  if (failed != nullptr) {
    sent.error = failed->message;
    sent.code = failed->code;
  }
  const std::shared_ptr<fake::Answer> answer = response->answer;
  delete response;
  answer->add(std::move(sent), (flags & TRITONSERVER_RESPONSE_COMPLETE_FINAL) != 0);
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseFactoryNew(TRITONBACKEND_ResponseFactory** factory,
                                                     TRITONBACKEND_Request* request) {
  *factory = new TRITONBACKEND_ResponseFactory;
  (*factory)->answer = request->answer;
  (*factory)->model = request->model;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseFactoryDelete(TRITONBACKEND_ResponseFactory* factory) {
  delete factory;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseFactorySendFlags(TRITONBACKEND_ResponseFactory* factory,
                                                           std::uint32_t flags) {
  factory->answer->add({}, (flags & TRITONSERVER_RESPONSE_COMPLETE_FINAL) != 0);
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseFactoryIsCancelled(TRITONBACKEND_ResponseFactory* factory,
                                                             bool* is_cancelled) {
  *is_cancelled = factory->answer->is_cancelled;
  return nullptr;
}
