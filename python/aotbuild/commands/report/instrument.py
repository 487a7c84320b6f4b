"""A run function that says where its time goes: a clock around each statement that calls a kernel."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

READER = "aotbuild_part_nanoseconds"
_CHECK = "AOTI_TORCH_ERROR_CODE_CHECK("
_LAYERS = {
    "context_linear": "linears",
    "context_mlp": "mlps",
    "context_convolution": "convolutions",
    "context_quantized_linear": "quantized",
}
_CLOCK = """\
#include <cstdint>
#include <ctime>

namespace {{

std::int64_t part_nanoseconds[{count}];

// Of the calling thread: what else runs on the machine does not count.
std::int64_t nanoseconds() {{
  std::timespec time{{}};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::int64_t{{1000000000}} * time.tv_sec + time.tv_nsec;
}}

class PartClock {{
 public:
  explicit PartClock(int part) : part_(part), start_(nanoseconds()) {{}}
  ~PartClock() {{ part_nanoseconds[part_] += nanoseconds() - start_; }}

 private:
  int part_;
  std::int64_t start_;
}};

}}  // namespace

extern "C" __attribute__((visibility("default"))) std::int64_t* {reader}() {{ return part_nanoseconds; }}

"""


@dataclass(frozen=True)
class Part:
    """A statement that computes: the function that it calls, and the places of the model's code.

    ``layers``, ``slot``: of a packed layer which of the model's layers it is; empty and None for others.
    """

    function: str
    places: Sequence[str]
    layers: str = ""
    slot: int | None = None


def instrument(run_source: str, calls: Sequence[tuple[str, Sequence[str]]]) -> tuple[str, list[Part]]:
    """The source with clocks, and its parts in the order of their counters.

    Args:
        calls: of the ``Variant``.
    """
    places: dict[str, deque[Sequence[str]]] = {}
    for function, where in calls:
        places.setdefault(function, deque()).append(where)
    parts: list[Part] = []
    lines = []
    for line in run_source.splitlines():
        statement = line.strip()
        found = re.match(r"(\w+)\((?:context, (\d+)\b)?", statement.removeprefix(_CHECK))
        if found is None or found[1] not in places or not statement.endswith(");"):
            lines.append(line)
            continue
        queue = places[found[1]]
        where = queue.popleft() if queue else ()
        layers = _LAYERS.get(found[1], "")
        slot = int(found[2]) if layers and found[2] else None
        indent = line[: len(line) - len(statement)]
        lines.append(f"{indent}{{ const PartClock clock({len(parts)}); {statement} }}")
        parts.append(Part(found[1], where, layers, slot))
    clock = _CLOCK.format(count=max(1, len(parts)), reader=READER)
    return clock + "\n".join(lines) + "\n", parts
