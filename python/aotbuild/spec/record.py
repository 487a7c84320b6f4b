"""Plain data without `dataclasses` and `typing`, which take longer to load than a plan takes to make."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from typing_extensions import dataclass_transform

    T = TypeVar("T")
else:

    def dataclass_transform(**_):
        return lambda function: function


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """Makes of a class what ``dataclass(frozen=True)`` would; the modules of a plan have this one."""
    names = tuple(cls.__annotations__)
    defaults = {name: value for name, value in vars(cls).items() if name in names}

    def init(self: object, *values: Any, **named: Any) -> None:
        given = dict(zip(names, values))
        fields = {**defaults, **given, **named}
        if len(values) > len(names) or given.keys() & named.keys() or fields.keys() != set(names):
            raise TypeError(f"{cls.__name__} takes {', '.join(names)}")
        vars(self).update(fields)

    def values_of(self: object) -> tuple[Any, ...]:
        return tuple(vars(self)[name] for name in names)

    def represent(self: object) -> str:
        return f"{cls.__name__}({', '.join(f'{name}={vars(self)[name]!r}' for name in names)})"

    def refuse(self: object, name: str, value: Any = None) -> None:
        raise AttributeError(f"{cls.__name__} is read only: {name}")

    methods = {
        "__init__": init,
        "__eq__": lambda self, other: vars(self) == vars(other) if type(self) is type(other) else NotImplemented,
        "__hash__": lambda self: hash(values_of(self)),
        "__repr__": represent,
        "__setattr__": refuse,
        "__delattr__": refuse,
    }
    for name, method in methods.items():
        setattr(cls, name, method)
    return cls
