"""Which template takes what follows it into its kernel: every one can, and tuning finds those that are better alone."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch._inductor.config as inductor_config
from torch._inductor.scheduler import BaseSchedulerNode, SchedulerNode
from torch._inductor.virtualized import V

from aotbuild.capture import model_frame
from aotbuild.lower.cuda.compile.templates import TILES
from aotbuild.tuning.database import EPILOGUE_FUSION
from aotbuild.tuning.keys import kernel_key
from aotbuild.tuning.outcome import EpilogueTuning

# In OPTIONS: whether a bundle compares. It is TorchInductor's name for the choice by time, which it makes as it lowers.
OPTION = "benchmark_epilogue_fusion"
# What TorchInductor calls a kernel before it has a name.
_UNNAMED = "triton_"
_BUFFER = re.compile(r"'(\w+)'")
_SYMBOL = re.compile(r"\b(?:s|u|ks|ps)\d+\b")


@dataclass(frozen=True)
class Epilogue:
    """Templates that are alike in themselves and in what reads their results.

    ``fused``: what follows is part of their kernel. ``places``: of the model's code (see ``capture.model_frame``).
    """

    key: str
    fused: bool
    places: tuple[str, ...]


@contextlib.contextmanager
def scheduled(is_alone: Callable[[str], bool]) -> Iterator[dict[str, Epilogue]]:
    """Schedules with templates that take their epilogues, but for those whose keys ``is_alone`` answers True to.

    The keys are made of what there is before anything is fused, so they are the same whatever is answered.
    """
    found: dict[str, Epilogue] = {}
    keys: dict[BaseSchedulerNode, str] = {}

    def before(nodes: list[BaseSchedulerNode]) -> list[BaseSchedulerNode]:
        for node in nodes:
            if node.is_template() and any(_has_loops(reader) for reader in _readers(node)):
                keys[node] = _key(node)
                if is_alone(keys[node]):
                    V.graph.no_fuse_buffer_names.update(node.get_buffer_names())
        return nodes

    def after(nodes: list[BaseSchedulerNode]) -> list[BaseSchedulerNode]:
        for node in nodes:
            fused = len(node.get_nodes()) > 1
            for key, part in [(keys[part], part) for part in node.get_nodes() if part in keys]:
                known = found.get(key, Epilogue(key, False, ()))
                if fused or is_alone(key):
                    places = dict.fromkeys([*known.places, *_place(part)])
                    found[key] = Epilogue(key, fused or known.fused, tuple(places))
        return nodes

    passes = {"_pre_fusion_custom_pass": before, "_post_fusion_custom_pass": after}
    with inductor_config.patch(passes):
        yield found


def tuning_of(
    epilogues: Mapping[str, Epilogue],
    setting: Callable[[str], Mapping[str, Any] | None],
    architecture: str,
    places: Mapping[str, int],
) -> tuple[EpilogueTuning, ...]:
    """What became of the epilogues.

    Args:
        setting: what the database says for a key.
        places: nodes of the exported program by their places in the model's code.
    """
    found = []
    for epilogue in epilogues.values():
        line = setting(epilogue.key)
        reason = ""
        if line is not None and not isinstance(line.get(EPILOGUE_FUSION), bool):
            reason = f"the line of an epilogue has to say {EPILOGUE_FUSION}=false"
        origins = sorted({places[place] for place in epilogue.places if place in places})
        found.append(EpilogueTuning(architecture, epilogue.key, epilogue.fused, reason, tuple(origins)))
    return tuple(found)


def is_alone(line: Mapping[str, Any] | None) -> bool:
    """Whether a line of the database says that a template leaves its epilogue to other kernels."""
    return line is not None and line.get(EPILOGUE_FUSION) is False


def _readers(node: BaseSchedulerNode) -> Sequence[Any]:
    return [user.node for output in node.get_outputs() for user in output.users]


def _has_loops(node: Any) -> bool:
    return isinstance(node, SchedulerNode) and not node.is_template()


def _key(node: Any) -> str:
    """16 hexadecimal digits for a template, its sizes, and the loops that read its result, without names."""
    source = node.scheduler.generate_kernel_code_from_nodes([node], benchmark_kernel=False)
    hints = [V.graph.sizevars.optimization_hint(size, fallback=128) for size in node.node.get_size()]
    parts = [kernel_key(_UNNAMED, source, [tuple(map(int, hints))], TILES)]
    result = node.get_outputs()[0].get_name()
    for reader in _readers(node):
        parts.append(_loops(reader, result) if _has_loops(reader) else type(reader).__name__)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _loops(node: SchedulerNode, result: str) -> str:
    """The loops of a node as text; buffers and sizes are numbered as they come, the template's result is number 0."""
    text = str(node._body.debug_str())
    buffers = {result: 0}
    symbols: dict[str, int] = {}
    text = _BUFFER.sub(lambda found: _numbered(found[1], buffers) if _is_buffer(found[1]) else found[0], text)
    text = _SYMBOL.sub(lambda found: f"size{symbols.setdefault(found[0], len(symbols))}", text)
    types = [str(V.graph.get_dtype(name)) for name in buffers]
    return "\n".join([text, *types])


def _is_buffer(name: str) -> bool:
    return V.graph.try_get_buffer(name) is not None


def _numbered(name: str, numbers: dict[str, int]) -> str:
    return f"'buffer{numbers.setdefault(name, len(numbers))}'"


def _place(node: Any) -> list[str]:
    """Where the model calls a template: the first of the operators that it stands for is its own."""
    places = (model_frame(origin.meta.get("stack_trace")) for origin in node.node.origins)
    return [place for place in places if place][:1]
