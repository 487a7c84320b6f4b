// A model as a Python object: arrays in and out without copying. For aotbuild._runner and for the extension modules of
// PYTHON_MODULE. Needs pybind11.
#ifndef AOTBUILD_PYTHON_HPP_
#define AOTBUILD_PYTHON_HPP_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/c_api.h"
#include "aotbuild/error.hpp"
#include "aotbuild/model.hpp"
#include "aotbuild/tensor.hpp"

// pybind11's types are hidden, so what holds them has to be.
#pragma GCC visibility push(hidden)

namespace aotbuild::python {

namespace py = pybind11;

// DLPack's DLManagedTensor, https://dmlc.github.io/dlpack/latest/c_api.html. aotbuild_tensor has DLTensor's layout.
struct ManagedTensor {
  aotbuild_tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};

// A tensor of a Python object, which `owner` keeps alive.
struct Array {
  py::object owner;
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> strides;
  void* data = nullptr;
  aotbuild_dtype dtype{};
  aotbuild_device device = kCpuDevice;

  // Points into this object.
  aotbuild_tensor c_tensor() {
    aotbuild_tensor tensor{};
    tensor.data = data;
    tensor.device = device;
    tensor.ndim = static_cast<std::int32_t>(sizes.size());
    tensor.dtype = dtype;
    tensor.shape = sizes.data();
    tensor.strides = strides.data();
    return tensor;
  }
};

inline std::string type_name(py::handle object) { return py::str(py::type::handle_of(object).attr("__name__")); }

inline bool is_torch_tensor(py::handle object) {
  // Without importing torch: if nobody has, this is none.
  const py::dict modules = py::module_::import("sys").attr("modules");
  return modules.contains("torch") && py::isinstance(object, modules["torch"].attr("Tensor"));
}

inline aotbuild_dtype from_numpy_dtype(const py::dtype& dtype, const std::string& what) {
  const auto bits = static_cast<std::uint8_t>(dtype.itemsize() * 8);
  if (dtype.byteorder() == '>') {
    throw py::type_error(what + " is big-endian; pass array.astype(array.dtype.newbyteorder('='))");
  }
  switch (dtype.kind()) {
    case 'b':
      return {AOTBUILD_BOOL, 8, 1};
    case 'i':
      return {AOTBUILD_INT, bits, 1};
    case 'u':
      return {AOTBUILD_UINT, bits, 1};
    case 'f':
      return {AOTBUILD_FLOAT, bits, 1};
    case 'c':
      return {AOTBUILD_COMPLEX, bits, 1};
    default:
      break;
  }
  const std::string name = py::str(dtype.attr("name"));
  if (name == "bfloat16") return {AOTBUILD_BFLOAT, 16, 1};  // of the package ml_dtypes
  throw py::type_error(what + " has the NumPy dtype " + name + ", which no model takes");
}

inline py::dtype to_numpy_dtype(aotbuild_dtype dtype, const std::string& what) {
  if (dtype == dtype_v<complex32>) {
    throw py::type_error(what + " is complex32, which NumPy does not have: pass torch tensors to get torch tensors");
  }
  if (dtype.code != AOTBUILD_BFLOAT) return py::dtype(dtype_name(dtype));
  try {
    return py::dtype::from_args(py::module_::import("ml_dtypes").attr("bfloat16"));
  } catch (py::error_already_set&) {
    throw py::type_error(what + " is bfloat16, which NumPy has only with the package ml_dtypes: install it, or pass " +
                         "torch tensors to get torch tensors");
  }
}

inline Array from_numpy(const py::array& array, const std::string& what) {
  Array result;
  result.owner = array;
  result.dtype = from_numpy_dtype(array.dtype(), what);
  result.data = const_cast<void*>(array.data());
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    result.sizes.push_back(array.shape(i));
    if (array.shape(i) > 1 && array.strides(i) % array.itemsize() != 0) {
      throw py::type_error(what +
                           " has strides that are no whole number of elements; pass numpy.ascontiguousarray(...)");
    }
    result.strides.push_back(array.strides(i) / array.itemsize());
  }
  return result;
}

// Whether an object is a tensor on a CUDA device.
inline bool is_on_cuda(py::handle object) {
  if (!py::hasattr(object, "__dlpack_device__")) return false;
  const auto device = py::tuple(object.attr("__dlpack_device__")());
  return py::int_(device[0]).cast<int>() == AOTBUILD_CUDA;
}

// As DLPack numbers streams: 1 is the legacy default stream, which frameworks call 0.
inline void* stream_of(std::uintptr_t handle) { return reinterpret_cast<void*>(handle == 0 ? 1 : handle); }

// The stream on which what a tensor on a CUDA device holds is to be used: PyTorch's current one, else the legacy
// default stream.
inline void* current_stream(py::handle tensor) {
  if (!is_torch_tensor(tensor)) return stream_of(0);
  const py::object stream = py::module_::import("torch").attr("cuda").attr("current_stream")(tensor.attr("device"));
  return stream_of(stream.attr("cuda_stream").cast<std::uintptr_t>());
}

// `stream`: where a tensor on a CUDA device will be read; its owner makes that wait for what it has queued elsewhere.
inline Array from_dlpack_object(py::object object, void* stream) {
  // A tensor that requires gradients refuses to be exported.
  if (is_torch_tensor(object)) object = object.attr("detach")();
  Array result;
  // The capsule owns the tensor, because nobody renames it.
  if (stream != nullptr && is_on_cuda(object)) {
    result.owner = object.attr("__dlpack__")(py::arg("stream") = reinterpret_cast<std::uintptr_t>(stream));
  } else {
    result.owner = object.attr("__dlpack__")();
  }
  const auto capsule = py::reinterpret_borrow<py::capsule>(result.owner);
  const aotbuild_tensor& tensor = capsule.get_pointer<ManagedTensor>()->tensor;
  result.data = static_cast<unsigned char*>(tensor.data) + tensor.byte_offset;
  result.dtype = tensor.dtype;
  result.device = tensor.device;
  result.sizes.assign(tensor.shape, tensor.shape + tensor.ndim);
  result.strides.resize(result.sizes.size());
  std::int64_t contiguous = 1;
  for (std::size_t i = result.sizes.size(); i-- > 0;) {
    result.strides[i] = tensor.strides != nullptr ? tensor.strides[i] : contiguous;
    contiguous *= result.sizes[i];
  }
  return result;
}

// The tensor of a NumPy array, torch tensor or other object with `__dlpack__`. `what` names it in errors.
inline Array to_array(const py::object& object, const std::string& what, void* stream = nullptr) {
  if (py::isinstance<py::array>(object)) return from_numpy(py::reinterpret_borrow<py::array>(object), what);
  if (py::hasattr(object, "__dlpack__")) return from_dlpack_object(object, stream);
  throw py::type_error(what + " is of type " + type_name(object) +
                       "; pass a NumPy array, a torch tensor or an object with __dlpack__");
}

// The names of a signature: "a.b" and "a.c" are the children of one node "a".
struct Node {
  std::string name;
  std::size_t index = 0;  // of the tensor, if there are no children
  std::vector<Node> children;
};

inline Node tree_of(const aotbuild_tensor_info* tensors, std::size_t count) {
  Node root;
  for (std::size_t i = 0; i < count; ++i) {
    Node* node = &root;
    const std::string path = tensors[i].name;
    for (std::size_t begin = 0; begin <= path.size();) {
      const std::size_t end = std::min(path.find('.', begin), path.size());
      const std::string name = path.substr(begin, end - begin);
      const auto found = std::find_if(node->children.begin(), node->children.end(),
                                      [&](const Node& child) { return child.name == name; });
      if (found != node->children.end()) {
        node = &*found;
      } else {
        node->children.push_back({name, i, {}});
        node = &node->children.back();
      }
      begin = end + 1;
    }
  }
  return root;
}

inline std::string dim_text(const aotbuild_dim_info& dim) {
  if (dim.symbol == nullptr) return std::to_string(dim.min);
  std::string text = dim.symbol;
  if (dim.multiplier != 1) text = std::to_string(dim.multiplier) + "*" + text;
  if (dim.offset != 0) text += (dim.offset > 0 ? "+" : "") + std::to_string(dim.offset);
  return text;
}

// "float32[batch=1..64, 384]": the range of a symbol where it is first seen.
inline std::string tensor_text(const aotbuild_tensor_info& tensor, std::vector<std::string>& seen) {
  std::string text = dtype_name(tensor.dtype) + "[";
  for (std::int32_t i = 0; i < tensor.ndim; ++i) {
    const aotbuild_dim_info& dim = tensor.dims[i];
    const std::string name = dim_text(dim);
    text += (i > 0 ? ", " : "") + name;
    if (dim.symbol != nullptr && std::find(seen.begin(), seen.end(), name) == seen.end()) {
      seen.push_back(name);
      text += "=" + std::to_string(dim.min) + ".." + std::to_string(dim.max);
    }
  }
  return text + "]";
}

// How the outputs look in Python, as the model returned them: the tensor itself, a tuple, or names.
enum class Returns { kTensor, kTuple, kNames };

inline Returns returns_of(const Node& outputs) {
  const auto& children = outputs.children;
  if (children.size() == 1 && children[0].name == "output" && children[0].children.empty()) return Returns::kTensor;
  for (std::size_t i = 0; i < children.size(); ++i) {
    if (children[i].name != "output_" + std::to_string(i) || !children[i].children.empty()) return Returns::kNames;
  }
  return Returns::kTuple;
}

// A capsule as `__dlpack__` returns it. `owner` keeps the tensor's memory, sizes and strides alive.
inline py::object to_capsule(const aotbuild_tensor& tensor, std::shared_ptr<void> owner) {
  struct Export {
    ManagedTensor managed;
    std::shared_ptr<void> owner;
  };
  auto exported = std::make_unique<Export>();
  exported->owner = std::move(owner);
  exported->managed.tensor = tensor;
  exported->managed.context = exported.get();
  exported->managed.deleter = [](ManagedTensor* self) { delete static_cast<Export*>(self->context); };
  // A consumer renames the capsule and takes the deleter over; until then the capsule has it.
  const auto capsule =
      py::reinterpret_steal<py::object>(PyCapsule_New(&exported->managed, "dltensor", [](PyObject* object) {
        if (PyCapsule_IsValid(object, "dltensor") == 0) return;
        auto* const managed = static_cast<ManagedTensor*>(PyCapsule_GetPointer(object, "dltensor"));
        managed->deleter(managed);
      }));
  if (!capsule) throw py::error_already_set();
  static_cast<void>(exported.release());
  return capsule;
}

// A result on a CUDA device for whoever takes DLPack: made on `stream`, for which `wait` waits.
struct DeviceArray {
  aotbuild_tensor tensor;
  std::shared_ptr<void> owner;
  void* stream;
  std::function<void()> wait;

  py::tuple shape() const {
    py::tuple sizes(static_cast<std::size_t>(tensor.ndim));
    for (std::int32_t i = 0; i < tensor.ndim; ++i) sizes[static_cast<std::size_t>(i)] = tensor.shape[i];
    return sizes;
  }
  std::string dtype() const { return dtype_name(tensor.dtype); }
  py::tuple dlpack_device() const { return py::make_tuple(tensor.device.type, tensor.device.index); }

  // DLPack's streams: None is the legacy default one, -1 asks for no waiting.
  py::object dlpack(const py::object& consumer) const {
    const auto number = consumer.is_none() ? std::intptr_t{1} : consumer.cast<std::intptr_t>();
    if (number != -1 && number != reinterpret_cast<std::intptr_t>(stream)) {
      const py::gil_scoped_release release;
      wait();
    }
    return to_capsule(tensor, owner);
  }

  std::string repr() const {
    return "<" + dtype() + " tensor of shape " + std::string(py::str(shape())) + " on CUDA device " +
           std::to_string(tensor.device.index) + ">";
  }
};

// One method of a model, or what a model without methods does when it is called.
struct Method {
  Method(const aotbuild_method_info& method_info, std::size_t method_index)
      : info(method_info),
        index(method_index),
        inputs(tree_of(info.inputs, info.input_count)),
        outputs(tree_of(info.outputs, info.output_count)),
        returns(returns_of(outputs)) {}

  aotbuild_method_info info;
  std::size_t index;  // Model::kNoMethod: the model has no methods
  Node inputs;
  Node outputs;
  Returns returns;
};

// A loaded model. Calls release the GIL; any number of threads may call one object at the same time.
class Runner {
 public:
  // `outputs_type` is the class for outputs with names.
  Runner(const aotbuild_api& functions, const py::object& weights, int num_threads, const py::object& device,
         int cuda_graphs, py::object outputs_type)
      : info_(*functions.describe()),
        methods_(std::make_shared<const std::vector<Method>>(methods_of(info_))),
        outputs_type_(std::move(outputs_type)),
        model_(std::make_shared<Model>(make_model(functions, weights, num_threads, device, cuda_graphs))) {}

  // An object over the same weights, with state of its own.
  std::unique_ptr<Runner> new_session() const {
    std::unique_ptr<Runner> session(new Runner(*this));
    const py::gil_scoped_release release;
    session->model_ = std::make_shared<Model>(model_->new_session());
    return session;
  }

  py::tuple methods() const {
    py::tuple names(info_.method_count);
    for (std::size_t i = 0; i < info_.method_count; ++i) names[i] = info_.methods[i].name;
    return names;
  }

  // The method of that name as a callable; null when there is none.
  const Method* find_method(const std::string& name) const {
    for (const Method& method : *methods_) {
      if (method.index != Model::kNoMethod && name == method.info.name) return &method;
    }
    return nullptr;
  }

  std::string name() const { return info_.name; }

  py::object manifest() const { return py::module_::import("json").attr("loads")(info_.manifest); }

  std::string signature() const {
    std::string text;
    for (const Method& method : *methods_) text += (text.empty() ? "" : "; ") + signature(method);
    return text;
  }

  std::string signature(const Method& method) const {
    const aotbuild_method_info& info = method.info;
    std::vector<std::string> seen;
    std::string text = full_name(method) + "(";
    for (std::size_t i = 0; i < info.input_count; ++i) {
      text += (i > 0 ? ", " : "") + std::string(info.inputs[i].name) + ": " + tensor_text(info.inputs[i], seen);
    }
    text += ") -> ";
    if (method.returns == Returns::kTensor) return text + tensor_text(info.outputs[0], seen);
    text += "(";
    for (std::size_t i = 0; i < info.output_count; ++i) {
      text += (i > 0 ? ", " : "") + std::string(info.outputs[i].name) + ": " + tensor_text(info.outputs[i], seen);
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
      const std::map<std::string, AnyTensorView> tensors = borrow_weights(weights);
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
    if (info_.method_count > 0) {
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
        on_device != leaves.end() ? is_torch_tensor(*on_device) : !leaves.empty() && is_torch_tensor(leaves[0]);

    std::vector<Array> arrays;
    arrays.reserve(leaves.size());
    std::vector<aotbuild_tensor> inputs;
    inputs.reserve(leaves.size());
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      arrays.push_back(input(method, leaves[i], info.inputs[i], stream));
      inputs.push_back(arrays.back().c_tensor());
    }
    std::vector<aotbuild_tensor> outputs(info.output_count);
    for (aotbuild_tensor& output : outputs) output.device.type = stream != nullptr ? AOTBUILD_CUDA : AOTBUILD_CPU;
    std::shared_ptr<void> owner;
    {
      const py::gil_scoped_release release;
      owner =
          model_->run_allocating(inputs.data(), inputs.size(), outputs.data(), outputs.size(), stream, method.index);
    }
    std::vector<py::object> results;
    results.reserve(outputs.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (torch) {
        results.push_back(py::module_::import("torch.utils.dlpack").attr("from_dlpack")(to_capsule(outputs[i], owner)));
      } else if (stream != nullptr) {
        results.push_back(
            py::cast(DeviceArray{outputs[i], owner, stream, [model = model_, stream] { model->synchronize(stream); }}));
      } else {
        results.push_back(to_numpy(outputs[i], owner, info.outputs[i].name));
      }
    }
    switch (method.returns) {
      case Returns::kTensor:
        return results[0];
      case Returns::kTuple: {
        py::tuple tuple(results.size());
        for (std::size_t i = 0; i < results.size(); ++i) tuple[i] = results[i];
        return tuple;
      }
      default:
        return assemble(method.outputs, results);
    }
  }

 private:
  Runner(const Runner&) = default;

  static std::vector<Method> methods_of(const aotbuild_model_info& info) {
    std::vector<Method> methods;
    for (std::size_t i = 0; i < info.method_count; ++i) methods.emplace_back(info.methods[i], i);
    if (info.method_count == 0) {
      const aotbuild_method_info run = {"run", info.input_count, info.inputs, info.output_count, info.outputs};
      methods.emplace_back(run, Model::kNoMethod);
    }
    return methods;
  }

  std::string full_name(const Method& method) const {
    return method.index == Model::kNoMethod ? name() : name() + "." + method.info.name;
  }

  bool is_for_cuda() const { return info_.output_count > 0 && info_.outputs[0].device.type == AOTBUILD_CUDA; }

  Model make_model(const aotbuild_api& functions, const py::object& weights, int num_threads, const py::object& device,
                   int cuda_graphs) {
    Options options;
    options.num_threads = num_threads;
    if (!device.is_none()) options.device = {AOTBUILD_CUDA, device.cast<int>()};
    options.cuda_graphs = cuda_graphs;
    if (is_path(weights)) {
      options.weights_file = path_of(weights);
    } else if (!weights.is_none()) {
      options.weights = borrow_weights(weights);
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
  std::map<std::string, AnyTensorView> borrow_weights(const py::object& weights) {
    if (!py::hasattr(weights, "items")) {
      throw py::type_error("weights: expected the path of a safetensors file or a mapping from names to arrays, got " +
                           type_name(weights));
    }
    std::map<std::string, AnyTensorView> result;
    for (const py::handle item : weights.attr("items")()) {
      const auto pair = py::cast<std::pair<std::string, py::object>>(item);
      const Array array = to_array(pair.second, "weight '" + pair.first + "'");
      result.insert_or_assign(pair.first,
                              AnyTensorView(array.data, array.dtype, array.sizes, array.strides, array.device));
      weights_.push_back(array.owner);
    }
    return result;
  }

  // The Python call's arguments by the tensors that they stand for, checked as Python checks its own calls.
  void bind(const Method& method, const py::args& args, const py::kwargs& kwargs,
            std::vector<py::object>& leaves) const {
    const std::vector<Node>& parameters = method.inputs.children;
    const auto call_error = [&](const std::string& problem) {
      return full_name(method) + "() " + problem + ": " + signature(method);
    };
    if (args.size() > parameters.size()) {
      throw py::type_error(
          call_error("takes " + std::to_string(parameters.size()) + " inputs, got " + std::to_string(args.size())));
    }
    std::vector<py::object> values(parameters.size());
    for (std::size_t i = 0; i < args.size(); ++i) values[i] = args[i];
    for (const auto& [key, value] : kwargs) {
      const std::string name = py::str(key);
      const auto found = std::find_if(parameters.begin(), parameters.end(),
                                      [&](const Node& parameter) { return parameter.name == name; });
      if (found == parameters.end()) throw py::type_error(call_error("has no input '" + name + "'"));
      py::object& slot = values[static_cast<std::size_t>(found - parameters.begin())];
      if (slot) throw py::type_error(call_error("got two values for the input '" + name + "'"));
      slot = py::reinterpret_borrow<py::object>(value);
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!values[i]) throw py::type_error(call_error("misses the input '" + parameters[i].name + "'"));
      const std::string missing = collect(parameters[i], values[i], parameters[i].name, leaves);
      if (!missing.empty()) throw py::type_error(call_error("misses the input '" + missing + "'"));
    }
  }

  // The tensors that `value` has for a node; the path of one that it lacks, else "".
  static std::string collect(const Node& node, const py::object& value, const std::string& path,
                             std::vector<py::object>& leaves) {
    if (node.children.empty()) {
      leaves[node.index] = value;
      return "";
    }
    const bool mapping = PyMapping_Check(value.ptr()) != 0 && py::hasattr(value, "keys");
    for (const Node& child : node.children) {
      const bool present = mapping ? value.contains(child.name) : py::hasattr(value, child.name.c_str());
      const std::string child_path = path + "." + child.name;
      if (!present) return child_path;
      const auto member = mapping ? py::object(value[child.name.c_str()]) : py::object(value.attr(child.name.c_str()));
      const std::string missing = collect(child, member, child_path, leaves);
      if (!missing.empty()) return missing;
    }
    return "";
  }

  Array input(const Method& method, const py::object& value, const aotbuild_tensor_info& info, void* stream) const {
    const std::string what = full_name(method) + ": input '" + info.name + "'";
    const bool number = py::isinstance<py::float_>(value) || PyLong_Check(value.ptr()) != 0;
    if (info.is_written != 0) {
      const bool is_constant = py::isinstance<py::array>(value) && !value.cast<py::array>().writeable();
      if (number || is_constant) throw py::type_error(what + " is written to; pass an array that can be");
    }
    if (info.ndim == 0 && number) {
      return from_numpy(py::module_::import("numpy").attr("asarray")(value, to_numpy_dtype(info.dtype, what)), what);
    }
    return to_array(value, what, stream);
  }

  static py::object to_numpy(const aotbuild_tensor& tensor, const std::shared_ptr<void>& owner, const char* name) {
    const py::dtype dtype = to_numpy_dtype(tensor.dtype, "output '" + std::string(name) + "'");
    std::vector<py::ssize_t> sizes(tensor.shape, tensor.shape + tensor.ndim);
    std::vector<py::ssize_t> strides;
    for (std::int32_t i = 0; i < tensor.ndim; ++i) strides.push_back(tensor.strides[i] * dtype.itemsize());
    const py::capsule base(new std::shared_ptr<void>(owner),
                           [](void* memory) { delete static_cast<std::shared_ptr<void>*>(memory); });
    return py::array(dtype, sizes, strides, static_cast<unsigned char*>(tensor.data) + tensor.byte_offset, base);
  }

  py::object assemble(const Node& node, const std::vector<py::object>& results) const {
    if (node.children.empty() && !node.name.empty()) return results[node.index];
    py::object outputs = outputs_type_();
    for (const Node& child : node.children) outputs[child.name.c_str()] = assemble(child, results);
    return outputs;
  }

  const aotbuild_model_info& info_;
  std::shared_ptr<const std::vector<Method>> methods_;
  py::object outputs_type_;
  std::vector<py::object> weights_;
  std::shared_ptr<Model> model_;  // also of results on a device
};

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

struct BoundMethod {
  py::object model;
  const Method& method;

  const Runner& runner() const { return model.cast<const Runner&>(); }
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
                                               int cuda_graphs) {
             return std::make_unique<Runner>(functions, weights, num_threads, device, cuda_graphs, outputs_type);
           }),
           py::kw_only(), py::arg("weights") = py::none(), py::arg("num_threads") = 0, py::arg("device") = py::none(),
           py::arg("cuda_graphs") = 0);
  bind_runner(type);
}

}  // namespace aotbuild::python

#pragma GCC visibility pop

#endif  // AOTBUILD_PYTHON_HPP_
