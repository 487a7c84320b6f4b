"""The declared GPU, in the place of whatever GPU this machine has or lacks while TorchInductor generates code."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch._inductor.inductor_prims
from torch._dynamo import device_interface
from torch._subclasses import fake_tensor
from torch.utils import _pytree as pytree
from torch.utils._mode_utils import no_dispatch

from aotbuild.spec.target import CudaArchitecture
from aotbuild.spec.upstream import patched, patched_entries


def _properties(gpu: CudaArchitecture) -> SimpleNamespace:
    """What ``torch.cuda.get_device_properties`` returns on the declared GPU."""
    return SimpleNamespace(
        name=gpu.name,
        major=gpu.major,
        minor=gpu.minor,
        multi_processor_count=gpu.multi_processor_count,
        L2_cache_size=gpu.l2_cache_size,
        total_memory=gpu.total_memory,
        warp_size=32,
        regs_per_multiprocessor=65536,
        max_threads_per_block=1024,
        max_threads_per_multi_processor=gpu.max_threads_per_multi_processor,
        shared_memory_per_block=48 << 10,
        shared_memory_per_block_optin=gpu.shared_memory_per_block_optin,
        shared_memory_per_multiprocessor=gpu.shared_memory_per_multiprocessor,
        gcnArchName="",
    )


def _interface(gpu: CudaArchitecture) -> type[device_interface.CudaInterface]:
    """The declared GPU as TorchDynamo's abstraction of devices; nothing in it calls the CUDA driver."""
    properties = _properties(gpu)

    class DeclaredInterface(device_interface.CudaInterface):
        class Worker(device_interface.CudaInterface.Worker):
            @staticmethod
            def current_device() -> int:
                return 0

            @staticmethod
            def get_device_properties(device: torch.types.Device = None) -> Any:
                return properties

        @staticmethod
        def current_device() -> int:
            return 0

        @staticmethod
        def device_count() -> int:
            return 1

        @staticmethod
        def is_available() -> bool:
            return True

        @staticmethod
        def get_device_properties(device: torch.types.Device = None) -> Any:
            return properties

        @staticmethod
        def get_compute_capability(device: torch.types.Device = None) -> int | str:
            return gpu.capability

        @staticmethod
        def is_triton_capable(device: torch.types.Device = None) -> bool:
            return True

        @staticmethod
        def is_bf16_supported(including_emulation: bool = False) -> bool:
            return including_emulation or gpu.major >= 8

        @staticmethod
        def synchronize(device: torch.types.Device = None) -> None:
            pass

        @staticmethod
        def exchange_device(device: int) -> int:
            return 0

        @staticmethod
        def maybe_exchange_device(device: int) -> int:
            return 0

        @staticmethod
        def get_raw_stream(device_idx: int) -> int:
            return 0

    return DeclaredInterface


def _triton_driver(gpu: CudaArchitecture) -> Any:
    """Triton's active driver: it says what to compile for, and launches nothing."""
    from triton.backends.compiler import GPUTarget
    from triton.backends.driver import DriverBase

    class DeclaredDriver(DriverBase):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

        @classmethod
        def is_active(cls) -> bool:
            return True

        def map_python_to_cpp_type(self, ty: str) -> str:
            return ty

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", gpu.capability, 32)

        def get_active_torch_device(self) -> torch.device:
            return torch.device("cuda", 0)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int) -> int:
            return 0

        def get_benchmarker(self) -> Any:
            raise AssertionError("nothing is timed while a model is generated")

    return DeclaredDriver()


@contextlib.contextmanager
def declared(gpu: CudaArchitecture) -> Iterator[None]:
    """Makes "cuda" the declared GPU for code generation, so that its output is the same on every machine.

    ``torch.cuda.is_available`` is false throughout, on a machine with a GPU too: much of PyTorch takes it for leave to
    touch the device. TorchInductor asks the device interface, which says what is declared.
    """
    from torch._inductor import utils as inductor_utils
    from torch._inductor.runtime import triton_helpers
    from triton.runtime.driver import driver

    properties = _properties(gpu)
    interface = _interface(gpu)
    lookup_seed = torch.ops.prims.inductor_lookup_seed.default
    patches = {
        "is_available": lambda: False,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_properties": lambda device=None: properties,
        "get_device_capability": lambda device=None: (gpu.major, gpu.minor),
        "get_device_name": lambda device=None: gpu.name,
        "is_bf16_supported": interface.is_bf16_supported,
        "is_tf32_supported": lambda: gpu.major >= 8,
        "synchronize": lambda device=None: None,
    }
    device_interface.get_interface_for_device("cuda")  # registers the interfaces that the declared one stands in for
    registered = {key: interface for key in device_interface.device_interfaces if key.partition(":")[0] == "cuda"}
    _forget_devices()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_device_guard())
        stack.enter_context(patched(fake_tensor, "run_fallback_kernel", _result_on_cpu))
        for name, function in patches.items():
            stack.enter_context(patched(torch.cuda, name, function))
        stack.enter_context(patched_entries(device_interface, "device_interfaces", registered))
        # Templates are right on any GPU; upstream keeps them from those where autotuning would rarely choose them.
        stack.enter_context(patched(inductor_utils, "is_big_gpu", lambda index=0: True))
        stack.enter_context(patched(lookup_seed, "prim_meta_impl", _lookup_seed_meta))
        stack.enter_context(patched(triton_helpers, "set_driver_to_gpu", lambda: None))
        active = driver._active
        driver.set_active(_triton_driver(gpu))
        stack.callback(setattr, driver, "_active", active)
        stack.callback(_forget_devices)
        yield


@contextlib.contextmanager
def _device_guard() -> Iterator[None]:
    """Gives a PyTorch that was built without CUDA the meta device's guard for it, which does nothing.

    Indexing, ``~``, ``contiguous()``, ``copy_()`` and a few more ask for the guard of their tensor's device before fake
    tensors get to see the call, and fail where there is none. FakeTensorMode puts one that does nothing in the place of
    CUDA's, but only where PyTorch was built with CUDA.
    """
    from torch._C._autograd import DeviceType

    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    cuda, meta = DeviceType.CUDA.value, DeviceType.Meta.value
    guards = (ctypes.c_void_p * (max(cuda, meta) + 1)).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    if guards[cuda] is not None:
        yield
        return
    guards[cuda] = guards[meta]
    try:
        yield
    finally:
        guards[cuda] = None


def _result_on_cpu(mode: Any, operator: Any, leaves: Sequence[Any], spec: pytree.TreeSpec, error: RuntimeError) -> Any:
    """The sizes of an operator's results where only a kernel can tell them: upstream runs the GPU's, this the CPU's.

    No such operator becomes a Triton kernel; lowering refuses them all by name.
    """
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    vary = any(isinstance(size, torch.SymInt) for tensor in tensors for size in tensor.shape)
    if vary or torch.Tag.inplace_view in operator.tags:
        raise error
    cpu = torch.device("cpu")
    with no_dispatch():
        real = [
            torch.zeros(leaf.shape, dtype=leaf.dtype) if isinstance(leaf, torch.Tensor)
            else cpu if isinstance(leaf, torch.device) else leaf
            for leaf in leaves
        ]  # fmt: skip
        args, kwargs = pytree.tree_unflatten(real, spec)
        results = operator(*args, **kwargs)
    with mode:
        return pytree.tree_map_only(
            torch.Tensor, lambda t: torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="cuda:0"), results
        )


def _lookup_seed_meta(seeds: torch.Tensor, index: int) -> Any:
    """One random seed of several; upstream indexes a tensor of the device to find out."""
    from torch._prims import TensorMeta

    return TensorMeta(shape=(), strides=(), dtype=seeds.dtype, device=seeds.device)


def _forget_devices() -> None:
    """Clears what PyTorch has cached about devices: another one is there from now on."""
    device_interface.caching_worker_device_properties.pop("cuda", None)
    device_interface.caching_worker_current_devices.pop("cuda", None)
    for cached in _device_caches():
        cached.cache_clear()


def _device_caches() -> list[Any]:
    """Functions of PyTorch that remember an answer which depends on the device."""
    from torch._inductor import utils as inductor_utils
    from torch._inductor.kernel import mm
    from torch._inductor.runtime import hints
    from torch.utils import _triton

    found: list[Any] = [hints.DeviceProperties.create]
    for module in (inductor_utils, mm, _triton):
        found += [value for value in vars(module).values() if isinstance(value, functools._lru_cache_wrapper)]
    return found
