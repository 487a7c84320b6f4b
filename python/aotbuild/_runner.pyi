import os
from collections.abc import Mapping
from typing import Any

class Error(RuntimeError):
    status: str

class Runner:
    def __init__(
        self,
        path: str,
        *,
        weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        num_threads: int = 0,
        device: int | None = None,
        cuda_graphs: int = 0,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def load_weights(self, weights: str | os.PathLike[str] | Mapping[str, Any]) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def statistics(self) -> dict[str, Any]: ...
    @property
    def signature(self) -> str: ...
    @property
    def manifest(self) -> dict[str, Any]: ...
