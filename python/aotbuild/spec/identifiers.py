"""The rules by which names of a model become identifiers of C++, C, the linker and the preprocessor."""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable

from aotbuild.spec import macros
from aotbuild.spec.ascii_names import ascii_identifier

# C++20's keywords and alternative tokens, C's keywords that C++ lacks, and what GNU's and Clang's default modes add.
_KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await
co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do
double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable
namespace new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast
requires restrict return short signed sizeof static static_assert static_cast struct switch template this thread_local
throw true try typedef typeid typename typeof typeof_unqual union unsigned using virtual void volatile wchar_t while
xor xor_eq
"""
# ``std`` and ``aotbuild`` are the namespaces that generated code refers to.
_RESERVED = frozenset([*_KEYWORDS.split(), *macros.NAMES.split(), "std", "aotbuild"])
_MACROS = "AOTBUILD_"  # with which macros of the runtime begin, those of later releases too


def identifier(text: str, taken: Iterable[str] = ()) -> str:
    """``text`` with underscores for what no identifier has, letters of all scripts kept: ``größe.x`` as ``größe_x``.

    It may still be a word that C++ has for something else. Where it is in ``taken``, an underscore or a number follows.
    """
    name = "".join(c if f"a{c}".isidentifier() else "_" for c in unicodedata.normalize("NFKC", text))
    return distinct(name if name[:1].isidentifier() else f"_{name}", taken)


def cpp_identifier(text: str, taken: Iterable[str] = ()) -> str:
    """``text`` as a name that a C++ program may give, and that is not in ``taken``.

    Names that C++ allows stay as they are. In others, what no identifier has becomes an underscore; where C++ reserves
    the name, underscores in a row become one and the one before a capital goes; ``AOTBUILD_``, with which macros of the
    runtime begin, becomes ``aotbuild_``; and behind a keyword, a macro of the standard library, ``std``, ``aotbuild``,
    and what is in ``taken``, comes an underscore, else ``_2``, ``_3``, ...
    """
    used = frozenset(taken)
    name = identifier(text)
    if "__" in name or _has_reserved_start(name):
        name = re.sub(r"__+", "_", name)
        name = name[1:] if _has_reserved_start(name) else name
    if name.startswith(_MACROS):
        name = _MACROS.lower() + name.removeprefix(_MACROS)
    return _unique(name, lambda candidate: candidate in used or is_reserved(candidate))


def distinct(name: str, taken: Iterable[str]) -> str:
    """``name``, whatever characters it has, with an underscore or a number behind it where it is in ``taken``."""
    return _unique(name, frozenset(taken).__contains__)


def _has_reserved_start(name: str) -> bool:
    return name[:1] == "_" and name[1:2].isupper()


def _unique(name: str, is_taken: Callable[[str], bool]) -> str:
    if not is_taken(name):
        return name
    stem = name.rstrip("_")
    endings = itertools.chain(("_",), (f"_{number}" for number in itertools.count(2)))
    return next(stem + ending for ending in endings if stem + ending != "_" and not is_taken(stem + ending))


def unique_names(
    wanted: Iterable[str], taken: Iterable[str] = (), rule: Callable[[str, Iterable[str]], str] = cpp_identifier
) -> list[str]:
    """Names for neighbours by a rule, each different: those that can stay as they are do, whatever their order."""
    texts = list(wanted)
    used = set(taken)
    names: dict[int, str] = {}
    for index, text in enumerate(texts):
        if rule(text, used) == text:
            names[index] = text
            used.add(text)
    for index, text in enumerate(texts):
        if index not in names:
            names[index] = rule(text, used)
            used.add(names[index])
    return [names[index] for index in range(len(texts))]


def is_reserved(name: str) -> bool:
    """Whether C++, the headers that a program includes, or generated code has the word for something else."""
    return name in _RESERVED or name.startswith(_MACROS)


def camel_case(text: str) -> str:
    """``sentence_encoder`` as ``SentenceEncoder``."""
    words = [word for word in re.split(r"[\W_]+", unicodedata.normalize("NFKC", text)) if word]
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name[:1].isidentifier() else f"_{name}" if name else "Value"


def symbol(text: str) -> str:
    """``text`` as a part of a linker's symbol; texts that differ have symbols that differ."""
    name = ascii_identifier(text)
    return name if name == text else f"{name}_{_digest(text)}"


def include_guard(header: str) -> str:
    """The macro that guards a header; headers that differ have macros that differ."""
    stem, dot, extension = header.rpartition(".")
    name = f"{ascii_identifier(stem)}{'_' if dot else ''}{extension}".upper()
    is_plain = re.fullmatch(r"[a-z_][a-z0-9_]*\.[a-z]+", header)
    return f"AOTBUILD_GENERATED_{name}_" if is_plain else f"AOTBUILD_GENERATED_{name}_{_digest(header)}_"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
