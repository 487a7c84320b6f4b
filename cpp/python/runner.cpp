// aotbuild._runner: loads a model that was built as a shared library.
#include <dlfcn.h>

#include <memory>
#include <string>

#include "aotbuild/python.hpp"

namespace {

namespace py = pybind11;

// The library stays loaded for ever: results point to its functions, and OpenMP's threads to its code.
const aotbuild_api& load_library(const std::string& path) {
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw aotbuild::Error(AOTBUILD_INVALID_ARGUMENT, std::string("cannot load the library: ") + dlerror());
  }
  const auto* const functions = static_cast<const aotbuild_api*>(dlsym(library, "aotbuild_model_api"));
  if (functions == nullptr) {
    throw aotbuild::Error(AOTBUILD_INVALID_ARGUMENT,
                          path +
                              " is no shared model library: it does not export aotbuild_model_api. Build the model "
                              "with add_aot_model(<target> SHARED ...)");
  }
  if (functions->abi_version != AOTBUILD_ABI_VERSION) {
    throw aotbuild::Error(AOTBUILD_INVALID_ARGUMENT, path + " has version " + std::to_string(functions->abi_version) +
                                                         " of aotbuild's binary interface, this runner has version " +
                                                         std::to_string(AOTBUILD_ABI_VERSION) +
                                                         ". Rebuild the library with this aotbuild");
  }
  return *functions;
}

}  // namespace

PYBIND11_MODULE(_runner, module) {
  module.doc() = "Loads models that were built as shared libraries.";
  aotbuild::python::bind_error(module, "aotbuild.Error");
  const py::object outputs_type = aotbuild::python::make_outputs_type(module);
  py::class_<aotbuild::python::Runner> type(module, "Runner", py::module_local());
  type.def(py::init([outputs_type](const std::string& path, const py::object& weights, int num_threads,
                                   const py::object& device, int cuda_graphs, const py::object& outputs,
                                   const py::list& classes) {
             const aotbuild_api& functions = load_library(path);
             const aotbuild::python::RunnerOptions options{weights, num_threads, device, cuda_graphs, outputs, classes};
             return std::make_unique<aotbuild::python::Runner>(functions, options, outputs_type);
           }),
           py::arg("path"), py::kw_only(), py::arg("weights") = py::none(), py::arg("num_threads") = 0,
           py::arg("device") = py::none(), py::arg("cuda_graphs") = 0, py::arg("outputs") = py::none(),
           py::arg("classes") = py::list());
  aotbuild::python::bind_runner(type);
}
