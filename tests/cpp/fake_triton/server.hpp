// A stand-in for Triton Inference Server: the functions that the backend calls, and a server in the test's own process
// that gives it requests from many threads. It counts what the backend has to give back.
#ifndef AOTBUILD_TESTS_FAKE_TRITON_SERVER_HPP_
#define AOTBUILD_TESTS_FAKE_TRITON_SERVER_HPP_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "triton_api.h"

namespace fake {

class Model;

struct Tensor {
  std::string name;
  TRITONSERVER_DataType type;
  std::vector<std::int64_t> shape;
  std::vector<std::vector<char>> pieces;
  std::size_t offset = 0;  // of the data in its memory, for what is not aligned
};

template <typename T>
Tensor tensor(const std::string& name, TRITONSERVER_DataType type, std::vector<std::int64_t> shape,
              const std::vector<T>& values) {
  const char* const data = reinterpret_cast<const char*>(values.data());
  return {name, type, std::move(shape), {std::vector<char>(data, data + values.size() * sizeof(T))}};
}

// One response as the client has it.
struct Response {
  std::vector<Tensor> outputs;
  std::string error;
  TRITONSERVER_Error_Code code = TRITONSERVER_ERROR_UNKNOWN;

  const Tensor* find(const std::string& name) const;
  template <typename T>
  std::vector<T> values(const std::string& name) const {
    const Tensor* const tensor = find(name);
    if (tensor == nullptr) return {};
    const std::vector<char>& data = tensor->pieces[0];
    std::vector<T> found((data.size() - tensor->offset) / sizeof(T));
    for (std::size_t i = 0; i < found.size() * sizeof(T); ++i) {
      reinterpret_cast<char*>(found.data())[i] = data[tensor->offset + i];
    }
    return found;
  }
};

// What a request gets, filled in by the backend's threads.
class Answer {
 public:
  void add(Response response, bool is_final);
  void set_released();
  // The response with this number, once it is there; null when there are fewer.
  const Response* wait(std::size_t number);
  // Waits until the last response is sent and the request released.
  std::size_t wait_for_all();

  std::atomic<bool> is_cancelled{false};
  std::size_t output_offset = 0;  // of the memory for outputs

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Response> responses_;
  bool is_final_ = false;
  bool is_released_ = false;
};

struct Request {
  std::vector<Tensor> inputs;
  std::vector<std::string> outputs;
  std::uint64_t sequence = 0;
  std::string sequence_text;
  std::uint32_t flags = 0;
  std::uint64_t timeout = 0;
  std::string method;
  std::size_t output_offset = 0;
};

// A loaded model with its instances. Requests of it keep it, as in the server.
class Model : public std::enable_shared_from_this<Model> {
 public:
  // `config`: as JSON. Throws std::runtime_error with the backend's message.
  static std::shared_ptr<Model> load(const std::string& name, std::uint64_t version, const std::string& folder,
                                     const std::string& config, std::size_t instances, std::size_t most_joined);
  ~Model();

  std::shared_ptr<Answer> send(Request request);
  Response infer(Request request);
  // Of calls of ModelInstanceExecute, the one with most requests.
  std::size_t most_joined() const { return joined_; }

  struct Impl;

 private:
  Model() = default;
  void work(TRITONBACKEND_ModelInstance* instance);

  std::unique_ptr<Impl> impl_;
  std::size_t limit_ = 1;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<TRITONBACKEND_Request*> queue_;
  bool stops_ = false;
  std::vector<std::thread> threads_;
  std::atomic<std::size_t> joined_{0};
};

// Errors, responses, requests, factories, messages and metrics that are not given back.
long alive();
double metric(const std::string& name, const std::string& model);
void set_api_version(std::uint32_t major, std::uint32_t minor);

}  // namespace fake

#endif  // AOTBUILD_TESTS_FAKE_TRITON_SERVER_HPP_
