"""Tells what the next build of a model would run and why: as text on the standard output, as JSON in a file."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any


def depfile_inputs(depfile: Path) -> list[Path]:
    """The prerequisites that a depfile of one rule names."""
    text = depfile.read_text().replace("\\\n", " ")
    _, _, prerequisites = text.partition(": ")
    words = re.findall(r"(?:\\.|\S)+", prerequisites)
    return [Path(re.sub(r"\\(.)", r"\1", word).replace("$$", "$")) for word in words]


def reasons(request: dict[str, Any]) -> list[str]:
    """Why the generator would run; empty when all that it wrote is up to date."""
    stamp, depfile = Path(request["stamp"]), Path(request["depfile"])
    if not stamp.exists():
        return ["it has not run, or did not finish"]
    if not depfile.exists():
        return [f"{depfile} is missing"]
    found = [f"{output} is missing" for output in request["outputs"] if not Path(output).exists()]
    inputs = dict.fromkeys([*map(Path, request["depends"]), *depfile_inputs(depfile)])
    for path in inputs:
        if not path.exists():
            found.append(f"{path} no longer exists")
        elif path.stat().st_mtime_ns > stamp.stat().st_mtime_ns:
            found.append(f"{path} is newer than the last run")
    return found


def main() -> None:
    request_file, answer_file = map(Path, sys.argv[1:])
    request = json.loads(request_file.read_text())
    why = reasons(request)
    command = shlex.join(request["command"])
    answer = {**request, "reasons": why, "shell": f"cd {shlex.quote(request['directory'])} && {command}"}
    answer_file.parent.mkdir(parents=True, exist_ok=True)
    answer_file.write_text(json.dumps(answer, indent=2) + "\n")

    print(f"{request['target']}: from {request['model']}")
    if why:
        print("the generator runs in the next build, because")
        print("".join(f"  {reason}\n" for reason in why), end="")
    else:
        print("up to date; the generator runs again only when an input or an argument changes")
    print(f"the command:\n  {answer['shell']}")
    print("it writes:\n" + "".join(f"  {output}\n" for output in request["outputs"]), end="")
    print(f"the same as JSON: {answer_file}")


if __name__ == "__main__":
    main()
