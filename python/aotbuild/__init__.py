"""PyTorch models as ordinary CMake targets."""

from __future__ import annotations

TYPE_CHECKING = False  # a plan loads this module, and `typing` takes longer than all else that it loads
if TYPE_CHECKING:
    from typing import Any

    from aotbuild.api.compile import Compiled, compile
    from aotbuild.api.runner import Error, Runner, load
    from aotbuild.capture.custom_kernels import register_kernel
    from aotbuild.spec.errors import AotbuildError
    from aotbuild.spec.model import Method, Model

__version__ = "0.1.0"
__all__ = [
    "AotbuildError",
    "Compiled",
    "Error",
    "Method",
    "Model",
    "Runner",
    "__version__",
    "compile",
    "load",
    "register_kernel",
]

# Loaded when first used, so that a model file needs no compiled module.
_MODULES = {
    "AotbuildError": "aotbuild.spec.errors",
    "Compiled": "aotbuild.api.compile",
    "Error": "aotbuild.api.runner",
    "Method": "aotbuild.spec.model",
    "Model": "aotbuild.spec.model",
    "Runner": "aotbuild.api.runner",
    "compile": "aotbuild.api.compile",
    "load": "aotbuild.api.runner",
    "register_kernel": "aotbuild.capture.custom_kernels",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value
