"""Ranks of a model for several GPUs, captured in one process: collectives in the graph, and their values for tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, fx
from torch.fx import _pytree as fx_pytree

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
            if getattr(nodes[0].target, "namespace", "") == "_c10d_functional":
                self._collective(nodes, runs)
            else:
                for node, run in zip(nodes, runs):
                    run.env[node] = run.run_node(node)
        graph = runs[self.rank].graph
        return graph.process_outputs(runs[self.rank].env[graph.output_node()])

    def _collective(self, nodes: Sequence[fx.Node], runs: Sequence[_Rank]) -> None:
        calls = [run.fetch_args_kwargs_from_env(node) for node, run in zip(nodes, runs)]
        operator: Any = nodes[0].target
        name = operator._schema.name.partition("::")[2]
        given = [arguments[0] for arguments, _ in calls]
        if name == "wait_tensor":
            results = given
        else:
            compute = _COLLECTIVES.get(name.rstrip("_"))
            if compute is None:
                raise AotbuildError(f"the collective {name} is none of {', '.join(_COLLECTIVES)}")
            results = compute(given, *calls[0][0][1:])
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
_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda values: values.sum(0, dtype=values.dtype),
    "product": lambda values: values.prod(0, dtype=values.dtype),
    "max": lambda values: values.amax(0),
    "min": lambda values: values.amin(0),
    "avg": lambda values: values.mean(0, dtype=values.dtype),
}


def _reduced(values: _Values, by: str) -> Tensor:
    if by.lower() not in _REDUCTIONS:
        raise AotbuildError(f"the reduction {by!r} of a collective is none of {', '.join(_REDUCTIONS)}")
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
