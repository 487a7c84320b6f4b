// What a call on the CPU has made becomes its outputs: in the caller's memory, or in that of a result.
#ifndef AOTBUILD_SRC_MODEL_OUTPUTS_HPP_
#define AOTBUILD_SRC_MODEL_OUTPUTS_HPP_

#include <cstddef>

#include "model/call.hpp"

namespace aotbuild::detail {

// Fills one call's outputs. Outputs are changed only at the end, when nothing can fail any more.
class OutputWriter {
 public:
  OutputWriter(const CheckedCall& call, OwnedHandles& handles) : call_(call), handles_(handles) {}

  void write();

 private:
  // A caller's output overlaps a caller's input: results that are views of inputs are copied before anything is
  // written.
  void detach_from_caller();
  void write_to_caller(std::size_t i);
  void allocate(std::size_t i, ResultBuilder* builder);

  const CheckedCall& call_;
  OwnedHandles& handles_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_MODEL_OUTPUTS_HPP_
