"""Names of what is generated for a target: class, functions and files, and the structures of a signature's paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from aotbuild.spec.ascii_names import ascii_identifier, is_ascii_identifier
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.files import Files
from aotbuild.spec.identifiers import (
    camel_case,
    cpp_identifier,
    distinct,
    is_reserved,
    unique_names,
)
from aotbuild.spec.program import EmitOptions, TensorSpec

_STRUCTURES = ("Inputs", "Outputs", "DeviceOutputs", "OutputViews")
# What the class, and with a prefix the C library, of every model has beside its methods.
_MEMBERS = frozenset(
    (
        *("api", "capture_graph", "create", "describe", "destroy", "destroy_result", "info", "last_error"),
        *("load_weights", "manual_seed", "model_", "new_session", "set_weights", "statistics", "synchronize"),
        *("untyped", "weight_count", "weights", "aotbuild_model_info", "aotbuild_statistics", "try_capture_graph"),
        *("aotbuild_communicator_id", "make_communicator_id", "try_make_communicator_id"),
        *("try_create", "try_load_weights", "try_manual_seed", "try_new_session", "try_set_weights", "try_statistics"),
    )
)
# With these behind a method's name, or try_ before it, the class or the C library has more functions.
_METHOD_AFFIXES = (
    *(("", suffix) for suffix in ("_on_device", "_on_stream", "_capture_graph", "_input_metadata", "_output_metadata")),
    *(("try_", suffix) for suffix in ("", "_on_device")),
)
# Attributes of the Python object of a model.
_PYTHON_MEMBERS = frozenset(
    ("load_weights", "manifest", "manual_seed", "methods", "name", "new_session", "signature", "statistics")
)
# Types of the C library in the global namespace.
_GLOBAL_TYPES = frozenset(("ACTION", "DIR", "ENTRY", "FILE", "VISIT"))
# Prefixes with which _create, _destroy or _run is a function of the C library.
_LIBC_PREFIXES = frozenset(
    (
        *("argz", "authdes", "authdes_pk", "authnone", "authunix", "clnt", "clntraw", "clnttcp", "clntudp", "clntunix"),
        *("cnd", "epoll", "memfd", "mtx", "posix_spawn_file_actions", "posix_spawnattr", "pthread", "pthread_attr"),
        *("pthread_barrier", "pthread_barrierattr", "pthread_cond", "pthread_condattr", "pthread_key", "pthread_mutex"),
        *("pthread_mutexattr", "pthread_rwlock", "pthread_rwlockattr", "pthread_spin", "sem", "svc", "svcfd", "svcraw"),
        *("svctcp", "svcudp", "svcunix", "svcunixfd", "thrd", "timer", "timerfd", "tss", "xdrmem", "xdrrec"),
        "xdrstdio",
    )
)


@dataclass(frozen=True)
class Leaf:
    """A tensor field; ``index`` is its position in the C ABI's flat list."""

    name: str
    spec: TensorSpec
    index: int
    path: str  # the field from the outermost structure: "hidden.last"


@dataclass
class Struct:
    """A structure of fields, after the nesting of a signature's paths."""

    type_name: str
    name: str
    fields: list[Leaf | Struct] = field(default_factory=list)

    def leaves(self) -> Iterator[Leaf]:
        for member in self.fields:
            if isinstance(member, Struct):
                yield from member.leaves()
            else:
                yield member


def struct_of(type_name: str, specs: Iterable[TensorSpec], taken: Iterable[str] = ()) -> Struct:
    """The structure whose fields are ``specs`` by their paths. No field has a name in ``taken``."""
    root = Struct(type_name, "")
    _fill(root, [(spec.path, index, spec) for index, spec in enumerate(specs)], "", {type_name, *taken})
    return root


def _fill(struct: Struct, entries: list[tuple[tuple[str, ...], int, TensorSpec]], prefix: str, used: set[str]) -> None:
    groups: dict[str, list[tuple[tuple[str, ...], int, TensorSpec]]] = {}
    for path, index, spec in entries:
        groups.setdefault(path[0], []).append((path[1:], index, spec))
    names = unique_names(groups, used)
    used.update(names)
    for name, (key, members) in zip(names, groups.items(), strict=True):
        if members[0][0] == () and len(members) == 1:
            _, index, spec = members[0]
            struct.fields.append(Leaf(name, spec, index, prefix + name))
            continue
        if any(path == () for path, _, _ in members):
            raise AotbuildError(f"the signature has several tensors named {members[0][2].name!r}")
        type_name = cpp_identifier(camel_case(key), used)
        used.add(type_name)
        nested = Struct(type_name, name)
        _fill(nested, members, f"{prefix}{name}.", {type_name})
        struct.fields.append(nested)


@dataclass(frozen=True)
class TargetNames:
    """Every name that a target's files and symbols have, from the keywords of ``add_aot_model``."""

    target: str
    namespace: str
    class_name: str
    header: str  # path below include/
    prefix: str
    weights_file: str

    @property
    def qualified_class(self) -> str:
        return f"{self.namespace}::{self.class_name}" if self.namespace else self.class_name

    @staticmethod
    def of(options: EmitOptions) -> TargetNames:
        """Names for ``options``.

        Raises:
            AotbuildError: for a namespace, class name or symbol prefix that is no C++ name, or that is taken.
        """
        taken = {*_STRUCTURES, *_MEMBERS, *(() if options.namespace else _GLOBAL_TYPES)}
        names = TargetNames(
            target=options.target,
            namespace=options.namespace,
            class_name=options.class_name or cpp_identifier(camel_case(options.target), taken),
            header=options.header or Files(options.target).default_header,
            prefix=options.symbol_prefix or _prefix(options.target),
            weights_file=Files(options.target).weights_file(options.weights_file),
        )
        parts = [("NAMESPACE", part, names.namespace) for part in names.namespace.split("::") if names.namespace]
        for keyword, part, whole in [*parts, ("CLASS_NAME", names.class_name, names.class_name)]:
            _check_name(names.target, keyword, part, whole)
            if is_reserved(part):
                raise AotbuildError(
                    f"target {names.target!r}: {keyword} {whole!r} is not a C++ name: {part!r} is a keyword, a macro "
                    "of the standard library, or a namespace that generated code refers to; choose another"
                )
        _check_name(names.target, "SYMBOL_PREFIX", names.prefix, names.prefix)
        if names.class_name in taken:
            what = "a structure" if names.class_name in _STRUCTURES else "something else"
            raise AotbuildError(
                f"target {options.target!r}: CLASS_NAME {names.class_name!r} is the name of {what} inside every "
                "model class; choose another"
            )
        if names.header == f"{options.target}.h":
            raise AotbuildError(
                f"target {options.target!r}: HEADER {names.header!r} is the C header of the target; "
                f"choose another name, such as {options.target}.hpp"
            )
        return names


def _check_name(target: str, keyword: str, part: str, whole: str) -> None:
    if not is_ascii_identifier(part):
        raise AotbuildError(
            f"target {target!r}: {keyword} {whole!r} is not a C++ name: {part!r} "
            "has to be letters, digits and underscores, and not begin with a digit"
        )


def _prefix(target: str) -> str:
    """The target as a C identifier; after model_ where its functions would be those of the C library or of aotbuild."""
    name = ascii_identifier(target)
    is_taken = name in _LIBC_PREFIXES or name == "aotbuild" or name.startswith("aotbuild_")
    return f"model_{name}" if is_taken else name


@dataclass(frozen=True)
class MethodNames:
    """What one method is called.

    ``function``: in C++, and behind the prefix in C. ``python``: by the C ABI, and so in Python. ``camel``: what its
    structures begin with; empty where the model has no methods.
    """

    function: str
    python: str
    camel: str


def method_names(methods: Sequence[str], names: TargetNames) -> list[MethodNames]:
    """The names of a model's methods, by those that they have in Python."""
    others = {f"{prefix}{method}{suffix}" for method in methods for prefix, suffix in _METHOD_AFFIXES}
    taken = {*_MEMBERS, *others, names.class_name, f"{names.prefix}_api", f"{names.prefix}_describe"}
    functions = unique_names(methods, taken)
    pythons = unique_names(methods, _PYTHON_MEMBERS, distinct)
    used = {*functions, *_STRUCTURES, names.class_name}
    result = []
    for method, function, python in zip(methods, functions, pythons, strict=True):
        camel = _structure_prefix(camel_case(method), used)
        used.update(camel + structure for structure in _STRUCTURES)
        result.append(MethodNames(function, python, camel))
    return result


def _structure_prefix(camel: str, used: set[str]) -> str:
    number = 1
    prefix = camel
    while not used.isdisjoint(prefix + structure for structure in _STRUCTURES):
        number += 1
        prefix = f"{camel}{number}"
    return prefix
