// The methods of a model for Python, and how their signatures look.
#ifndef AOTBUILD_PYTHON_METHODS_HPP_
#define AOTBUILD_PYTHON_METHODS_HPP_

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "aotbuild/c_api.h"
#include "aotbuild/dtype.hpp"
#include "aotbuild/python/call.hpp"
#include "aotbuild/python/tree.hpp"

// pybind11's types are hidden, so what holds them has to be.
#pragma GCC visibility push(hidden)

namespace aotbuild::python {
inline namespace AOTBUILD_NAMESPACE {

namespace py = pybind11;

inline std::string dim_text(const aotbuild_dim_info& dim) {
  if (dim.symbol == nullptr) return std::to_string(dim.min);
  std::string text = dim.symbol;
  if (dim.multiplier != 1) text = std::to_string(dim.multiplier) + "*" + text;
  if (dim.offset != 0) text += (dim.offset > 0 ? "+" : "") + std::to_string(dim.offset);
  return text;
}

// "float32[batch=1..64, 384]": the range of a symbol where it is first seen.
inline std::string tensor_text(const aotbuild_tensor_info& tensor, std::vector<std::string>& seen) {
  std::string text = std::string(dtype_name(tensor.dtype)) + "[";
  for (std::int32_t i = 0; i < tensor.ndim; ++i) {
    const aotbuild_dim_info& dim = *tensor.dims[i];
    const std::string name = dim_text(dim);
    text += (i > 0 ? ", " : "") + name;
    if (dim.symbol != nullptr && std::find(seen.begin(), seen.end(), name) == seen.end()) {
      seen.push_back(name);
      text += "=" + std::to_string(dim.min) + ".." + std::to_string(dim.max);
    }
  }
  return text + "]";
}

// One method of a model, or what a model without methods does when it is called.
struct Method {
  const aotbuild_method_info& info;
  std::size_t index;
  Call call;
  std::vector<py::object> number_types;  // of the outputs that are numbers in Python
};

// The types of the numbers among what a node holds, by their indices.
inline void find_numbers(const Node& node, std::vector<py::object>& types) {
  if (node.kind == Kind::kNumber) types[node.index] = node.value;
  for (const Node& item : node.items) find_numbers(item, types);
}

// What results are: the kind of array that the first input is, NumPy's without inputs; or one kind whatever comes in.
enum class OutputKind { kLikeInputs, kNumpy, kTorch };

inline OutputKind output_kind(const py::object& name) {
  if (name.is_none()) return OutputKind::kLikeInputs;
  const std::string text = py::str(name);
  if (text != "numpy" && text != "torch") {
    throw py::value_error("outputs: " + std::string(py::repr(name)) + " is neither 'numpy', 'torch' nor None");
  }
  return text == "numpy" ? OutputKind::kNumpy : OutputKind::kTorch;
}

// How a model is made, as keywords of aotbuild.load.
struct RunnerOptions {
  py::object weights;
  int num_threads = 0;
  py::object device;
  int cuda_graphs = 0;
  py::object outputs;
  py::list classes;  // as TreeReader takes them
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild::python

#pragma GCC visibility pop

#endif  // AOTBUILD_PYTHON_METHODS_HPP_
