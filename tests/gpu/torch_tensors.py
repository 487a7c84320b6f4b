"""``aotbuild.load()`` of CUDA models with torch tensors on a GPU.

    python tests/gpu/torch_tensors.py <folder of `make package-gpu-tests`>

Needs PyTorch for CUDA, aotbuild's runner, and the folder unpacked (``run.sh`` does that).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import aotbuild


def main(folder: Path) -> None:
    mlp = aotbuild.load(folder / "libmlp.so")
    decoder = aotbuild.load(folder / "libdecoder.so")
    scatter = aotbuild.load(folder / "libscatter.so")

    x = torch.randn(64, 512).half()
    expected = mlp(x)
    assert expected.device.type == "cpu"
    np.testing.assert_array_equal(mlp(x.numpy()), expected.numpy())
    for _ in range(3):  # with kernels, with the capture, with the graph
        result = mlp(x.cuda())
        assert result.is_cuda
        torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=0)
    assert mlp.statistics["graph_obstacle"] is None and mlp.statistics["graph_replays"] > 0

    # On the current stream, after what is queued there and before what follows; nothing waits in between, as x.cuda()
    # would: PyTorch waits for copies from memory that is not pinned. In the first of the rounds it loads its kernels,
    # which waits as well.
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    on_device = x.cuda()
    for _ in range(2):
        slow = torch.randn(4096, 4096, device="cuda")
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            for _ in range(50):
                slow = (slow @ slow).clamp(-1, 1)
            late = on_device + 0 * slow[0, 0].half()
            chained = mlp(mlp(late.requires_grad_())) + 1
            is_queued = not stream.query()
        stream.synchronize()
    assert is_queued, "the call has waited"
    torch.testing.assert_close(chained.cpu(), mlp(expected) + 1, rtol=0, atol=0)

    tokens = torch.randn(1, 77, 256).bfloat16()
    torch.testing.assert_close(decoder(tokens.cuda()).cpu(), decoder(tokens), rtol=0, atol=0)

    values, counts = torch.ones(500, 16), torch.zeros(100, dtype=torch.int64)
    scatter(values, torch.zeros(500, dtype=torch.int64), counts)
    problem = ""
    try:
        scatter(values, torch.full((500,), 5000), counts)
    except aotbuild.Error as error:
        problem = str(error)
    assert "was given an index out of bounds" in problem, problem
    torch.testing.assert_close(mlp(x.cuda()).cpu(), expected, rtol=0, atol=0)
    print("PASS torch tensors on a GPU")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
