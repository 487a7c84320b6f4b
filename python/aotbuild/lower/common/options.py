"""TorchInductor's settings as OPTIONS and CONFIG give them: names that it has, values of the types that those have."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

import torch._inductor.config as inductor_config

from aotbuild.spec import values
from aotbuild.spec.errors import AotbuildError

# What an option of a type is called, and how it is written.
_WRITTEN = {
    bool: ("a bool", "true or false"),
    int: ("an int", "a whole number"),
    float: ("a float", "a number"),
    list: ("a list", "as in [1, 2]"),
    tuple: ("a tuple", "as in (1, 2)"),
    dict: ("a dictionary", "as in {a: 1}"),
    type(None): ("none", "none"),
}


def option_values(options: Mapping[str, str], config: Mapping[str, str] | None = None) -> dict[str, object]:
    """The values of settings that were written as text.

    Args:
        options: those of OPTIONS, and of CONFIG where OPTIONS has none.
        config: those of CONFIG alone, for errors.

    Raises:
        AotbuildError: a text stands for no value of the option's type; all such at once.
    """
    known = inductor_config._config  # type: ignore[attr-defined]
    result: dict[str, object] = {}
    problems = []
    for name, text in options.items():
        keyword = "CONFIG" if (config or {}).get(name) == text else "OPTIONS"
        if name not in known or not _is_checked(known[name].value_type):
            result[name] = values.parse(text)
            continue
        try:
            result[name] = _converted(known[name].value_type, text)
        except ValueError:
            kind, remedy = _described(known[name].value_type)
            problems.append(
                f"{keyword} {name}={text}: the option is {kind}, and {text!r} is no such value; write {remedy}"
            )
    if problems:
        raise AotbuildError("\n".join(problems))
    return result


def refuse_unknown(options: Mapping[str, Any]) -> None:
    """Refuses names that TorchInductor does not have.

    Raises:
        AotbuildError: the first of them, with the nearest that there is.
    """
    known = inductor_config._config  # type: ignore[attr-defined]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise AotbuildError(f"OPTIONS {name}: torch._inductor.config has no such option{hint}")


def _members(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def _is_checked(kind: Any) -> bool:
    """Whether the type says what is a value: an option whose default is None, without a type, takes anything."""
    return kind not in (None, type(None), Any)


def _is_written(member: Any) -> bool:
    """Whether a text may stand for a value of the type: not for functions and objects."""
    origin = typing.get_origin(member) or member
    return origin is typing.Literal or origin is str or (isinstance(origin, type) and origin in _WRITTEN)


def _converted(kind: Any, text: str) -> object:
    """The value of a text for an option of a type; strings last, as every text is one."""
    members = _members(kind)
    if not all(map(_is_written, members)):  # a list of functions is none of words
        members = (type(None),) if type(None) in members else ()
    for member in sorted(members, key=lambda member: member is str):
        try:
            return _member_value(member, text)
        except ValueError:
            continue
    raise ValueError(text)


def _member_value(member: Any, text: str) -> object:
    value = values.parse(text)
    origin = typing.get_origin(member) or member
    if origin is typing.Literal:
        return _one_of(typing.get_args(member), value, text)
    if member is str:
        return value if isinstance(value, str) else text
    if member is bool and type(value) is int and value in (0, 1):
        return bool(value)
    if member is float and type(value) is int:
        return float(value)
    if origin in (list, tuple) and isinstance(value, (list, tuple)):
        return origin(value)
    if isinstance(origin, type) and origin in _WRITTEN and type(value) is origin:
        return value
    raise ValueError(text)


def _one_of(choices: tuple[Any, ...], value: object, text: str) -> object:
    for choice in choices:
        if (type(choice) is type(value) and choice == value) or choice == text:
            return choice
    raise ValueError(text)


def _described(kind: Any) -> tuple[str, str]:
    """What an option is, and what to write."""
    members = _members(kind)
    if not all(map(_is_written, members)):
        return "what only Python code can give", "none, or leave it out"
    kinds, remedies = [], []
    for member in members:
        origin = typing.get_origin(member) or member
        if origin is typing.Literal:
            kinds.append("one of a few words")
            remedies.append(", ".join(map(str, typing.get_args(member))))
        elif origin in _WRITTEN:
            kinds.append(_WRITTEN[origin][0])
            remedies.append(_WRITTEN[origin][1])
    return " or ".join(kinds), " or ".join(remedies)
