"""Hand-written Triton kernels on the CPU: what reference outputs are made from."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

import triton
import triton.language as tl

from aotbuild.capture import triton_kernels

pytestmark = pytest.mark.quick


@triton.jit
def exponential(x):  # type: ignore[no-untyped-def]
    return tl.exp(x)


@triton.jit  # type: ignore[untyped-decorator]
def softmax_rows(x, out, columns, block: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0) * columns + tl.arange(0, block)
    mask = tl.arange(0, block) < columns
    values = tl.load(x + at, mask, other=-float("inf"))
    raised = exponential(values - tl.max(values, 0))
    tl.store(out + at, raised / tl.sum(raised, 0), mask)


@triton.jit  # type: ignore[untyped-decorator]
def square(a, out, size: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.arange(0, size)[:, None] * size + tl.arange(0, size)[None, :]
    values = tl.load(a + at)
    tl.store(out + at, tl.dot(values, values).to(out.dtype.element_ty))


@triton.autotune(  # type: ignore[untyped-decorator]
    configs=[triton.Config({"block": 16}, num_warps=2), triton.Config({"block": 32})], key=["count"]
)
@triton.jit  # type: ignore[untyped-decorator]
def write_block(out, count, block: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0) * block + tl.arange(0, block)
    tl.store(out + at, block, at < count)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_kernels_compute_what_they_would_on_a_gpu(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, a = torch.randn(3, 10).to(dtype), torch.randn(16, 16).to(dtype)
    # Two tensors of one storage: what is written to one is seen in the other.
    both = torch.zeros(2, 3, 10, dtype=dtype)
    squared = torch.empty_like(a)
    with triton_kernels.interpreted():
        softmax_rows[(3,)](x, both[0], 10, block=16)
        softmax_rows[lambda meta: (3,)](both[0], both[1], 10, block=16)
        square[(1,)](a, squared, size=16)
    torch.testing.assert_close(both[0], x.softmax(-1))
    torch.testing.assert_close(both[1], both[0].softmax(-1))
    torch.testing.assert_close(squared.float(), a.float() @ a.float(), rtol=1e-2, atol=4e-2)


def test_the_first_configuration_is_taken_and_empty_grids_do_nothing() -> None:
    out = torch.zeros(40)
    with triton_kernels.interpreted():
        write_block[lambda meta: (triton.cdiv(0, meta["block"]),)](out, 0)
        assert not out.any()
        write_block[lambda meta: (triton.cdiv(40, meta["block"]),)](out, 40)
    assert (out == 16).all()
