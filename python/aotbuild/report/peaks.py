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


# For the GPUs of target.CUDA_ARCHITECTURES, by compute capability as in "sm_90".
PEAKS: dict[str, Peak] = {
    "75": Peak("Tesla T4", 320e9, 8.1e12, 65e12, "NVIDIA T4 datasheet"),
    "80": Peak("A100 SXM4 40 GB", 1555e9, 19.5e12, 312e12, "NVIDIA A100 datasheet"),
    "86": Peak("A10", 600e9, 31.2e12, 125e12, "NVIDIA A10 datasheet"),
    "89": Peak("L40S", 864e9, 91.6e12, 362e12, "NVIDIA L40S datasheet"),
    "90": Peak("H100 SXM5 80 GB", 3350e9, 66.9e12, 989.4e12, "NVIDIA H100 whitepaper and datasheet"),
    "100": Peak("B200", 8000e9, 75e12, 2250e12, "NVIDIA HGX B200 datasheet, an eighth of the board"),
    "120": Peak("GeForce RTX 5090", 1792e9, 104.8e12, 209.5e12, "NVIDIA RTX Blackwell whitepaper"),
}


def peak_of(architecture: str) -> Peak | None:
    """The peaks for "sm_90" or "compute_80"."""
    return PEAKS.get(architecture.partition("_")[2])
