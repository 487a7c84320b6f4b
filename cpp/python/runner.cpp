// aotbuild._runner: loads a model that was built as a shared library.
#include <dlfcn.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/python.hpp"

namespace {

namespace py = pybind11;

// The path by which dlopen loads the file that is there now. It knows a library by its path, and would give the one
// that was there before a rebuild; what is loaded keeps its inode, so another file has another one.
std::string name_of_file(const std::string& path) {
  static std::map<std::string, std::vector<std::pair<dev_t, ino_t>>> loaded;  // the GIL is held
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return path;
  std::vector<std::pair<dev_t, ino_t>>& files = loaded[path];
  const std::pair<dev_t, ino_t> file(status.st_dev, status.st_ino);
  const auto found = std::find(files.begin(), files.end(), file);
  const auto before = static_cast<std::size_t>(found - files.begin());
  if (found == files.end()) files.push_back(file);
  std::string name = path;
  for (std::size_t i = 0; i < before; ++i) name.insert(name.rfind('/') + 1, "./");
  return name;
}

// The library stays loaded for ever: results point to its functions, and OpenMP's threads to its code.
const aotbuild_api& load_library(const std::string& path) {
  void* const library = dlopen(name_of_file(path).c_str(), RTLD_NOW | RTLD_LOCAL);
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
  const aotbuild::Status fits = aotbuild::detail::check_abi(*functions);
  if (!fits) throw aotbuild::Error(fits.code(), path + ": " + fits.message().c_str());
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
