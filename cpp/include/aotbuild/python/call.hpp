// The call of a method in Python, as the manifest says (aotbuild/calls.py): its parameters, and what it returns.
#ifndef AOTBUILD_PYTHON_CALL_HPP_
#define AOTBUILD_PYTHON_CALL_HPP_

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/python/tree.hpp"

#pragma GCC visibility push(hidden)

namespace aotbuild::python {
inline namespace AOTBUILD_NAMESPACE {

// As inspect.Parameter has them.
enum class ParameterKind { kPositional, kEither, kRest, kKeyword, kKeywords };

// One parameter of the function that was compiled.
struct Parameter {
  std::string name;
  ParameterKind kind = ParameterKind::kEither;
  bool takes_value = false;  // else it was left out, and its default is nothing that a value could be compared with
  Node value;                // what it was compiled with
  py::object default_value;  // null: there is none that is a constant
  bool is_optional = false;  // leaving it out is what it was compiled with
};

// An arguments' list that does not fit; the caller adds the signature.
struct WrongCall {
  std::string problem;
};

// Makes nodes from the manifest. `classes`: those of the containers that are no tuple, list or dict, in their order,
// each as (class, make, flatten, context); none in a process that may lack them.
class TreeReader {
 public:
  // `outputs_type`: the class of results whose keys are attributes too.
  TreeReader(py::object outputs_type, const py::iterable& classes)
      : outputs_type_(std::move(outputs_type)), classes_(classes), has_classes_(py::len(classes_) > 0) {}

  Node read(const py::object& json) {
    Node node;
    if (py::isinstance<py::int_>(json)) {
      node.index = json.cast<std::size_t>();
      return node;
    }
    const py::dict content(json);
    const auto of_type = [&](const py::object& value) -> py::object {
      const py::object type = py::module_::import("builtins").attr(py::str(content["type"]));
      return value ? py::object(type(value)) : type;
    };
    if (content.contains("number")) {
      node.kind = Kind::kNumber;
      node.index = content["number"].cast<std::size_t>();
      node.value = of_type({});
    } else if (content.contains("constant")) {
      node.kind = Kind::kConstant;
      node.value = content["constant"];
      if (content.contains("type")) node.value = of_type(node.value);
    } else {
      read_container(content, node);
    }
    return node;
  }

 private:
  void read_container(const py::dict& content, Node& node) {
    static constexpr std::pair<const char*, Kind> kKinds[] = {
        {"tuple", Kind::kTuple},       {"size", Kind::kTuple},        {"list", Kind::kList},
        {"deque", Kind::kList},        {"dict", Kind::kDict},         {"default_dict", Kind::kDict},
        {"ordered_dict", Kind::kDict}, {"namedtuple", Kind::kFields}, {"object", Kind::kFields},
        {"mapping", Kind::kFields},    {"opaque", Kind::kOpaque},
    };
    const auto* const found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                           [&](const auto& kind) { return content.contains(kind.first); });
    const std::string word = found->first;
    node.kind = found->second;
    if (content.contains("name")) node.name = py::str(content["name"]);
    if (content.contains("keys")) {
      for (const py::handle key : py::list(content["keys"])) {
        // JSON has no tuples, and a dict no lists among its keys.
        const bool is_tuple = PyList_Check(key.ptr()) != 0;
        node.keys.push_back(is_tuple ? py::object(py::tuple(py::list(py::reinterpret_borrow<py::object>(key))))
                                     : py::reinterpret_borrow<py::object>(key));
      }
    }
    if (has_classes_ && word != "tuple" && word != "list" && word != "dict") {
      const py::tuple known(classes_[next_class_++]);
      node.type = known[0];
      node.make = known[1];
      if (!known[2].is_none()) node.flatten = known[2];
      node.context = known[3];
    } else {
      node.make = maker(word, node);
      node.is_filled = word == "ordered_dict" || word == "mapping";
    }
    for (const py::handle item : py::list(content[word.c_str()])) {
      node.items.push_back(read(py::reinterpret_borrow<py::object>(item)));
    }
  }

  // What makes a container of which no class is known; null for those that Python has, and for what has no names.
  py::object maker(const std::string& word, const Node& node) const {
    const auto collections = py::module_::import("collections");
    if (word == "deque") return collections.attr("deque");
    if (word == "ordered_dict") return collections.attr("OrderedDict");
    if (word == "mapping") return outputs_type_;
    if (word == "namedtuple") {
      py::list fields;
      for (const py::object& key : node.keys) fields.append(key);
      return collections.attr("namedtuple")(node.name, fields).attr("_make");
    }
    if (word != "object") return {};
    const py::object base = py::module_::import("types").attr("SimpleNamespace");
    const py::object type = py::module_::import("builtins").attr("type")(node.name, py::make_tuple(base), py::dict());
    return py::cpp_function([type, keys = node.keys](const py::list& items) {
      py::dict fields;
      for (std::size_t i = 0; i < keys.size(); ++i) fields[keys[i]] = items[i];
      return type(**fields);
    });
  }

  py::object outputs_type_;
  py::list classes_;
  bool has_classes_;
  std::size_t next_class_ = 0;
};

class Call {
 public:
  Call(const py::dict& json, TreeReader& reader) {
    for (const py::handle item : py::list(json["parameters"])) {
      parameters_.push_back(parameter(py::dict(py::reinterpret_borrow<py::object>(item)), reader));
    }
    result_ = reader.read(json["result"]);
  }

  const std::vector<Parameter>& parameters() const { return parameters_; }
  const Node& result() const { return result_; }

  // The tensors of a call's arguments, in the order of the signature. Throws WrongCall, MissingInput and WrongInput.
  void bind(const py::args& args, const py::kwargs& kwargs, std::vector<py::object>& tensors) const {
    std::vector<py::object> values(parameters_.size());
    place(args, values);
    for (const auto& [key, value] : kwargs) place(py::str(key), py::reinterpret_borrow<py::object>(value), values);
    Collector collector(tensors);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const Parameter& parameter = parameters_[i];
      if (parameter.kind == ParameterKind::kKeywords) {
        bind_keywords(parameter, values[i], collector);
      } else if (values[i]) {
        if (!parameter.takes_value) {
          throw WrongInput{parameter.name, "was left out when the model was compiled; leave it out"};
        }
        collector.collect(parameter.value, values[i], {nullptr, {}, parameter.name.c_str()});
      } else if (parameter.takes_value && !parameter.is_optional) {
        if (!parameter.default_value || has_tensors(parameter.value)) throw MissingInput{parameter.name};
        throw WrongInput{parameter.name, "is left out, which is " + shown(parameter.default_value) +
                                             ", but the model was compiled with " + text(parameter.value)};
      }
    }
  }

 private:
  // Arguments in position.
  void place(const py::args& args, std::vector<py::object>& values) const {
    for (std::size_t i = 0; i < args.size(); ++i) {
      const ParameterKind kind = i < parameters_.size() ? parameters_[i].kind : ParameterKind::kKeyword;
      if (kind == ParameterKind::kRest && parameters_[i].takes_value) {
        values[i] = args[py::slice(static_cast<py::ssize_t>(i), static_cast<py::ssize_t>(args.size()), 1)];
        return;
      }
      if (kind != ParameterKind::kPositional && kind != ParameterKind::kEither) {
        throw WrongCall{"takes " + std::to_string(i) + " inputs in position, got " + std::to_string(args.size())};
      }
      values[i] = args[i];
    }
  }

  // An argument by its name.
  void place(const std::string& name, const py::object& value, std::vector<py::object>& values) const {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const Parameter& parameter = parameters_[i];
      const bool has_name = parameter.kind == ParameterKind::kEither || parameter.kind == ParameterKind::kKeyword;
      if (has_name && parameter.name == name) {
        if (values[i]) throw WrongCall{"got two values for the input '" + name + "'"};
        values[i] = value;
        return;
      }
      const std::vector<py::object>& keys = parameter.value.keys;
      if (parameter.kind == ParameterKind::kKeywords &&
          std::any_of(keys.begin(), keys.end(),
                      [&](const py::object& key) { return std::string(py::str(key)) == name; })) {
        if (!values[i]) values[i] = py::dict();
        values[i][name.c_str()] = value;
        return;
      }
    }
    throw WrongCall{"has no input '" + name + "'"};
  }

  static void bind_keywords(const Parameter& parameter, const py::object& values, Collector& collector) {
    for (std::size_t i = 0; i < parameter.value.items.size(); ++i) {
      const std::string name = py::str(parameter.value.keys[i]);
      if (!values || !values.contains(name)) throw MissingInput{name};
      collector.collect(parameter.value.items[i], values[name.c_str()], {nullptr, {}, name.c_str()});
    }
  }

  static Parameter parameter(const py::dict& json, TreeReader& reader) {
    static constexpr const char* kKinds[] = {"positional_only", "positional_or_keyword", "var_positional",
                                             "keyword_only", "var_keyword"};
    Parameter result;
    result.name = py::str(json["name"]);
    const std::string kind = py::str(json["kind"]);
    const auto* const found = std::find(std::begin(kKinds), std::end(kKinds), kind);
    result.kind = static_cast<ParameterKind>(found - std::begin(kKinds));
    result.takes_value = json.contains("value");
    if (result.takes_value) result.value = reader.read(json["value"]);
    if (json.contains("default")) {
      result.default_value = assemble(reader.read(json["default"]), {});
      result.is_optional = result.takes_value && !has_tensors(result.value) && fits(result);
    }
    return result;
  }

  // Whether the default is what the parameter was compiled with.
  static bool fits(const Parameter& parameter) {
    std::vector<py::object> none;
    try {
      Collector(none).collect(parameter.value, parameter.default_value, {nullptr, {}, parameter.name.c_str()});
    } catch (const WrongInput&) {
      return false;
    } catch (const MissingInput&) {
      return false;
    }
    return true;
  }

  std::vector<Parameter> parameters_;
  Node result_;
};

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild::python

#pragma GCC visibility pop

#endif  // AOTBUILD_PYTHON_CALL_HPP_
