"""Names in generated C and C++: identifiers, escaping, and the structures of a signature's nested paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from aotbuild.errors import AotbuildError
from aotbuild.program import EmitOptions, TensorSpec

# C++17's keywords and alternative tokens, C++20's keywords, and the macros of <cstddef> and <cerrno> that models use
# as names.
_RESERVED_WORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await
co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do
double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable
namespace new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast
requires return short signed sizeof static static_assert static_cast struct switch template this thread_local throw
true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
NULL errno assert EOF
"""
_RESERVED = frozenset(_RESERVED_WORDS.split())


def identifier(text: str) -> str:
    """``text`` as a C identifier: other characters become underscores, a leading digit gets one before it."""
    name = re.sub(r"[^0-9A-Za-z_]", "_", text)
    return f"_{name}" if not name or name[0].isdigit() else name


def camel_case(text: str) -> str:
    """``sentence_encoder`` as ``SentenceEncoder``."""
    words = [word for word in re.split(r"[^0-9A-Za-z]+", text) if word]
    return identifier("".join(word[0].upper() + word[1:] for word in words))


def unique(name: str, taken: Iterable[str]) -> str:
    """``name``, with underscores appended until it is no C++ keyword and not in ``taken``."""
    used = frozenset(taken)
    while name in _RESERVED or name in used:
        name += "_"
    return name


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
    _fill(root, [(spec.path, index, spec) for index, spec in enumerate(specs)], "", frozenset((type_name, *taken)))
    return root


def _fill(
    struct: Struct, entries: list[tuple[tuple[str, ...], int, TensorSpec]], prefix: str, taken: frozenset[str]
) -> None:
    groups: dict[str, list[tuple[tuple[str, ...], int, TensorSpec]]] = {}
    for path, index, spec in entries:
        groups.setdefault(path[0], []).append((path[1:], index, spec))
    used = set(taken)
    for key, members in groups.items():
        name = unique(identifier(key), used)
        used.add(name)
        if members[0][0] == () and len(members) == 1:
            _, index, spec = members[0]
            struct.fields.append(Leaf(name, spec, index, prefix + name))
            continue
        if any(path == () for path, _, _ in members):
            raise AotbuildError(f"the signature has several tensors named {members[0][2].name!r}")
        type_name = unique(camel_case(key), used)
        used.add(type_name)
        nested = Struct(type_name, name)
        _fill(nested, members, f"{prefix}{name}.", frozenset((type_name,)))
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
            AotbuildError: for a namespace, class name or symbol prefix that is no C++ name.
        """
        names = TargetNames(
            target=options.target,
            namespace=options.namespace,
            class_name=options.class_name or unique(camel_case(options.target), ()),
            header=options.header or f"{options.target}.hpp",
            prefix=options.symbol_prefix or unique(identifier(options.target), ()),
            weights_file=options.weights_file or f"{options.target}.safetensors",
        )
        parts = [("NAMESPACE", part, names.namespace) for part in names.namespace.split("::") if names.namespace]
        for keyword, part, whole in [
            *parts,
            ("CLASS_NAME", names.class_name, names.class_name),
            ("SYMBOL_PREFIX", names.prefix, names.prefix),
        ]:
            if not re.fullmatch(r"[A-Za-z_][0-9A-Za-z_]*", part) or part in _RESERVED:
                raise AotbuildError(
                    f"target {options.target!r}: {keyword} {whole!r} is not a C++ name: {part!r} "
                    "has to be letters, digits and underscores, not begin with a digit, and be no keyword"
                )
        if names.class_name in ("Inputs", "Outputs", "DeviceOutputs", "OutputViews"):
            raise AotbuildError(
                f"target {options.target!r}: CLASS_NAME {names.class_name!r} is the name of a structure inside every "
                "model class; choose another"
            )
        if names.header == f"{options.target}.h":
            raise AotbuildError(
                f"target {options.target!r}: HEADER {names.header!r} is the C header of the target; "
                f"choose another name, such as {options.target}.hpp"
            )
        return names
