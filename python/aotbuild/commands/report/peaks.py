"""What GPUs can do at most: the lines of a roofline, by architecture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peak:
    """Of one GPU: bytes a second, and operations a second in float32 and of float16 products on tensor cores.

    Tensor cores: dense, with sums in float32. ``source``: where NVIDIA says so.
    """

    device: str
    bandwidth: float
    float32: float
    tensor_cores: float
    source: str

    def reachable(self, intensity: float, tensor_cores: bool) -> float:
        """Operations a second for so many operations a byte."""
        return min(intensity * self.bandwidth, self.tensor_cores if tensor_cores else self.float32)


# For the GPUs of target.CUDA_ARCHITECTURES, by compute capability as in "sm_90". What NVIDIA gives for sparse matrices
# is halved here.
PEAKS: dict[str, Peak] = {
    "75": Peak("Tesla T4", 320e9, 8.1e12, 65e12, "NVIDIA T4 datasheet: 320 GB/s, FP32 8.1, mixed precision 65 TFLOPS"),
    "80": Peak(
        "A100 SXM4 40 GB",
        1555e9,
        19.5e12,
        312e12,
        "NVIDIA A100 datasheet: 1,555 GB/s, FP32 19.5, FP16 and BFLOAT16 Tensor Core 312 TFLOPS",
    ),
    "86": Peak("A10", 600e9, 31.2e12, 125e12, "NVIDIA A10 datasheet: 600 GB/s, FP32 31.2, FP16 Tensor Core 125 TFLOPS"),
    "89": Peak(
        "L40S", 864e9, 91.6e12, 362.05e12, "NVIDIA L40S datasheet: 864 GB/s, FP32 91.6, FP16 Tensor Core 362.05 TFLOPS"
    ),
    "90": Peak(
        "H100 SXM5 80 GB",
        3350e9,
        66.9e12,
        989.4e12,
        "NVIDIA H100 datasheet: 3.35 TB/s; H100 whitepaper, table of the H100 SXM5: FP32 66.9, FP16 Tensor Core with "
        "FP32 accumulation 989.4 TFLOPS",
    ),
    "100": Peak(
        "B200",
        7700e9,
        75e12,
        2250e12,
        "NVIDIA Blackwell datasheet, of HGX B200: 7.7 TB/s, FP32 75 TFLOPS, FP16 Tensor Core 4.5 PFLOPS sparse",
    ),
    "103": Peak(
        "B300",
        8000e9,
        75e12,
        2250e12,
        "published of HGX B300, a GPU: 8 TB/s, FP32 75 TFLOPS, FP16 Tensor Core 4.5 PFLOPS sparse",
    ),
    "120": Peak(
        "GeForce RTX 5090",
        1792e9,
        104.8e12,
        209.5e12,
        "NVIDIA RTX Blackwell whitepaper, table of the RTX 5090: 1,792 GB/s, FP32 104.8, FP16 Tensor with FP32 "
        "accumulation 209.5 TFLOPS",
    ),
}


def peak_of(architecture: str) -> Peak | None:
    """The peaks for "sm_90" or "compute_80"."""
    return PEAKS.get(architecture.partition("_")[2])
