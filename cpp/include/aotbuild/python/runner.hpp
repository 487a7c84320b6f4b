// A loaded model as Python calls it.
#ifndef AOTBUILD_PYTHON_RUNNER_HPP_
#define AOTBUILD_PYTHON_RUNNER_HPP_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/c_api.h"
#include "aotbuild/error.hpp"
#include "aotbuild/model.hpp"
#include "aotbuild/python/array.hpp"
#include "aotbuild/python/call.hpp"
#include "aotbuild/python/methods.hpp"

// pybind11's types are hidden, so what holds them has to be.
#pragma GCC visibility push(hidden)

namespace aotbuild::python {
inline namespace AOTBUILD_NAMESPACE {

// A loaded model. Calls release the GIL; any number of threads may call one object at the same time.
class Runner {
 public:
  // `outputs_type` is the class for outputs with names.
  Runner(const aotbuild_api& functions, const RunnerOptions& options, const py::object& outputs_type)
      : info_(checked(functions)),
        manifest_(py::module_::import("json").attr("loads")(info_.manifest)),
        has_methods_(manifest_.contains("methods")),
        methods_(
            std::make_shared<const std::vector<Method>>(methods_of(info_, manifest_, outputs_type, options.classes))),
        outputs_(output_kind(options.outputs)),
        model_(std::make_shared<Model>(make_model(functions, options))) {}

  // An object over the same weights, with state of its own.
  std::unique_ptr<Runner> new_session() const {
    std::unique_ptr<Runner> session(new Runner(*this));
    const py::gil_scoped_release release;
    session->model_ = std::make_shared<Model>(model_->new_session());
    return session;
  }

  py::tuple methods() const {
    py::tuple names(has_methods_ ? info_.method_count : 0);
    for (std::size_t i = 0; i < names.size(); ++i) names[i] = info_.methods[i]->name;
    return names;
  }

  // The method of that name as a callable; null when there is none.
  const Method* find_method(const std::string& name) const {
    for (const Method& method : *methods_) {
      if (has_methods_ && name == method.info.name) return &method;
    }
    return nullptr;
  }

  std::string name() const { return info_.name; }

  py::object manifest() const { return py::module_::import("copy").attr("deepcopy")(manifest_); }

  std::string signature() const {
    std::string text;
    for (const Method& method : *methods_) text += (text.empty() ? "" : "; ") + signature(method);
    return text;
  }

  std::string signature(const Method& method) const {
    const aotbuild_method_info& info = method.info;
    std::vector<std::string> seen;
    std::string text = full_name(method) + "(";
    const std::size_t begin = text.size();
    const auto add = [&](const std::string& part) { text += (text.size() > begin ? ", " : "") + part; };
    for (const Parameter& parameter : method.call.parameters()) {
      const Path path{nullptr, {}, parameter.name.c_str()};
      if (parameter.takes_value && !parameter.is_optional) add_inputs(info, parameter.value, path, seen, add);
    }
    text += ") -> ";
    const Kind kind = method.call.result().kind;
    if (kind == Kind::kTensor || kind == Kind::kNumber) return text + tensor_text(*info.outputs[0], seen);
    text += "(";
    for (std::size_t i = 0; i < info.output_count; ++i) {
      text += (i > 0 ? ", " : "") + std::string(info.outputs[i]->name) + ": " + tensor_text(*info.outputs[i], seen);
    }
    return text + ")";
  }

  std::string repr() const { return "<aotbuild model " + signature() + ">"; }

  // A path of a safetensors file, or a mapping from state_dict names to arrays.
  void load_weights(const py::object& weights) {
    if (is_path(weights)) {
      const std::string path = path_of(weights);
      const py::gil_scoped_release release;
      model_->load_weights(path);
    } else {
      const NamedTensors tensors = borrow_weights(weights);
      const py::gil_scoped_release release;
      model_->set_weights(tensors);
    }
  }

  void manual_seed(std::uint64_t seed) { model_->manual_seed(seed); }

  py::dict statistics() const {
    const aotbuild_statistics values = model_->statistics();
    py::dict result;
    result["calls"] = values.calls;
    result["graph_captures"] = values.graph_captures;
    result["graph_replays"] = values.graph_replays;
    result["driver_allocations"] = values.driver_allocations;
    result["device_bytes"] = values.device_bytes;
    result["graph_obstacle"] = values.graph_obstacle;
    return result;
  }

  py::object call(const py::args& args, const py::kwargs& kwargs) const {
    if (has_methods_) {
      throw py::type_error(name() + " is called through its methods: " + signature());
    }
    return call_method((*methods_)[0], args, kwargs);
  }

  py::object call_method(const Method& method, const py::args& args, const py::kwargs& kwargs) const {
    const aotbuild_method_info& info = method.info;
    std::vector<py::object> leaves(info.input_count);
    bind(method, args, kwargs, leaves);
    // What comes on the device is answered there, in the kind of the first tensor that is.
    const auto on_device = std::find_if(leaves.begin(), leaves.end(),
                                        [&](const py::object& leaf) { return is_for_cuda() && is_on_cuda(leaf); });
    void* const stream = on_device != leaves.end() ? current_stream(*on_device) : nullptr;
    const bool torch =
        outputs_ == OutputKind::kLikeInputs
            ? (on_device != leaves.end() ? is_torch_tensor(*on_device) : !leaves.empty() && is_torch_tensor(leaves[0]))
            : outputs_ == OutputKind::kTorch;

    std::vector<Array> arrays;
    arrays.reserve(leaves.size());
    std::vector<aotbuild_tensor> inputs;
    inputs.reserve(leaves.size());
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      arrays.push_back(input(method, leaves[i], *info.inputs[i], stream));
      inputs.push_back(arrays.back().c_tensor());
    }
    std::vector<aotbuild_tensor> outputs(info.output_count);
    for (aotbuild_tensor& output : outputs) output.device.type = stream != nullptr ? AOTBUILD_CUDA : AOTBUILD_CPU;
    detail::Shared owner;
    {
      const py::gil_scoped_release release;
      owner =
          model_->run_allocating(inputs.data(), inputs.size(), outputs.data(), outputs.size(), stream, method.index);
    }
    std::vector<py::object> results;
    results.reserve(outputs.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const py::object& number = method.number_types[i];
      if (number && outputs[i].device.type == AOTBUILD_CPU) {
        results.push_back(to_number(outputs[i], number));
      } else if (torch) {
        results.push_back(py::module_::import("torch.utils.dlpack").attr("from_dlpack")(to_capsule(outputs[i], owner)));
        if (number) results.back() = results.back().attr("item")();
      } else if (stream != nullptr) {
        results.push_back(
            py::cast(DeviceArray{outputs[i], owner, stream, [model = model_, stream] { model->synchronize(stream); }}));
      } else {
        results.push_back(to_numpy(outputs[i], owner, info.outputs[i]->name));
      }
    }
    return assemble(method.call.result(), results);
  }

 private:
  Runner(const Runner&) = default;

  static const aotbuild_model_info& checked(const aotbuild_api& functions) {
    detail::throw_unless_ok(detail::check_abi(functions));
    return *functions.describe();
  }

  static std::vector<Method> methods_of(const aotbuild_model_info& info, const py::dict& manifest,
                                        const py::object& outputs_type, const py::list& classes) {
    TreeReader reader(outputs_type, classes);
    std::vector<Method> methods;
    const auto add = [&](const aotbuild_method_info& method, std::size_t index, const py::object& json) {
      methods.push_back({method, index, Call(py::dict(json["call"]), reader), {}});
      methods.back().number_types.resize(method.output_count);
      find_numbers(methods.back().call.result(), methods.back().number_types);
    };
    for (std::size_t i = 0; i < info.method_count; ++i) {
      const py::object json =
          manifest.contains("methods") ? py::object(py::list(manifest["methods"])[i]) : py::object(manifest);
      add(*info.methods[i], i, json);
    }
    return methods;
  }

  // Adds the tensors of a node, and constants that have to be passed, as the signature shows them.
  template <typename Add>
  static void add_inputs(const aotbuild_method_info& info, const Node& node, const Path& path,
                         std::vector<std::string>& seen, const Add& add) {
    if (node.kind == Kind::kTensor) {
      add(std::string(info.inputs[node.index]->name) + ": " + tensor_text(*info.inputs[node.index], seen));
    } else if (node.kind == Kind::kConstant) {
      add(path.text() + "=" + shown(node.value));
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const py::int_ position(i);
      const py::handle key = node.keys.empty() ? py::handle(position) : py::handle(node.keys[i]);
      add_inputs(info, node.items[i], {&path, key}, seen, add);
    }
  }

  std::string full_name(const Method& method) const { return has_methods_ ? name() + "." + method.info.name : name(); }

  bool is_for_cuda() const {
    const aotbuild_method_info& info = *info_.methods[0];
    return info.output_count > 0 && info.outputs[0]->device.type == AOTBUILD_CUDA;
  }

  Model make_model(const aotbuild_api& functions, const RunnerOptions& given) {
    Options options;
    options.num_threads = given.num_threads;
    if (!given.device.is_none()) options.device = {AOTBUILD_CUDA, given.device.cast<int>()};
    options.cuda_graphs = given.cuda_graphs;
    if (is_path(given.weights)) {
      options.weights_file = path_of(given.weights);
    } else if (!given.weights.is_none()) {
      options.weights = borrow_weights(given.weights);
    }
    const py::gil_scoped_release release;
    return Model(functions, options);
  }

  static bool is_path(const py::object& object) {
    return py::isinstance<py::str>(object) || py::hasattr(object, "__fspath__");
  }

  static std::string path_of(const py::object& object) {
    return py::str(py::module_::import("os").attr("fspath")(object));
  }

  // Views of the arrays, which this object keeps alive for as long as calls may use them.
  NamedTensors borrow_weights(const py::object& weights) {
    if (!py::hasattr(weights, "items")) {
      throw py::type_error("weights: expected the path of a safetensors file or a mapping from names to arrays, got " +
                           type_name(weights));
    }
    std::map<std::string, AnyTensorView> result;
    for (const py::handle item : weights.attr("items")()) {
      const auto pair = py::cast<std::pair<std::string, py::object>>(item);
      const Array array = to_array(pair.second, "weight '" + pair.first + "'");
      result.insert_or_assign(pair.first, AnyTensorView(array.data, array.dtype, array.sizes.size(), array.sizes.data(),
                                                        array.strides.data(), array.device));
      weights_.push_back(array.owner);
    }
    return result;
  }

  // The tensors of a Python call's arguments, which are checked as Python checks its own calls.
  void bind(const Method& method, const py::args& args, const py::kwargs& kwargs,
            std::vector<py::object>& leaves) const {
    const auto call_error = [&](const std::string& problem) {
      return py::type_error(full_name(method) + "() " + problem + ": " + signature(method));
    };
    try {
      method.call.bind(args, kwargs, leaves);
    } catch (const WrongCall& error) {
      throw call_error(error.problem);
    } catch (const MissingInput& error) {
      throw call_error("misses the input '" + error.path + "'");
    } catch (const WrongInput& error) {
      throw py::type_error(full_name(method) + ": input '" + error.path + "' " + error.problem);
    }
  }

  Array input(const Method& method, const py::object& value, const aotbuild_tensor_info& info, void* stream) const {
    const std::string what = full_name(method) + ": input '" + info.name + "'";
    const bool number = py::isinstance<py::float_>(value) || PyLong_Check(value.ptr()) != 0;
    if (info.is_written != 0) {
      const bool is_constant = py::isinstance<py::array>(value) && !value.cast<py::array>().writeable();
      if (number || is_constant) throw py::type_error(what + " is written to; pass an array that can be");
      if (has_lazy_signs(value)) {
        throw py::type_error(what + " is written to, and is a view with other signs than its memory; pass " +
                             "tensor.resolve_conj().resolve_neg()");
      }
    }
    if (info.ndim == 0 && number) {
      return from_numpy(py::module_::import("numpy").attr("asarray")(value, to_numpy_dtype(info.dtype, what)), what);
    }
    return to_array(value, what, stream);
  }

  const aotbuild_model_info& info_;
  py::dict manifest_;
  bool has_methods_;
  std::shared_ptr<const std::vector<Method>> methods_;
  OutputKind outputs_;
  std::vector<py::object> weights_;
  std::shared_ptr<Model> model_;  // also of results on a device
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild::python

#pragma GCC visibility pop

#endif  // AOTBUILD_PYTHON_RUNNER_HPP_
