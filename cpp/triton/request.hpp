// One request: its inputs as a method of the model takes them, and the answer to it.
#ifndef AOTBUILD_TRITON_REQUEST_HPP_
#define AOTBUILD_TRITON_REQUEST_HPP_

#include <cstdint>
#include <string>
#include <vector>

#include "model.hpp"
#include "triton_api.h"

namespace aotbuild::triton {

// A tensor in a request. The server may hold it in several pieces.
struct RequestInput {
  struct Piece {
    const char* data;
    std::size_t size;
  };
  std::string name;
  TRITONSERVER_DataType type;
  std::vector<std::int64_t> shape;
  std::vector<Piece> pieces;
  std::size_t size = 0;
  aotbuild_device device{AOTBUILD_CPU, 0};
};

std::vector<RequestInput> read_inputs(TRITONBACKEND_Request* request);

// Copies a request's tensor to `to`, which has room for it.
char* copy_input(const std::string& model, const RequestInput& input, char* to);

// The value of a request's parameter that is text; empty without one.
std::string text_parameter(TRITONBACKEND_Request* request, const char* name);

class Request {
 public:
  explicit Request(TRITONBACKEND_Request* handle);
  ~Request();
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // Reads inputs and outputs, and chooses method and session. Throws what is wrong with the request.
  void prepare(Model& model, const Object& object);

  // Sends the response, with the exception that is being handled if `failed`.
  void send(Model& model, bool failed);
  bool is_answered() const { return response_ == nullptr; }

  TRITONBACKEND_Request* handle() const { return handle_; }
  TRITONBACKEND_Response* response() const { return response_; }
  const Method& method() const { return *method_; }
  const Object& object() const { return object_; }
  const std::vector<RequestInput>& inputs() const { return inputs_; }
  bool wants(std::size_t output) const { return wanted_[output]; }
  // Rows of the batch; 1 of a model without one.
  std::int64_t rows() const { return rows_; }
  // Whether requests may be one call: the same method, and the same sizes beside the batch.
  bool can_join(const Request& other) const;

 private:
  void choose_method(const Model& model, std::vector<RequestInput> given);
  void choose_outputs(const Model& model);
  void choose_object(Model& model, const Object& object);

  TRITONBACKEND_Request* handle_;
  TRITONBACKEND_Response* response_ = nullptr;
  const Method* method_ = nullptr;
  Object object_;
  std::string ended_sequence_;
  std::vector<RequestInput> inputs_;
  std::vector<bool> wanted_;
  std::int64_t rows_ = 1;
};

// The id of a request's sequence as text; empty without one.
std::string sequence_of(TRITONBACKEND_Request* request);

}  // namespace aotbuild::triton

#endif  // AOTBUILD_TRITON_REQUEST_HPP_
