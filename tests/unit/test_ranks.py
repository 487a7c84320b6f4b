"""Ranks of a model for several GPUs, captured in one process: eager's values of each, and what ranks may not do."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from aotbuild.generate.model import _captured
from aotbuild.generate.progress import Progress
from aotbuild.generate.request import CapturedModel, GenerateRequest
from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.program import EmitOptions, TensorData

HEAD = """\
import aotbuild
import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as collectives
"""

EVERY_COLLECTIVE = """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(4.0) + 10 * dist.get_rank())

    def forward(self, x):
        y, world = x * self.weight, dist.group.WORLD
        return {
            **{by: collectives.all_reduce(y, by, world) for by in ("sum", "product", "max", "min", "avg")},
            "gathered": collectives.all_gather_tensor(y, 0, world),
            "columns": collectives.all_gather_tensor(y.reshape(2, 2), 1, world),
            "scattered": collectives.reduce_scatter_tensor(y, "sum", 0, world),
            "exchanged": collectives.all_to_all_single(y, None, None, world),
            "broadcast": collectives.broadcast(y, 1, world),
        }

def build():
    return Net(), (torch.full((4,), 2.0),)
"""

STATEFUL = """
class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(2))
        self.step = torch.nn.Parameter(torch.full((2,), 1.0 + dist.get_rank()))

    def add(self, x):
        self.total += x * self.step
        return self.total.clone()

    def read(self):
        return collectives.all_reduce(self.total, "sum", dist.group.WORLD)

def build():
    return aotbuild.Model(Counter(), methods={
        "add": aotbuild.Method((torch.ones(2),)), "read": aotbuild.Method()})
"""


def captured(tmp_path: Path, text: str, *methods: str, world_size: int = 2) -> CapturedModel:
    (tmp_path / "net.py").write_text(HEAD + text)
    request = GenerateRequest(
        "net.py:build",
        EmitOptions("net"),
        tmp_path,
        tmp_path / "stamp",
        source_dir=tmp_path,
        methods=methods,
        device="cuda",
        world_size=world_size,
    )
    with ExitStack() as stack:
        return _captured(request, Progress("net", quiet=True), stack)


def values(tensor: TensorData) -> list[float]:
    return torch.frombuffer(tensor.data, dtype=torch.float32).tolist()


def test_golden_values_are_those_of_each_rank(tmp_path: Path) -> None:
    method = captured(tmp_path, EVERY_COLLECTIVE).methods["run"]
    (case,) = method.golden
    names = [spec.name for spec in method.signature.outputs]
    first, second = (dict(zip(names, map(values, rank.outputs))) for rank in (case, *case.ranks))
    mine, theirs = [0.0, 2.0, 4.0, 6.0], [20.0, 22.0, 24.0, 26.0]
    for both in (first, second):
        assert both["sum"] == [20, 24, 28, 32]
        assert both["product"] == [0, 44, 96, 156]
        assert both["max"] == both["broadcast"] == theirs
        assert both["min"] == mine
        assert both["avg"] == [10, 12, 14, 16]
        assert both["gathered"] == mine + theirs
        assert both["columns"] == [0, 2, 20, 22, 4, 6, 24, 26]
    assert (first["scattered"], second["scattered"]) == ([20, 24], [28, 32])
    assert (first["exchanged"], second["exchanged"]) == ([0, 2, 20, 22], [4, 6, 24, 26])


def test_methods_of_each_rank_share_its_state(tmp_path: Path) -> None:
    found = captured(tmp_path, STATEFUL, "add", "read")
    session = {name: [values(rank.outputs[0]) for rank in (case, *case.ranks)] for name, case in found.session[2:]}
    assert session == {"add": [[2, 2], [4, 4]], "read": [[6, 6], [6, 6]]}


def test_four_ranks_differ_in_their_weights(tmp_path: Path) -> None:
    found = captured(tmp_path, EVERY_COLLECTIVE, world_size=4)
    ranks = [found.methods, *found.ranks]
    assert [float(rank["run"].program.state_dict["weight"][0]) for rank in ranks] == [0, 10, 20, 30]


NET = """
class Net(torch.nn.Module):
    def forward(self, x):
        return {forward}

def build():
    return Net(), (torch.ones(4),)
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            NET.replace("{forward}", "collectives.all_reduce(x + dist.get_rank(), 'sum', dist.group.WORLD)"),
            r"net: the graph of rank 1 is not that of rank 0: aten\.add\.Tensor\(x, 1\) where rank 0 has "
            r"aten\.add\.Tensor\(x, 0\)\. Ranks may differ in the values of parameters and buffers alone",
        ),
        (
            NET.replace("{forward}", "collectives.all_reduce(x * torch.tensor([1.0 + dist.get_rank()] * 4), 'sum', "
                        "dist.group.WORLD)"),
            r"net: the graph of rank 1 is not that of rank 0: a constant has other values",
        ),
        (
            NET.replace("{forward}", "collectives.all_reduce(x, 'band', dist.group.WORLD)"),
            r"net: the reduction 'band' of a collective is none of sum, product, max, min, avg\n  at .*net\.py:\d+",
        ),
        (
            NET.replace("{forward}", "collectives.all_reduce(x > 0, 'sum', dist.group.WORLD)"),
            r"net: NCCL reduces no bool; cast before the collective and after it\n  at .*net\.py:\d+",
        ),
        (
            NET.replace("{forward}", "collectives.all_to_all_single(x, [1, 3], [3, 1], dist.group.WORLD)"),
            r"net: all_to_all_single has parts of 1, 3 rows; write equal parts\n  at .*net\.py:\d+",
        ),
        (
            NET.replace("{forward}", "collectives.all_reduce(x, 'sum', dist.new_group([1]))"),
            r"net: all_reduce is over 1 of 2 ranks; write it over all of them\n  at .*net\.py:\d+",
        ),
        (
            NET.replace("{forward}", "collectives.all_reduce_coalesced([x, x], 'sum', dist.group.WORLD)"),
            r"net: the collective all_reduce_coalesced is none of all_reduce, ",
        ),
        (
            "dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)\n"
            + NET.replace("{forward}", "x"),
            r"importing it raised ValueError: trying to initialize the default process group twice",
        ),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AotbuildError, match=message):
        captured(tmp_path, text)
    assert not torch.distributed.is_initialized()
