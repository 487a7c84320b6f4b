// What the stand-in's handles are, for its own sources.
#ifndef AOTBUILD_TESTS_FAKE_TRITON_HANDLES_HPP_
#define AOTBUILD_TESTS_FAKE_TRITON_HANDLES_HPP_

#include "server.hpp"

namespace fake {

extern std::atomic<long> alive_count;

struct Counted {
  Counted() { ++alive_count; }
  Counted(const Counted&) { ++alive_count; }
  ~Counted() { --alive_count; }
};

TRITONSERVER_Error* error(TRITONSERVER_Error_Code code, const std::string& message);

}  // namespace fake

struct TRITONSERVER_Error : fake::Counted {
  TRITONSERVER_Error_Code code;
  std::string message;
};
struct TRITONSERVER_Message : fake::Counted {
  std::string text;
};
struct TRITONSERVER_Parameter : fake::Counted {
  std::string value;
};
struct TRITONSERVER_MetricFamily : fake::Counted {
  std::string name;
};
struct TRITONSERVER_MetricArgs : fake::Counted {};
struct TRITONSERVER_Metric : fake::Counted {
  std::string key;
};
struct TRITONBACKEND_Backend {
  void* state = nullptr;
};
struct TRITONBACKEND_Model {
  std::string name;
  std::uint64_t version;
  std::string folder;
  std::string config;
  TRITONBACKEND_Backend* backend;
  void* state = nullptr;
};
struct TRITONBACKEND_ModelInstance {
  TRITONBACKEND_Model* model;
  void* state = nullptr;
};
struct TRITONBACKEND_Input {
  const fake::Tensor* tensor;
  std::vector<std::vector<char>> memory;  // with the offset before the data
};
struct TRITONBACKEND_Request : fake::Counted {
  fake::Request content;
  std::vector<TRITONBACKEND_Input> inputs;
  std::shared_ptr<fake::Answer> answer;
  std::shared_ptr<fake::Model> model;
};
struct TRITONBACKEND_Output {
  fake::Tensor tensor;
};
struct TRITONBACKEND_Response : fake::Counted {
  std::deque<TRITONBACKEND_Output> outputs;
  std::shared_ptr<fake::Answer> answer;
};
struct TRITONBACKEND_ResponseFactory : fake::Counted {
  std::shared_ptr<fake::Answer> answer;
  std::shared_ptr<fake::Model> model;
};

#endif  // AOTBUILD_TESTS_FAKE_TRITON_HANDLES_HPP_
