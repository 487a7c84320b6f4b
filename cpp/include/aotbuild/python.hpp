// A model as a Python object: arrays in and out without copying. For aotbuild._runner and for the extension modules of
// PYTHON_MODULE. Needs pybind11.
#ifndef AOTBUILD_PYTHON_HPP_
#define AOTBUILD_PYTHON_HPP_

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <string>

#include "aotbuild/c_api.h"
#include "aotbuild/error.hpp"
#include "aotbuild/python/array.hpp"
#include "aotbuild/python/runner.hpp"

// pybind11's types are hidden, so what holds them has to be.
#pragma GCC visibility push(hidden)

namespace aotbuild::python {
inline namespace AOTBUILD_NAMESPACE {

// A dict whose items are attributes too: `outputs.logits` is `outputs["logits"]`.
inline py::object make_outputs_type(const py::module_& module) {
  py::dict members;
  members["__module__"] = module.attr("__name__");
  members["__doc__"] = "Outputs by name, as items and as attributes.";
  members["__slots__"] = py::tuple();
  members["__getattr__"] = py::cpp_function(
      [](const py::object& self, const std::string& name) -> py::object {
        if (!self.contains(name)) throw py::attribute_error("no output is named '" + name + "'");
        return self[name.c_str()];
      },
      py::is_method(py::none()));
  // As transformers' outputs have them.
  members["__missing__"] = py::cpp_function(
      [](const py::object& self, const py::object& key) -> py::object {
        if (!py::isinstance<py::int_>(key)) throw py::key_error(std::string(py::repr(key)));
        return py::list(self.attr("values")())[key];
      },
      py::is_method(py::none()));
  const auto builtins = py::module_::import("builtins");
  return builtins.attr("type")("Outputs", py::make_tuple(builtins.attr("dict")), members);
}

// Adds the exception `Error` (a RuntimeError with `status`) and translates aotbuild::Error to it. `qualified_name` is
// what tracebacks print.
inline void bind_error(py::module_& module, const char* qualified_name) {
  static PyObject* type = nullptr;
  type = PyErr_NewExceptionWithDoc(
      qualified_name, "What a model library refuses; `status` has the name that aotbuild_status of c_api.h has for it.",
      PyExc_RuntimeError, nullptr);
  if (type == nullptr) throw py::error_already_set();
  module.attr("Error") = py::handle(type);
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      static constexpr const char* kNames[] = {
          "OK", "INVALID_ARGUMENT", "INVALID_WEIGHTS", "UNSUPPORTED_HARDWARE", "OUT_OF_MEMORY", "RUNTIME_ERROR"};
      py::object instance = py::handle(type)(error.what());
      const auto status = static_cast<std::size_t>(error.status());
      instance.attr("status") = status < std::size(kNames) ? kNames[status] : "RUNTIME_ERROR";
      PyErr_SetObject(type, instance.ptr());
    }
  });
}

// A method of a model, which it keeps alive.
struct BoundMethod {
  py::object model;      // a Runner
  const Method& method;  // of that model

  // The model's object.
  const Runner& runner() const { return model.cast<const Runner&>(); }
  // Inputs and outputs with their types.
  std::string signature() const { return runner().signature(method); }
};

// Adds what every model object has to the class of `Runner`.
inline void bind_runner(py::class_<Runner>& type) {
  py::class_<DeviceArray>(type, "DeviceArray", py::module_local(), "A result on a CUDA device, for __dlpack__.")
      .def(
          "__dlpack__",
          [](const DeviceArray& self, const py::object& stream, const py::kwargs&) { return self.dlpack(stream); },
          py::arg("stream") = py::none())
      .def("__dlpack_device__", &DeviceArray::dlpack_device)
      .def("__repr__", &DeviceArray::repr)
      .def_property_readonly("shape", &DeviceArray::shape)
      .def_property_readonly("dtype", &DeviceArray::dtype);
  // A method that was looked up keeps its model alive.
  py::class_<BoundMethod>(type, "Method", py::module_local(), "One method of a model.")
      .def("__call__", [](const BoundMethod& self, const py::args& args,
                          const py::kwargs& kwargs) { return self.runner().call_method(self.method, args, kwargs); })
      .def("__repr__", [](const BoundMethod& self) { return "<aotbuild method " + self.signature() + ">"; })
      .def_property_readonly("signature", &BoundMethod::signature);
  type.def("__call__", &Runner::call, "Run the model on NumPy arrays, torch tensors or objects with __dlpack__.")
      .def("__getattr__",
           [](const py::object& self, const std::string& name) {
             const auto& runner = self.cast<const Runner&>();
             const Method* const method = runner.find_method(name);
             if (method == nullptr) {
               const std::string has = runner.methods().empty() ? "" : "; its methods are: " + runner.signature();
               throw py::attribute_error("the model '" + runner.name() + "' has no attribute '" + name + "'" + has);
             }
             return BoundMethod{self, *method};
           })
      .def("new_session", &Runner::new_session, "A model over the same weights with state of its own.")
      .def_property_readonly("methods", &Runner::methods,
                             "The names of a model's methods; empty if it is called itself.")
      .def("__repr__", &Runner::repr)
      .def("load_weights", &Runner::load_weights, py::arg("weights"),
           "Swap the weights: the path of a safetensors file, or a mapping from state_dict names to arrays.")
      .def("manual_seed", &Runner::manual_seed, py::arg("seed"),
           "Have the calls that follow draw random numbers as torch.compile's code does after torch.manual_seed(seed).")
      .def_property_readonly("name", &Runner::name, "The CMake target.")
      .def_property_readonly("statistics", &Runner::statistics, "What a model on a GPU has done so far.")
      .def_property_readonly(
          "signature", [](const Runner& self) { return self.signature(); }, "Inputs and outputs with their types.")
      .def_property_readonly("manifest", &Runner::manifest,
                             "Versions, options and signature that the library was built with.");
}

// Adds the class `name` for the model behind `functions`, which have to outlive the module.
inline void bind_model(py::module_& module, const char* name, const aotbuild_api& functions) {
  const py::object outputs_type = make_outputs_type(module);
  py::class_<Runner> type(module, name, py::module_local());
  type.def(py::init([&functions, outputs_type](const py::object& weights, int num_threads, const py::object& device,
                                               int cuda_graphs, const py::object& outputs) {
             const RunnerOptions options{weights, num_threads, device, cuda_graphs, outputs, py::list()};
             return std::make_unique<Runner>(functions, options, outputs_type);
           }),
           py::kw_only(), py::arg("weights") = py::none(), py::arg("num_threads") = 0, py::arg("device") = py::none(),
           py::arg("cuda_graphs") = 0, py::arg("outputs") = py::none());
  bind_runner(type);
}

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild::python

#pragma GCC visibility pop

#endif  // AOTBUILD_PYTHON_HPP_
