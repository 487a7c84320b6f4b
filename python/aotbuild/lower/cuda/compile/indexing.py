"""Index checks of GPU kernels: an index out of bounds is reported by the call, and the device goes on.

TorchInductor asserts on the device. An assertion that fails there takes the process's context with it, and with that
every other model on the device. Here the kernel puts 0 in the place of the index, and a number that stands for its own
name where the runtime looks after the call (``context_index_error`` of detail/cuda_spec.hpp).
"""

from __future__ import annotations

import re

# The parameter of kernels that check indices.
INDEX_ERROR = "index_error"

_ASSERTION = re.compile(
    r'^(?P<indent> *)tl\.device_assert\((?P<condition>.*), "index out of bounds: (?P<bounds>[^"]*)"\)$', re.MULTILINE
)


def report_index_errors(name: str, source: str) -> str:
    """The source of a Triton kernel, as TorchInductor writes it, with reports in the place of assertions on indices."""
    code = _code(name)

    def report(match: re.Match[str]) -> str:
        indent, condition, bounds = match["indent"], match["condition"], match["bounds"]
        limits = re.fullmatch(r"(?:(?P<lower>\S+) <= )?(?P<index>.+?)(?: < (?P<upper>.+))?", bounds)
        assert limits is not None, match[0]
        stored = f"{indent}tl.store({INDEX_ERROR} + tl.where({condition}, 0, 0), {code}, mask=~({condition}))"
        loaded = set(re.findall(r"\btmp\d+\b", limits["index"]))
        if not loaded:  # an expression of places and sizes, which is in bounds wherever the sizes are
            return stored
        (index,) = loaded
        conditions = [f"({limits['lower']} <= {index})"] if limits["lower"] else []
        conditions += [f"({index} < {limits['upper']})"] if limits["upper"] else []
        return f"{stored}\n{indent}{index} = tl.where({' & '.join(conditions)}, {index}, 0)"

    source, count = _ASSERTION.subn(report, source)
    if count == 0:
        return source
    source, signatures = re.subn(r"('signature': \{[^}]*)\}", rf"\1, '{INDEX_ERROR}': '*i32'}}", source)
    source, functions = re.subn(rf"^(def {name}\(.*)\):$", rf"\1, {INDEX_ERROR}):", source, flags=re.MULTILINE)
    assert signatures == functions == 1, source
    return source


def _code(name: str) -> int:
    """What stands for a kernel's name (FNV-1a, 31 bits, never 0): ``index_error_code`` of cuda_kernels.cpp."""
    value = 2166136261
    for byte in name.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value >> 1 | 1
