// The checks that every call makes on its inputs and outputs.
#ifndef AOTBUILD_SRC_TENSOR_SIGNATURE_HPP_
#define AOTBUILD_SRC_TENSOR_SIGNATURE_HPP_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "aotbuild/c_api.h"
#include "aotbuild/detail/spec.h"
#include "tensor/dtype.hpp"

namespace aotbuild::detail {

// What is known of the symbols of dynamic dimensions while the tensors of one call are checked.
struct SymbolValues {
  static constexpr std::size_t kMaxSymbols = 64;
  std::array<std::int64_t, kMaxSymbols> values;  // -1: not known yet
};

// One input or output, with symbols as numbers.
class TensorChecker {
 public:
  // `device`: the model's.
  TensorChecker(const char* model, const char* kind, const aotbuild_tensor_info& info, aotbuild_device device,
                std::vector<std::string>* symbols);

  ScalarType dtype() const { return dtype_; }
  const aotbuild_tensor_info& info() const { return *info_; }

  // Throws Error(AOTBUILD_INVALID_ARGUMENT), or sets the values of symbols that were unknown.
  void check(const aotbuild_tensor& tensor, SymbolValues* symbols) const;

 private:
  struct Dim {
    std::int64_t min;
    std::int64_t max;
    std::int64_t multiplier;
    std::int64_t offset;
    int symbol;  // -1: static, or an expression that cannot be checked before the run
  };

  template <typename... Args>
  [[noreturn]] void bad(const Args&... args) const;
  [[noreturn]] void bad_device(aotbuild_device device) const;
  [[noreturn]] void bad_size(std::int32_t d, std::int64_t size) const;
  [[noreturn]] void bad_symbol(std::int32_t d, std::int64_t size, std::int64_t value) const;
  void check_strides(const aotbuild_tensor& tensor) const;

  const char* model_;
  const char* kind_;
  const aotbuild_tensor_info* info_;
  aotbuild_device device_;
  ScalarType dtype_;
  std::uintptr_t alignment_mask_;
  std::vector<Dim> dims_;
};

class Signature {
 public:
  // `device`: where the model runs. Tensors of a model for a GPU may lie there or on the CPU.
  // `name` begins the messages; it is kept by reference.
  Signature(const char* name, const aotbuild_method_info& info, aotbuild_device device);

  std::vector<TensorChecker> inputs;
  std::vector<TensorChecker> outputs;
  // Nothing is known.
  void reset(SymbolValues* symbols) const;
  // Whether the sizes of the inputs, which were checked one by one, fit together: what `broken_condition` of the
  // variant says of them. Throws Error(AOTBUILD_INVALID_ARGUMENT).
  void check_conditions(const VariantSpec& variant, const aotbuild_tensor* given, const SymbolValues& symbols) const;

 private:
  const char* name_;
  std::size_t symbol_count_;
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_TENSOR_SIGNATURE_HPP_
