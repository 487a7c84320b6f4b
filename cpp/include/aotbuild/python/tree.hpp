// Trees of Python values (aotbuild/calls.py): from arguments to tensors, and from tensors to what the model returns.
#ifndef AOTBUILD_PYTHON_TREE_HPP_
#define AOTBUILD_PYTHON_TREE_HPP_

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#pragma GCC visibility push(hidden)

namespace aotbuild::python {
inline namespace AOTBUILD_NAMESPACE {

namespace py = pybind11;

inline std::string type_name(py::handle object) { return py::str(py::type::handle_of(object).attr("__name__")); }

enum class Kind { kTensor, kNumber, kConstant, kTuple, kList, kDict, kFields, kOpaque };

// A part of the arguments or of what is returned.
struct Node {
  Kind kind = Kind::kTensor;
  std::size_t index = 0;  // of a tensor or number
  py::object value;       // of a constant; of a number: Python's type
  std::string name;       // of a container's class
  std::vector<py::object> keys;
  std::vector<Node> items;
  py::object make;         // from a list of the items; null: tuple, list and dict
  bool is_filled = false;  // `make` takes nothing, and the items are set by their keys
  // How the items come out of an object of the class `type`: with a context, which has to equal `context`. Null where
  // keys, attributes or positions give them.
  py::object type, flatten, context;
};

// From the root of an argument to a part of it; made into text for errors alone.
struct Path {
  const Path* parent;
  py::handle key;              // of the part in its parent
  const char* root = nullptr;  // the argument's name, where there is no parent

  std::string text() const {
    if (parent == nullptr) return root;
    const bool named = py::isinstance<py::str>(key) && key.attr("isidentifier")().cast<bool>();
    return parent->text() + (named ? "." + std::string(py::str(key)) : "[" + std::string(py::repr(key)) + "]");
  }
};

// What a call lacks; the caller adds its signature.
struct MissingInput {
  std::string path;
};

// An argument that is not what the model was compiled with.
struct WrongInput {
  std::string path;
  std::string problem;
};

inline bool is_torch_tensor(py::handle object) {
  // Without importing torch: if nobody has, this is none.
  const auto torch = py::reinterpret_borrow<py::object>(PyDict_GetItemString(PyImport_GetModuleDict(), "torch"));
  return torch && !torch.is_none() && py::isinstance(object, torch.attr("Tensor"));
}

inline bool is_array(py::handle object) {
  return py::hasattr(object, "__dlpack__") || py::hasattr(object, "__array_interface__");
}

// A value as errors print it: what is no constant, by its type.
inline std::string shown(py::handle value) {
  const bool constant = value.is_none() || PyLong_Check(value.ptr()) != 0 || PyFloat_Check(value.ptr()) != 0 ||
                        PyUnicode_Check(value.ptr()) != 0;
  return constant ? std::string(py::repr(value)) : "of type " + type_name(value);
}

// Equal and of one type, as 2, 2.0 and True are not; NaN equals NaN. A NumPy scalar counts as the number that it holds.
inline bool equals_constant(const py::object& value, const py::object& expected) {
  if (value.is(expected)) return true;
  if (expected.is_none()) return false;
  if (!PyObject_TypeCheck(value.ptr(), Py_TYPE(expected.ptr())) ||
      (PyBool_Check(value.ptr()) != PyBool_Check(expected.ptr()))) {
    const bool is_scalar = py::hasattr(value, "dtype") && py::hasattr(value, "item") && !py::hasattr(value, "__len__");
    return is_scalar && !is_torch_tensor(value) && equals_constant(value.attr("item")(), expected);
  }
  if (PyFloat_Check(expected.ptr()) != 0) {
    const double a = PyFloat_AS_DOUBLE(value.ptr());
    const double b = PyFloat_AS_DOUBLE(expected.ptr());
    return a == b || (std::isnan(a) && std::isnan(b));
  }
  return value.equal(expected);
}

inline bool has_tensors(const Node& node) {
  return node.kind == Kind::kTensor || std::any_of(node.items.begin(), node.items.end(), has_tensors);
}

// What a node stands for, for errors: "3", "a tuple of 2", "a Batch".
inline std::string text(const Node& node) {
  const std::string count = " of " + std::to_string(node.items.size());
  switch (node.kind) {
    case Kind::kConstant:
      return shown(node.value);
    case Kind::kTuple:
      return "a tuple" + count;
    case Kind::kList:
      return "a list" + count;
    case Kind::kDict:
      return "a dict" + count;
    case Kind::kFields:
    case Kind::kOpaque:
      return "a " + node.name;
    default:
      return "a tensor";
  }
}

class Collector {
 public:
  explicit Collector(std::vector<py::object>& tensors) : tensors_(tensors) {}

  // Puts the tensors of `value` in their places.
  void collect(const Node& node, const py::object& value, const Path& path) {
    switch (node.kind) {
      case Kind::kTensor:
        if (value.is_none()) wrong(path, "is None, but the model was compiled with a tensor there");
        tensors_[node.index] = value;
        return;
      case Kind::kConstant:
        if (equals_constant(value, node.value)) return;
        return wrong(path, "is " + shown(value) + ", but the model was compiled with " + shown(node.value) +
                               "; compile it for that value too, or pass a tensor when it is compiled");
      default:
        break;
    }
    if (node.flatten && py::isinstance(value, node.type)) return collect_flattened(node, value, path);
    if (node.kind == Kind::kDict || node.kind == Kind::kFields) return collect_named(node, value, path);
    collect_in_order(node, value, path);
  }

 private:
  [[noreturn]] static void wrong(const Path& path, std::string problem) { throw WrongInput{path.text(), problem}; }

  void collect_flattened(const Node& node, const py::object& value, const Path& path) {
    const auto pair = py::tuple(node.flatten(value));
    if (!py::object(pair[1]).equal(node.context)) {
      wrong(path, "is " + text(node) + " of another structure than the one that the model was compiled with");
    }
    collect_in_order(node, py::list(pair[0]), path);
  }

  void collect_in_order(const Node& node, const py::object& value, const Path& path) {
    const bool fits = PySequence_Check(value.ptr()) != 0 && PyUnicode_Check(value.ptr()) == 0 && !is_array(value) &&
                      PyDict_Check(value.ptr()) == 0;
    if (!fits) {
      wrong(path, "is " + shown(value) + "; the model was compiled with " + text(node) + " there");
    }
    const std::size_t size = py::len(value);
    if (size != node.items.size()) {
      wrong(path, "has " + std::to_string(size) + " elements; the model was compiled with " +
                      std::to_string(node.items.size()));
    }
    for (std::size_t i = 0; i < size; ++i) {
      const py::int_ key(i);
      collect(node.items[i],
              py::reinterpret_steal<py::object>(PySequence_GetItem(value.ptr(), static_cast<Py_ssize_t>(i))),
              {&path, node.keys.empty() ? py::handle(key) : py::handle(node.keys[i])});
    }
  }

  // A mapping or an object with attributes, whatever it was compiled with; a sequence for a named tuple.
  void collect_named(const Node& node, const py::object& value, const Path& path) {
    const bool mapping = PyMapping_Check(value.ptr()) != 0 && py::hasattr(value, "keys");
    const bool in_order = PyTuple_Check(value.ptr()) != 0 || PyList_Check(value.ptr()) != 0;
    if (in_order && node.kind == Kind::kFields && !py::hasattr(value, "_fields")) {
      return collect_in_order(node, value, path);
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const py::object& key = node.keys[i];
      const Path part{&path, key};
      PyObject* const item = mapping                        ? PyObject_GetItem(value.ptr(), key.ptr())
                             : py::isinstance<py::str>(key) ? PyObject_GetAttr(value.ptr(), key.ptr())
                                                            : nullptr;
      if (item == nullptr) {
        PyErr_Clear();
        // What was None when the model was compiled may be left out.
        if (node.items[i].kind == Kind::kConstant && node.items[i].value.is_none()) continue;
        throw MissingInput{part.text()};
      }
      collect(node.items[i], py::reinterpret_steal<py::object>(item), part);
    }
    if (!mapping || py::len(value) <= node.items.size()) return;
    for (const py::handle key : value) {
      const bool known =
          std::any_of(node.keys.begin(), node.keys.end(), [&](const py::object& k) { return k.equal(key); });
      if (!known) wrong({&path, key}, "is an item that the model was compiled without; leave it out");
    }
  }

  std::vector<py::object>& tensors_;
};

// What the model returns. `results`: its tensors and numbers.
inline py::object assemble(const Node& node, const std::vector<py::object>& results) {
  switch (node.kind) {
    case Kind::kTensor:
    case Kind::kNumber:
      return results[node.index];
    case Kind::kConstant:
      return node.value;
    case Kind::kDict:
    case Kind::kFields:
      if (!node.make || node.is_filled) {
        py::object dict = node.make ? node.make() : py::dict();
        for (std::size_t i = 0; i < node.items.size(); ++i) dict[node.keys[i]] = assemble(node.items[i], results);
        return dict;
      }
      break;
    case Kind::kTuple:
      if (!node.make) {
        py::tuple tuple(node.items.size());
        for (std::size_t i = 0; i < node.items.size(); ++i) tuple[i] = assemble(node.items[i], results);
        return tuple;
      }
      break;
    default:
      break;
  }
  py::list items(node.items.size());
  for (std::size_t i = 0; i < node.items.size(); ++i) items[i] = assemble(node.items[i], results);
  return node.make ? node.make(items) : py::object(items);
}

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild::python

#pragma GCC visibility pop

#endif  // AOTBUILD_PYTHON_TREE_HPP_
