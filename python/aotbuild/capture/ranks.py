"""Ranks of a model for several GPUs, captured in one process: collectives in the graph, and their values for tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, fx
from torch.export import ExportedProgram
from torch.fx import _pytree as fx_pytree

from aotbuild.capture.frames import model_frame
from aotbuild.spec.errors import AotbuildError


@contextlib.contextmanager
def process_group(rank: int, world_size: int) -> Iterator[None]:
    """The default process group is that of ``rank`` among ``world_size``, of which nothing else exists.

    Its collectives compute nothing; exporting records them. ``world_size`` 0: nothing happens.

    Raises:
        AotbuildError: the process has a process group already.
    """
    if world_size == 0:
        yield
        return
    if not distributed.is_available():
        raise AotbuildError("WORLD_SIZE needs a PyTorch with torch.distributed")
    if distributed.is_initialized():
        raise AotbuildError(
            "WORLD_SIZE: the process has a process group already; the generator makes one for each rank before it "
            "calls the model file"
        )
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world_size)
    try:
        yield
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def refuse_collectives(program: ExportedProgram, target: str) -> None:
    """Called with the process group that the model was exported with.

    Raises:
        AotbuildError: a collective that the runtime lacks, with the line of the model.
    """
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
            problem = _problem(node) if _is_collective(node) else ""
            if problem:
                where = model_frame(node.meta.get("stack_trace"))
                raise AotbuildError(f"{target}: {problem}" + (f"\n  at {where}" if where else ""))


def _is_collective(node: fx.Node) -> bool:
    return getattr(node.target, "namespace", "") == "_c10d_functional"


def _name_of(node: fx.Node) -> str:
    operator: Any = node.target
    return str(operator._schema.name).partition("::")[2]


def _problem(node: fx.Node) -> str:
    name, (source, *arguments) = _name_of(node).rstrip("_"), node.args
    if name == "wait_tensor":
        return ""
    if name not in _COLLECTIVES:
        return f"the collective {name} is none of {', '.join(_COLLECTIVES)}"
    of_world: Any = distributed.distributed_c10d
    size, world_size = of_world._resolve_process_group(arguments[-1]).size(), distributed.get_world_size()
    if size != world_size:
        return f"{name} is over {size} of {world_size} ranks; write it over all of them"
    if name in ("all_reduce", "reduce_scatter_tensor"):
        return _problem_of_reduction(str(arguments[0]), source.meta["val"].dtype)  # type: ignore[union-attr]
    parts = arguments[:-1] if name == "all_to_all_single" else ()
    sizes = {str(getattr(size, "meta", {}).get("val", size)) for split in parts for size in split}  # type: ignore[union-attr]
    return (
        f"all_to_all_single has parts of {', '.join(sorted(sizes))} rows; write equal parts" if len(sizes) > 1 else ""
    )


def _problem_of_reduction(by: str, dtype: torch.dtype) -> str:
    if by.lower() not in _REDUCTIONS:
        return f"the reduction {by!r} of a collective is none of {', '.join(_REDUCTIONS)}"
    if dtype not in _REDUCED:
        return f"NCCL reduces no {str(dtype).removeprefix('torch.')}; cast before the collective and after it"
    return ""


class Lockstep(torch.nn.Module):
    """All ranks of a model, run on the same inputs node by node, with the collectives between them; eager's values.

    ``ranks``: the exported modules, of one graph. A call gives what ``rank`` gives.
    """

    def __init__(self, ranks: Sequence[fx.GraphModule], rank: int) -> None:
        super().__init__()
        self.ranks = torch.nn.ModuleList(ranks)  # copied and cast with this module
        self.rank = rank

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Takes and gives what the module itself does."""
        runs = [_Rank(module, args, kwargs) for module in self.ranks]
        for nodes in zip(*(run.graph.nodes for run in runs), strict=True):
            if _is_collective(nodes[0]):
                self._collective(nodes, runs)
            else:
                for node, run in zip(nodes, runs):
                    run.env[node] = run.run_node(node)
        graph = runs[self.rank].graph
        return graph.process_outputs(runs[self.rank].env[graph.output_node()])

    def _collective(self, nodes: Sequence[fx.Node], runs: Sequence[_Rank]) -> None:
        calls = [run.fetch_args_kwargs_from_env(node) for node, run in zip(nodes, runs)]
        name = _name_of(nodes[0])
        given = [arguments[0] for arguments, _ in calls]
        if name == "wait_tensor":
            results = given
        else:
            results = _COLLECTIVES[name.rstrip("_")](given, *calls[0][0][1:])
            if name.endswith("_"):
                results = [tensor.copy_(value) for tensor, value in zip(given, results)]
        for node, run, result in zip(nodes, runs, results):
            run.env[node] = result


class _Rank(fx.Interpreter):
    """One rank's run, with its inputs in place."""

    graph: fx.Graph

    def __init__(self, module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        super().__init__(module, garbage_collect_values=False)
        spec = module.graph._codegen.pytree_info.in_spec
        self.args_iter = iter(fx_pytree.tree_flatten_spec((args, dict(kwargs)), spec))


_Values = Sequence[Tensor]
# What NCCL computes with. It would add booleans as bytes.
_REDUCED = frozenset(
    (
        *(torch.int8, torch.uint8, torch.int32, torch.uint32, torch.int64, torch.uint64),
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    )
)
_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda values: values.sum(0, dtype=values.dtype),
    "product": lambda values: values.prod(0, dtype=values.dtype),
    "max": lambda values: values.amax(0),
    "min": lambda values: values.amin(0),
    "avg": lambda values: values.mean(0, dtype=values.dtype),
}


def _reduced(values: _Values, by: str) -> Tensor:
    return _REDUCTIONS[by.lower()](torch.stack(list(values)))


def _all_reduce(values: _Values, by: str, _: str) -> list[Tensor]:
    return [_reduced(values, by).clone() for _ in values]


def _all_gather(values: _Values, *_: Any) -> list[Tensor]:
    return [torch.cat(list(values)) for _ in values]


def _reduce_scatter(values: _Values, by: str, *_: Any) -> list[Tensor]:
    return [part.clone() for part in _reduced(values, by).chunk(len(values))]


def _broadcast(values: _Values, root: int, _: str) -> list[Tensor]:
    return [values[root].clone() for _ in values]


def _all_to_all(values: _Values, *_: Any) -> list[Tensor]:
    parts = [value.chunk(len(values)) for value in values]
    return [torch.cat([part[rank] for part in parts]) for rank in range(len(values))]


_COLLECTIVES: dict[str, Callable[..., list[Tensor]]] = {
    "all_reduce": _all_reduce,
    "all_gather_into_tensor": _all_gather,
    "reduce_scatter_tensor": _reduce_scatter,
    "broadcast": _broadcast,
    "all_to_all_single": _all_to_all,
}
