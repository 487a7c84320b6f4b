"""Rendering: the contents of every generated file, as a pure function of the compiled model and the options."""

from __future__ import annotations

import hashlib
import itertools
import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import jinja2

from aotbuild import __version__
from aotbuild.emit import golden, stub, weights
from aotbuild.emit.names import Leaf, MethodNames, Struct, TargetNames, method_names, struct_of
from aotbuild.emit.rounding import rounded
from aotbuild.spec import abi
from aotbuild.spec.ascii_names import ascii_identifier
from aotbuild.spec.dtypes import DTYPES
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.files import Files
from aotbuild.spec.identifiers import camel_case, include_guard
from aotbuild.spec.program import CompiledModel, Dim, EmitOptions, GpuVariant, Method, Signature, TensorSpec, Variant

WIDTH = 120

_WEIGHTS_MODES = {"embed": "kEmbed", "file": "kFile", "external": "kExternal"}

_ACTIVATIONS = {
    "none": "kNone",
    "relu": "kRelu",
    "gelu": "kGelu",
    "gelu_tanh": "kGeluTanh",
    "silu": "kSilu",
    "tanh": "kTanh",
    "hardswish": "kHardswish",
    "leaky_relu": "kLeakyRelu",
}

_PRECISIONS = {"": "kOwn", "bfloat16": "kBFloat16", "float16": "kFloat16"}

# Bytes of embedded weights that get a section of their own, behind all others. Code reaches 2 GiB from where it is, so
# that larger ones must not lie between it and its data; smaller ones stay where they can be mapped in huge pages.
_LARGE_WEIGHTS = 1 << 30


def render(model: CompiledModel, options: EmitOptions) -> dict[str, bytes]:
    """The generated files of one target by their paths relative to the output folder.

    The result depends on the arguments alone: the same model and options give the same bytes.

    Raises:
        AotbuildError: for names that C++ does not allow, and weights that the chosen mode cannot store.
    """
    names = TargetNames.of(options)
    model = rounded(model)
    if options.weights not in _WEIGHTS_MODES:
        raise AotbuildError(f"target {options.target!r}: WEIGHTS {options.weights!r} is not EMBED, FILE or EXTERNAL")
    files: dict[str, bytes] = {}
    if options.weights == "file":
        stored = Files(options.target).weights_files(options.weights_file, model.world_size)
        files |= dict(zip(stored, weights.files(model), strict=True))
    sha256 = hashlib.sha256(files[names.weights_file]).hexdigest() if options.weights_sha256 else ""
    context = {**_context(model, options, names), "weights_sha256": sha256}
    for path, template in _templates(options, names).items():
        files[path] = _render(template, context)
    paths = Files(options.target)
    for method in model.methods:
        for variant in method.variants:
            files |= _variant_files(paths, "" if method.numbering is None else method.name, variant)
    for index, source in enumerate(model.custom_sources):
        files[paths.custom(index)] = source.encode()
    if options.weights != "file":
        files[paths.weights_blob] = weights.blob(model, options)
    if options.test or options.benchmark:
        files[paths.golden] = golden.encode(model, with_weights=options.weights == "external")
    if _is_for_gpu(model):
        content = {
            "kernels_version": 2,
            "target": options.target,
            "kernels": model.kernels,
            "epilogues": model.epilogues,
        }
        files[paths.kernels] = (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
    stubs = [paths.python_stub(options.python_module)] if options.python_module else []
    manifest = _manifest(model, options, names, [*files, *stubs], sha256)
    for path in stubs:
        files[path] = _render("python.pyi.j2", stub.context(json.loads(manifest)))
    files[paths.library] = _render("model.cpp.j2", {**context, "manifest": manifest})
    files[paths.manifest] = manifest.encode()
    return dict(sorted(files.items()))


def _templates(options: EmitOptions, names: TargetNames) -> dict[str, str]:
    paths = Files(options.target)
    templates = {
        paths.header(names.header): "model.hpp.j2",
        paths.c_header: "model.h.j2",
        paths.api: "api.cpp.j2",
        paths.weights_source: "weights.cpp.j2",
    }
    if options.test:
        templates[paths.test] = "test.cpp.j2"
    if options.benchmark:
        templates[paths.benchmark] = "benchmark.cpp.j2"
    if options.python_module:
        templates[paths.python_source(options.python_module)] = "python.cpp.j2"
    return templates


def _variant_files(paths: Files, method: str, variant: Variant) -> dict[str, bytes]:
    name = ascii_identifier(variant.isa)
    files = {
        paths.run(method, name): variant.run_source,
        paths.kernels_header(method, name): variant.kernels_header,
    }
    for index, shard in enumerate(variant.kernel_shards):
        files[paths.shard(method, name, index)] = shard
    encoded = {path: text.encode() for path, text in files.items()}
    if isinstance(variant, GpuVariant):
        stem = paths.stem(method)
        encoded[paths.images(method, name)] = variant.images
        encoded[paths.images_source(method, name)] = _render("images.cpp.j2", {"target": stem, "variant": variant})
    return encoded


def _is_for_gpu(model: CompiledModel) -> bool:
    return any(isinstance(variant, GpuVariant) for variant in model.methods[0].variants)


def _manifest(model: CompiledModel, options: EmitOptions, names: TargetNames, files: Iterable[str], sha256: str) -> str:
    target = options.target
    isas = [variant.isa for variant in model.methods[0].variants]
    on_gpu = _is_for_gpu(model)
    manifest = {
        "manifest_version": 1,
        "target": target,
        "namespace": names.namespace,
        "class_name": names.class_name,
        "header": names.header,
        "symbol_prefix": names.prefix,
        **_methods_json(model, _method_names(model, names)),
        "weights": {
            "mode": options.weights,
            "file": names.weights_file if options.weights == "file" else None,
            "count": len(model.weights),
            "bytes": sum(weight.tensor.data.nbytes for weight in model.weights),
            **({"sha256": sha256} if sha256 else {}),
        },
        "cpu_isa": [] if on_gpu else isas,
        "cuda_architectures": isas if on_gpu else [],
        "golden": [name for name, _ in golden.cases(model)],
        "tolerances": {"rtol": model.rtol, "atol": model.atol},
        "metadata": model.metadata,
        **({"world_size": model.world_size} if model.world_size else {}),
        **({"stateful": True} if any(weight.mutated for weight in model.weights) else {}),
        "files": sorted([*files, Files(target).library, Files(target).manifest]),
    }
    return json.dumps(manifest, indent=2, sort_keys=True) + "\n"


def _methods_json(model: CompiledModel, names: Sequence[MethodNames]) -> dict[str, Any]:
    def tensors(method: Method) -> dict[str, Any]:
        inputs, outputs = method.signature.inputs, method.signature.outputs
        conditions = [condition.text for condition in method.signature.conditions]
        return {
            "inputs": list(map(_tensor_json, inputs)),
            "outputs": list(map(_tensor_json, outputs)),
            "call": method.signature.call.as_json(),
            **({"conditions": conditions} if conditions else {}),
        }

    if not _has_methods(model):
        return tensors(model.methods[0])
    return {
        "methods": [
            {"name": name.python, "function": name.function, **tensors(method)}
            for name, method in zip(names, model.methods, strict=True)
        ]
    }


def _method_names(model: CompiledModel, names: TargetNames) -> list[MethodNames]:
    """A model without METHODS has the one function ``run``."""
    if not _has_methods(model):
        return [MethodNames(model.methods[0].name, model.methods[0].name, "")]
    return method_names([method.name for method in model.methods], names)


def _has_methods(model: CompiledModel) -> bool:
    return model.methods[0].numbering is not None


def _tensor_json(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "path": list(spec.path),
        "dtype": spec.dtype,
        "device": spec.device,
        "dims": [{"size": _dim_text(dim), "min": dim.min, "max": dim.max} for dim in spec.dims],
        "strides": None if spec.strides is None else list(spec.strides),
        **({"written": True} if spec.written else {}),
    }


def _context(model: CompiledModel, options: EmitOptions, names: TargetNames) -> dict[str, Any]:
    blob = weights.layout(model, options)
    four_bits = weights.four_bit_weights(model)
    shapes = sorted({weight.tensor.shape for weight in model.weights if weight.tensor.shape})
    signatures = [method.signature for method in model.methods]
    numbers = {method.name: index for index, method in enumerate(model.methods)}
    dtypes = {spec.dtype for signature in signatures for spec in (*signature.inputs, *signature.outputs)}
    return {
        "target": options.target,
        "names": names,
        "module": options.python_module,
        "mode": options.weights,
        "weights_mode": _WEIGHTS_MODES[options.weights],
        "methods": [_method_context(model, *entry) for entry in enumerate(_method_names(model, names))],
        "has_methods": _has_methods(model),
        "functions": _table(names.prefix),
        "complex": any(dtype.startswith("complex") for dtype in dtypes),
        "weights": model.weights,
        "weight_offsets": [blob.offsets.get(index, 0) for index in range(len(model.weights))],
        "weights_size": blob.size,
        "are_weights_large": blob.size >= _LARGE_WEIGHTS,
        "packed_weights": blob.packed_weights,
        "four_bit_weights": four_bits,
        "stored_bytes": [weights.stored(weight, i in four_bits).data.nbytes for i, weight in enumerate(model.weights)],
        "zero_weights": blob.zeros,
        "packed_matrices": blob.packed,
        "shapes": shapes,
        "linears": model.linears,
        "mlps": model.mlps,
        "convolutions": model.convolutions,
        "quantized": model.quantized,
        "recurrent": model.recurrent,
        "on_gpu": _is_for_gpu(model),
        "session": [(numbers[name], case.name) for name, case in model.session],
        "precision": model.precision,
        "PRECISIONS": _PRECISIONS,
        "rtol": model.rtol,
        "atol": model.atol,
        "has_sessions": any(weight.mutated for weight in model.weights),
        "world_size": model.world_size,
    }


def _table(prefix: str) -> list[str]:
    """The functions of ``aotbuild_api`` in their order."""
    others = ("new_session", "load_weights", "set_weights", "manual_seed", "statistics", "capture_graph", "synchronize")
    return [
        f"{prefix}_describe",
        f"{prefix}_create",
        "aotbuild_model_destroy",
        "aotbuild_last_error",
        "aotbuild_model_run",
        "aotbuild_result_destroy",
        *(f"aotbuild_model_{name}" for name in others),
    ]


def _method_context(model: CompiledModel, index: int, names: MethodNames) -> dict[str, Any]:
    """One method for the templates; ``camel`` and ``constant`` begin its names where a model has several."""
    method = model.methods[index]
    has_methods = _has_methods(model)
    camel = names.camel
    inputs = struct_of(f"{camel}Inputs", method.signature.inputs)
    # Several structures have the fields of the outputs; a field may have the name of none.
    others = (f"{camel}DeviceOutputs", f"{camel}OutputViews")
    outputs = struct_of(f"{camel}Outputs", method.signature.outputs, taken=others)
    numbering = method.numbering
    prefix = f"{method.name}/" if has_methods else ""
    return {
        "name": names.python,
        "function": names.function,
        "index": index,
        "camel": camel,
        "constant": f"{names.function}_" if has_methods else "",
        "suffix": f"_{names.function}" if has_methods else "",
        "label": f"{names.function}(), " if has_methods else "",
        "inputs": inputs,
        "outputs": outputs,
        "input_specs": method.signature.inputs,
        "output_specs": method.signature.outputs,
        "input_leaves": list(inputs.leaves()),
        "output_leaves": list(outputs.leaves()),
        "written_leaves": [leaf for leaf in inputs.leaves() if leaf.spec.written],
        "symbols": _symbols(method.signature),
        "conditions": method.signature.conditions,
        "max_input_rank": max((len(spec.dims) for spec in method.signature.inputs), default=0),
        "max_output_rank": max((len(spec.dims) for spec in method.signature.outputs), default=0),
        "variants": method.variants,
        "numbering": numbering,
        "numbers": []
        if numbering is None
        else [(field.name.capitalize(), getattr(numbering, field.name)) for field in fields(numbering)],
        "cases": _cases(prefix, method),
    }


def _cases(prefix: str, method: Method) -> list[tuple[str, str]]:
    """Golden cases with the names of their tests."""
    names: list[str] = []
    for case in method.golden:
        name = _test_name(case.name)
        names.append(name if name not in names else f"{name}{len(names)}")
    return [(prefix + case.name, name) for case, name in zip(method.golden, names, strict=True)]


def _symbols(signature: Signature) -> list[tuple[str, int, int]]:
    ranges: dict[str, tuple[str, int, int]] = {}
    for spec in signature.inputs:
        for dim in spec.dims:
            if dim.symbol not in (None, "?") and (dim.multiplier, dim.offset) == (1, 0):
                ranges.setdefault(str(dim.symbol), (str(dim.symbol), dim.min, dim.max))
    return list(ranges.values())


def _dim_text(dim: Dim) -> str:
    if dim.symbol is None:
        return str(dim.min)
    text = dim.symbol if dim.multiplier == 1 else f"{dim.multiplier}*{dim.symbol}"
    return f"{text}{dim.offset:+d}" if dim.offset else text


def _shape_text(spec: TensorSpec) -> str:
    return f"[{', '.join(_dim_text(dim) for dim in spec.dims)}]"


def _call_comment(inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]) -> str:
    """What a call takes and gives, as a comment in a class: editors show it where the function is called."""
    takes, gives = (
        ", ".join(f"{spec.name}: {spec.dtype} {_shape_text(spec)}" for spec in specs) or "nothing"
        for specs in (inputs, outputs)
    )
    lines = textwrap.wrap(f"Takes {takes}; gives {gives}.", WIDTH - 5, break_long_words=False, break_on_hyphens=False)
    return "".join(f"  // {line}\n" for line in lines)


def _tensor_type(spec: TensorSpec, template: str, qualifier: str = "") -> str:
    return f"aotbuild::{template}<{qualifier}{DTYPES[spec.dtype].cpp}, {len(spec.dims)}>"


def _test_name(case: str) -> str:
    """A GoogleTest name: those may hold no underscore."""
    return camel_case(ascii_identifier(case))


def _quote(text: str | None) -> str:
    """A C string literal, or nullptr."""
    if text is None:
        return "nullptr"
    return f'"{"".join(map(_escaped, text, f" {text}"))}"'


def _escaped(c: str, previous: str) -> str:
    """A character of a C string literal; two question marks could begin a trigraph."""
    if c in '"\\' or (c == "?" and previous == "?"):
        return f"\\{c}"
    return c if " " <= c <= "~" else "".join(f"\\{byte:03o}" for byte in c.encode())


def _align_comments(text: str) -> str:
    """Trailing comments of neighbouring lines in one column."""
    result: list[str] = []
    for has_comment, group in itertools.groupby(text.splitlines(), key=lambda line: "  // " in line):
        lines = list(group)
        if has_comment:
            pairs = [line.split("  // ", 1) for line in lines]
            width = max(len(code) for code, _ in pairs)
            lines = [f"{code:<{width}}  // {comment}" for code, comment in pairs]
        result += lines
    return "".join(f"{line}\n" for line in result)


def _wrap(items: Iterable[str], prefix: str, suffix: str, indent: int) -> str:
    """``prefix`` + the items in braces + ``suffix`` on one line if it fits, else with a line for each item."""
    entries = list(items)
    line = f"{' ' * indent}{prefix}{{{', '.join(entries)}}}{suffix}"
    if len(line) <= WIDTH:
        return line
    lines = "".join(f"{' ' * (indent + 4)}{entry},\n" for entry in entries)
    return f"{' ' * indent}{prefix}{{\n{lines}{' ' * indent}}}{suffix}"


def _initialize(struct: Struct, expression: str) -> list[str]:
    """Initializers of the fields of ``struct``; ``expression`` has %(...)s for what a leaf offers."""
    result = []
    for member in struct.fields:
        if isinstance(member, Struct):
            result.append(f"{{{', '.join(_initialize(member, expression))}}}")
        else:
            result.append(
                expression
                % {
                    "type": DTYPES[member.spec.dtype].cpp,
                    "input_type": ("" if member.spec.written else "const ") + DTYPES[member.spec.dtype].cpp,
                    "rank": len(member.spec.dims),
                    "index": member.index,
                    "golden": _quote(f"/input/{member.spec.name}"),
                    "path": member.path,
                }
            )
    return result


def _flat(leaves: Iterable[Leaf], expression: str) -> list[str]:
    """``expression`` for each leaf in the order of the C ABI."""
    return [expression % {"path": leaf.path} for leaf in sorted(leaves, key=lambda leaf: leaf.index)]


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("aotbuild.emit", "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
)
ENVIRONMENT.globals |= {
    "ACTIVATIONS": _ACTIVATIONS,
    "VERSION": __version__,
    "RELEASE": abi.release(),
    "ABI_VERSION": abi.ABI_VERSION,
}
ENVIRONMENT.filters |= {
    "identifier": ascii_identifier,
    "guard": include_guard,
    "suite": lambda target: camel_case(ascii_identifier(target)),
    "quote": _quote,
    "dim_text": _dim_text,
    "shape_text": _shape_text,
    "call_comment": _call_comment,
    "tensor_type": _tensor_type,
    "cpp_type": lambda dtype: DTYPES[dtype].cpp,
    "c_dtype": lambda dtype: DTYPES[dtype].initializer,
    "align_comments": _align_comments,
    "wrap": _wrap,
    "initialize": _initialize,
    "flat": _flat,
    "annotation": lambda node, library: node.annotation(library),
}


def _render(template: str, context: dict[str, Any]) -> bytes:
    return ENVIRONMENT.get_template(template).render(context).encode()
