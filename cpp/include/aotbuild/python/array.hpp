// Tensors of Python: NumPy arrays, torch tensors and other objects with __dlpack__, in and out without copying.
#ifndef AOTBUILD_PYTHON_ARRAY_HPP_
#define AOTBUILD_PYTHON_ARRAY_HPP_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aotbuild/c_api.h"
#include "aotbuild/complex.hpp"
#include "aotbuild/python/tree.hpp"
#include "aotbuild/tensor.hpp"

#pragma GCC visibility push(hidden)

namespace aotbuild::python {
inline namespace AOTBUILD_NAMESPACE {

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
  // Of the package ml_dtypes.
  if (name == "bfloat16") return {AOTBUILD_BFLOAT, 16, 1};
  if (name == "float8_e4m3fn") return {AOTBUILD_FLOAT8_E4M3FN, 8, 1};
  if (name == "float8_e5m2") return {AOTBUILD_FLOAT8_E5M2, 8, 1};
  throw py::type_error(what + " has the NumPy dtype " + name + ", which no model takes");
}

inline py::dtype to_numpy_dtype(aotbuild_dtype dtype, const std::string& what) {
  if (dtype == dtype_v<complex32>) {
    throw py::type_error(what + " is complex32, which NumPy does not have: pass torch tensors to get torch tensors");
  }
  const std::string name = dtype_name(dtype);
  if (dtype.code <= AOTBUILD_BOOL && dtype.code != AOTBUILD_BFLOAT) return py::dtype(name);
  try {
    return py::dtype::from_args(py::module_::import("ml_dtypes").attr(name.c_str()));
  } catch (py::error_already_set&) {
    throw py::type_error(what + " is " + name + ", which NumPy has only with the package ml_dtypes: install it, or " +
                         "pass torch tensors to get torch tensors");
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

// Whether a tensor's values are the negatives or conjugates of what its memory holds, as those of `z.conj().imag`.
inline bool has_lazy_signs(py::handle object) {
  return is_torch_tensor(object) && (object.attr("is_neg")().cast<bool>() || object.attr("is_conj")().cast<bool>());
}

// `stream`: where a tensor on a CUDA device will be read; its owner makes that wait for what it has queued elsewhere.
// `what` names the tensor in errors.
inline Array from_dlpack_object(py::object object, const std::string& what, void* stream) {
  // A tensor that requires gradients refuses to be exported.
  if (is_torch_tensor(object)) object = object.attr("detach")();
  // DLPack hands on the memory alone.
  if (has_lazy_signs(object)) object = object.attr("resolve_conj")().attr("resolve_neg")();
  Array result;
  // The capsule owns the tensor, because nobody renames it.
  if (stream != nullptr && is_on_cuda(object)) {
    result.owner = object.attr("__dlpack__")(py::arg("stream") = reinterpret_cast<std::uintptr_t>(stream));
  } else {
    result.owner = object.attr("__dlpack__")();
  }
  // A capsule that was used has another name, and so has one of a later version, which would be read wrongly.
  if (PyCapsule_IsValid(result.owner.ptr(), "dltensor") == 0) {
    throw py::type_error(what + ": __dlpack__() of " + type_name(object) +
                         " gives no unused capsule named 'dltensor'; pass numpy.from_dlpack(...)");
  }
  const auto* const managed = static_cast<const ManagedTensor*>(PyCapsule_GetPointer(result.owner.ptr(), "dltensor"));
  const aotbuild_tensor& tensor = managed->tensor;
  constexpr std::int32_t kMostDims = 64;
  if (tensor.ndim < 0 || tensor.ndim > kMostDims || (tensor.ndim > 0 && tensor.shape == nullptr)) {
    throw py::type_error(what + ": __dlpack__() of " + type_name(object) + " gives a tensor of " +
                         std::to_string(tensor.ndim) + " dimensions" +
                         (tensor.shape == nullptr ? " without sizes" : ""));
  }
  result.data = tensor.data == nullptr ? nullptr : static_cast<unsigned char*>(tensor.data) + tensor.byte_offset;
  result.dtype = tensor.dtype;
  result.device = tensor.device;
  result.sizes.assign(tensor.shape, tensor.shape + tensor.ndim);
  result.strides.resize(result.sizes.size());
  std::uint64_t contiguous = 1;  // sizes may be any numbers
  for (std::size_t i = result.sizes.size(); i-- > 0;) {
    result.strides[i] = tensor.strides != nullptr ? tensor.strides[i] : static_cast<std::int64_t>(contiguous);
    contiguous *= static_cast<std::uint64_t>(result.sizes[i]);
  }
  return result;
}

// The tensor of a NumPy array, torch tensor or other object with `__dlpack__`. `what` names it in errors.
inline Array to_array(const py::object& object, const std::string& what, void* stream = nullptr) {
  if (py::isinstance<py::array>(object)) return from_numpy(py::reinterpret_borrow<py::array>(object), what);
  if (py::hasattr(object, "__dlpack__")) return from_dlpack_object(object, what, stream);
  if (py::hasattr(object, "__array_interface__")) {  // NumPy's scalars
    return from_numpy(py::module_::import("numpy").attr("asarray")(object), what);
  }
  throw py::type_error(what + " is of type " + type_name(object) +
                       "; pass a NumPy array, a torch tensor or an object with __dlpack__");
}

// A capsule as `__dlpack__` returns it. `owner` keeps the tensor's memory, sizes and strides alive.
inline py::object to_capsule(const aotbuild_tensor& tensor, detail::Shared owner) {
  struct Export {
    ManagedTensor managed;
    detail::Shared owner;
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
  detail::Shared owner;
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

// `owner` keeps the memory alive.
inline py::object to_numpy(const aotbuild_tensor& tensor, const detail::Shared& owner, const char* name) {
  const py::dtype dtype = to_numpy_dtype(tensor.dtype, "output '" + std::string(name) + "'");
  std::vector<py::ssize_t> sizes(tensor.shape, tensor.shape + tensor.ndim);
  std::vector<py::ssize_t> strides;
  for (std::int32_t i = 0; i < tensor.ndim; ++i) strides.push_back(tensor.strides[i] * dtype.itemsize());
  const py::capsule base(new detail::Shared(owner), [](void* memory) { delete static_cast<detail::Shared*>(memory); });
  return py::array(dtype, sizes, strides, static_cast<unsigned char*>(tensor.data) + tensor.byte_offset, base);
}

// The value of a tensor of no dimensions on the host, of the types that Python's numbers have.
inline py::object to_number(const aotbuild_tensor& tensor, const py::object& type) {
  const void* const value = static_cast<const unsigned char*>(tensor.data) + tensor.byte_offset;
  if (tensor.dtype.code == AOTBUILD_BOOL) return py::bool_(*static_cast<const bool*>(value));
  if (tensor.dtype.code == AOTBUILD_INT) return type(*static_cast<const std::int64_t*>(value));
  return type(*static_cast<const double*>(value));
}

}  // namespace AOTBUILD_NAMESPACE
}  // namespace aotbuild::python

#pragma GCC visibility pop

#endif  // AOTBUILD_PYTHON_ARRAY_HPP_
