"""A run function that says where its time goes: a clock around each statement that calls a kernel."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from aotbuild.spec.program import KernelCall

READER = "aotbuild_part_nanoseconds"
MEASURER = "aotbuild_measure_machine"
_MACHINE = Path(__file__).with_name("machine.cpp")
_CHECK = "AOTI_TORCH_ERROR_CODE_CHECK("
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


def instrument(run_source: str, calls: Sequence[KernelCall]) -> tuple[str, list[KernelCall]]:
    """The source with clocks and with what measures the machine, and its parts in the order of their counters."""
    queues: dict[str, deque[KernelCall]] = {}
    for call in calls:
        queues.setdefault(call.function, deque()).append(call)
    parts: list[KernelCall] = []
    lines = []
    for line in run_source.splitlines():
        statement = line.strip()
        found = re.match(r"\w+(?=\()", statement.removeprefix(_CHECK))
        if found is None or found[0] not in queues or not statement.endswith(");"):
            lines.append(line)
            continue
        queue = queues[found[0]]
        indent = line[: len(line) - len(statement)]
        lines.append(f"{indent}{{ const PartClock clock({len(parts)}); {statement} }}")
        parts.append(queue.popleft() if queue else KernelCall(found[0], ()))
    clock = _CLOCK.format(count=max(1, len(parts)), reader=READER)
    return clock + _MACHINE.read_text() + "\n" + "\n".join(lines) + "\n", parts
