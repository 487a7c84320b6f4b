"""WORLD_SIZE: models whose ranks run on a GPU each."""

from __future__ import annotations

from aotbuild.spec.words import Call

MOST_RANKS = 1024


def check_world_size(call: Call, on_gpu: bool) -> None:
    """Adds what is wrong with WORLD_SIZE to the call's problems."""
    value = call.one("WORLD_SIZE")
    if not value:
        return
    if not (value.isascii() and value.isdigit() and len(value) <= 4 and 2 <= int(value) <= MOST_RANKS):
        call.problem(f'WORLD_SIZE "{value}" is no number of GPUs; write one from 2 to {MOST_RANKS}')
    if not on_gpu:
        call.problem("WORLD_SIZE needs DEVICE cuda")
    if call.one("WEIGHTS", "EMBED") != "FILE":
        call.problem("WORLD_SIZE needs WEIGHTS FILE: each rank reads a file of its own")
    if call.one("MODEL").endswith(".pt2"):
        call.problem("WORLD_SIZE needs the module, which a .pt2 file has no more; name a callable")
    for keyword, what in (
        ("WEIGHTS_SHA256", "it knows one file, and each rank has its own"),
        ("BENCHMARK", "its program has one rank"),
        ("QUANTIZE", "it does not know of ranks yet"),
        ("PYTHON_MODULE", "create the ranks in C++"),
    ):
        if call.has(keyword):
            call.problem(f"{keyword} is not for models with WORLD_SIZE: {what}; leave it out")
