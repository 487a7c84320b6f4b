// One call of a model for one request or several that are joined along the batch.
#ifndef AOTBUILD_TRITON_CALL_HPP_
#define AOTBUILD_TRITON_CALL_HPP_

#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

#include "model.hpp"
#include "request.hpp"

namespace aotbuild::triton {

// Memory that a call's inputs are gathered in, kept from call to call by who makes them.
class Scratch {
 public:
  char* take(std::size_t size);  // valid until reset()
  void reset() { used_ = 0; }

 private:
  struct Free {
    void operator()(void* memory) const;
  };
  struct Block {
    std::unique_ptr<void, Free> memory;
    std::size_t size;
  };
  std::vector<Block> blocks_;
  std::size_t used_ = 0;
};

struct CallTimes {
  std::uint64_t begin_ns;
  std::uint64_t end_ns;
};

// Runs the requests as one call and puts their outputs into their responses. Throws what failed for all of them, before
// the response of any has an output when they are several; `failures` has what failed for one.
CallTimes run_call(Model& model, const std::vector<Request*>& requests, Scratch* scratch,
                   std::vector<std::exception_ptr>* failures);

// Runs one method. The result owns the outputs whose `data` was null.
std::shared_ptr<aotbuild_result> run_tensors(const Model& model, const Object& object, const Method& method,
                                             const std::vector<aotbuild_tensor>& inputs,
                                             std::vector<aotbuild_tensor>* outputs, CallTimes* times);

}  // namespace aotbuild::triton

#endif  // AOTBUILD_TRITON_CALL_HPP_
