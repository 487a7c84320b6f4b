"""The name of a kernel by its content: what is measured, whatever the kernel and its model are called."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Sequence

# Of what TorchInductor notes about a kernel, that which says what it computes; the rest are settings and labels.
_META = {"grid_type", "atomic_add_found", "autotune_hints", "RSPLIT_SIZE", "add_persistent_rblock", "combo_grid_meta"}
# Arguments of the heuristics that are themselves configurations, or names.
_CONFIGURATION = {"configs", "num_stages", "num_warps", "filename", "custom_kernel"}


def kernel_key(name: str, source: str, sizes: Iterable[Sequence[object]], tiles: Sequence[str]) -> str:
    """16 hexadecimal digits for a kernel's code, parameter types, constants and the sizes that it runs at.

    Args:
        name: the function in ``source`` that is the kernel.
        sizes: values of its scalar arguments, for each way that the model launches it.
        tiles: constants of the source that belong to a template's configuration.
    """
    parts = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef):
            parts.append(_function(statement, name, set(tiles)))
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            parts.append(ast.unparse(statement))
    parts.append(repr(sorted(repr(tuple(values)) for values in sizes)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _function(function: ast.FunctionDef, name: str, tiles: set[str]) -> str:
    body = [statement for statement in function.body if not _is_docstring(statement)]
    for statement in body:
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id in tiles:
            assert isinstance(statement, ast.AnnAssign)
            statement.value = ast.Constant(...)
    decorators = [_decorator(decorator) for decorator in function.decorator_list]
    shown = ast.FunctionDef(
        name="kernel" if function.name == name else function.name,
        args=function.args,
        body=body or [ast.Pass()],
        decorator_list=[],
    )
    return "\n".join([*decorators, ast.unparse(ast.fix_missing_locations(shown))])


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _decorator(decorator: ast.expr) -> str:
    if not isinstance(decorator, ast.Call):
        return ast.unparse(decorator)
    arguments = [ast.unparse(argument) for argument in decorator.args]
    for keyword in decorator.keywords:
        if keyword.arg in _CONFIGURATION:
            continue
        value = keyword.value
        if keyword.arg == "inductor_meta":
            value = _chosen(value, lambda entry: entry in _META)
        elif keyword.arg == "triton_meta":
            value = _chosen(value, lambda entry: entry != "device")
        arguments.append(f"{keyword.arg}={ast.unparse(value)}")
    return f"{ast.unparse(decorator.func)}({', '.join(arguments)})"


def _chosen(value: ast.expr, keep: Callable[[object], bool]) -> ast.expr:
    """A dictionary with the entries to keep, by name."""
    assert isinstance(value, ast.Dict)
    entries = [
        (entry.value, entry, item)
        for entry, item in zip(value.keys, value.values)
        if isinstance(entry, ast.Constant) and keep(entry.value)
    ]
    entries.sort(key=lambda found: str(found[0]))
    return ast.Dict([entry for _, entry, _ in entries], [item for _, _, item in entries])
