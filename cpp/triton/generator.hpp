// Streaming generation: one method reads the prompt, another goes on token by token, and each token is a response. Many
// sequences are under way at a time and take turns, over one set of weights and a session each.
#ifndef AOTBUILD_TRITON_GENERATOR_HPP_
#define AOTBUILD_TRITON_GENERATOR_HPP_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "model.hpp"
#include "triton_api.h"

namespace aotbuild::triton {

class Generator {
 public:
  // `methods`: "prefill,decode", as the parameter of config.pbtxt.
  Generator(Model& model, const std::string& methods);
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  // Takes a request over, which is answered and released by a thread of this object.
  void add(const Model& model, TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request* request,
           const Object& object);

  struct Shared;

 private:
  std::shared_ptr<Shared> shared_;
  std::vector<std::thread> threads_;
};

}  // namespace aotbuild::triton

#endif  // AOTBUILD_TRITON_GENERATOR_HPP_
