"""Source lines: which files are the user's, and where in the model's code a node or an error comes from."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch


def _library_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    roots = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    roots.add(str(Path(torch.__file__).parent.parent))
    roots.add(str(Path(__file__).parents[1]))
    return tuple(os.path.realpath(root) + os.sep for root in roots)


def is_project_file(filename: str | None) -> bool:
    """Whether a file is the user's: neither Python's, nor an installed package's, nor aotbuild's own."""
    if not filename or filename.startswith("<"):
        return False
    real = os.path.realpath(filename)
    return not real.startswith(_library_roots())


def project_files(modules: Iterable[str]) -> Iterator[Path]:
    for name in modules:
        module = sys.modules.get(name)
        filename = getattr(module, "__file__", None)
        if filename and is_project_file(filename):
            yield Path(os.path.abspath(filename))


def user_line(trace: Any) -> str | None:
    """The last line of the user's own code in a traceback, as "file:line in function: code"."""
    for frame in reversed(traceback.extract_tb(trace)):
        if is_project_file(frame.filename):
            return f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
    return None


def user_frame(stack_trace: str | None) -> str | None:
    """The last line of the user's own code in the text of a traceback, in the same form."""
    return _last_frame(stack_trace, lambda file: is_project_file(file) and not _PACKAGES.search(file))


def model_frame(stack_trace: str | None) -> str | None:
    """The last line of the model's code, which may be another library's, in the text of a traceback."""
    torch_folder = str(Path(torch.__file__).parent)
    return _last_frame(stack_trace, lambda file: not file.startswith(torch_folder) and not _TORCH.search(file))


# Of whichever environment a program was exported in.
_PACKAGES = re.compile(r"/(?:site|dist)-packages/")
_TORCH = re.compile(r"/(?:site|dist)-packages/torch/")


def _last_frame(stack_trace: str | None, counts: Callable[[str], bool]) -> str | None:
    # A frame without its code is from a notebook, a shell or a file that was not there.
    frames = re.findall(r'File "([^"]+)", line (\d+), in (\S+)(?:\n(?!\s*File ")\s*(.+))?', stack_trace or "")
    own = [frame for frame in frames if counts(frame[0])] or frames
    return "{}:{} in {}: {}".format(*own[-1]).removesuffix(": ") if own else None


_DIVISIONS = frozenset({"div", "floor_divide", "remainder", "fmod"})


def division_place(node: torch.fx.Node | None) -> str | None:
    """Where a division of integers is in the model's code, without the folder; None for other nodes."""
    name = getattr(getattr(node, "target", None), "overloadpacket", None)
    if node is None or name is None or name.__name__.removesuffix("_") not in _DIVISIONS:
        return None
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.dtype.is_floating_point or value.dtype.is_complex:
        return None
    place = model_frame(node.meta.get("stack_trace"))
    return re.sub(r"^[^:]*/", "", place) if place is not None else None


def node_places(program: torch.export.ExportedProgram) -> list[str | None]:
    """Where each node of the exported program, those of its subgraphs included, is in the model's code."""
    modules = (module for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule))
    return [model_frame(node.meta.get("stack_trace")) for module in modules for node in module.graph.nodes]


def node_numbers(program: torch.export.ExportedProgram) -> dict[str, int]:
    """The first node from each place in the model's code, as an index into ``node_places``.

    What is kept of a lowering refers to places so: an edit elsewhere in the file moves lines, and no nodes.
    """
    places = node_places(program)
    return {place: number for number, place in reversed(list(enumerate(places))) if place is not None}
