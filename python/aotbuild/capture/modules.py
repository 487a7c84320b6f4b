"""Modules for export: a function, or one method of a module, as a module of its own."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

import torch

from aotbuild.spec.errors import AotbuildError
from aotbuild.spec.model import Model


class _FunctionModule(torch.nn.Module):
    """A plain function as a module, so that it can be exported."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.forward = named_forward(function)


def named_forward(function: Any) -> Any:
    """The function with code that is called forward: export records source lines of frames of that name only."""
    if not isinstance(function, FunctionType):
        return function if isinstance(function, MethodType) else _python_function(function)
    code = function.__code__.replace(co_name="forward")
    copy = FunctionType(code, function.__globals__, "forward", function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _python_function(function: Callable[..., Any]) -> Any:
    """What calls a function of C, an operator, a partial function or an object; its signature where there is one."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    with contextlib.suppress(ValueError, TypeError):
        signature = inspect.signature(function)
        if not isinstance(function, torch._ops.OpOverload):  # whose signature is that of any operator
            forward.__signature__ = signature  # type: ignore[attr-defined]
    return forward


def as_module(model: Model) -> torch.nn.Module:
    """The model's module in evaluation mode; a plain function becomes a module."""
    module = model.module
    if not isinstance(module, torch.nn.Module):
        if not callable(module):
            raise AotbuildError(f"MODEL: the model is a {type(module).__name__}, not a module or function")
        module = _FunctionModule(module)
    with contextlib.suppress(NotImplementedError):  # of ExportedProgram.module(), which has one mode
        module.eval()
    return module


def method_module(module: Any, name: str) -> torch.nn.Module:
    """A module with the parameters, buffers and submodules of ``module`` whose ``forward`` is one of its methods."""
    method = getattr(module, name)
    instance: torch.nn.Module = copy.copy(module)
    function = getattr(method, "__func__", method)
    bound = MethodType(named_forward(function), instance) if isinstance(function, FunctionType) else method
    instance.__dict__["forward"] = bound
    return instance


@contextlib.contextmanager
def buffers_kept(module: torch.nn.Module) -> Iterator[None]:
    """Gives the module's buffers their values back at the end."""
    state = {key: value.clone() for key, value in module.named_buffers()}
    yield
    for key, value in module.named_buffers():
        value.data.copy_(state[key])
