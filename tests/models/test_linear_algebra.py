"""Linear algebra and Fourier transforms: what does not depend on the algorithm, in batches; singular matrices."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import aotbuild


def decompositions(a: Tensor, b: Tensor, spectrum: Tensor) -> tuple[Tensor, ...]:
    """``a``: square matrices, ``b``: matrices with more rows than columns."""
    symmetric = a @ a.mT + 3 * torch.eye(a.shape[-1], dtype=a.dtype)
    left, values, right = torch.linalg.svd(b, full_matrices=False)
    full_left, _, full_right = torch.linalg.svd(b)
    eigenvalues, vectors = torch.linalg.eigh(symmetric)
    complex_values, complex_vectors = torch.linalg.eig(a)
    residual = torch.complex(a, torch.zeros_like(a)) @ complex_vectors - complex_vectors * complex_values.unsqueeze(-2)
    q, r = torch.linalg.qr(b, mode="complete")
    factor = torch.linalg.cholesky(symmetric, upper=True)
    lu, pivots = torch.linalg.lu_factor(a)
    p, lower, upper = torch.lu_unpack(lu, pivots)
    return (
        *(torch.linalg.inv(a), torch.linalg.det(a), *torch.linalg.slogdet(a), torch.linalg.pinv(b)),
        *(
            torch.linalg.solve(a, b.mT @ b @ a),
            torch.linalg.solve(a, a[..., 0]),
            torch.linalg.solve(a, a.mT, left=False),
        ),
        *(left @ torch.diag_embed(values) @ right, values, full_left.mT @ full_left, full_right @ full_right.mT),
        *(vectors @ torch.diag_embed(eigenvalues) @ vectors.mT, eigenvalues, residual.abs(), q @ r, r.abs(), q.mT @ q),
        *(factor, torch.cholesky_inverse(factor, upper=True), p @ lower @ upper, torch.linalg.lu_solve(lu, pivots, a)),
        *(torch.linalg.lu_solve(lu, pivots, a, left=False, adjoint=True), torch.linalg.matrix_exp(a)),
        torch.linalg.solve_triangular(upper, a, upper=True),
        torch.linalg.solve_triangular(lower, a, upper=False, left=False, unitriangular=True),
        *(torch.fft.fft(spectrum).abs(), torch.fft.irfft(torch.fft.rfft(spectrum), n=spectrum.shape[-1])),
    )


def both_precisions(*inputs: Tensor) -> tuple[Tensor, ...]:
    of_half_zeros = torch.linalg.matrix_exp((inputs[0] * 0).bfloat16()).float()
    return (*decompositions(*inputs), *decompositions(*(tensor.double() for tensor in inputs)), of_half_zeros)


@pytest.mark.slow
def test_decompositions_solvers_and_transforms_give_eagers_results(tmp_path: Path) -> None:
    torch.manual_seed(0)
    # A length with a large prime factor is a transform of its own.
    inputs = (torch.randn(2, 3, 5, 5), torch.randn(2, 3, 7, 5), torch.randn(2, 3, 2 * 101))
    model = aotbuild.compile(both_precisions, inputs, output_dir=tmp_path).runner
    # Eager's exponential of several matrices of 16-bit numbers is memory that nothing was written to.
    results = (*both_precisions(*inputs)[:-1], torch.eye(5).expand(2, 3, 5, 5))
    for actual, expected in zip(model(*inputs), results, strict=True):
        tolerance = 2e-4 if actual.dtype == torch.float32 else 1e-10
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)

    singular = inputs[0].clone()
    singular[1, 2] = 1
    with pytest.raises(aotbuild.Error, match=r"linalg\.\w+: matrix 5 of the batch is singular"):
        model(singular, *inputs[1:])
