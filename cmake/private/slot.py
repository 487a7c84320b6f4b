"""Runs a command in one of a number of slots and waits for one: for Makefiles, which know no job pools.

    slot.py <folder> <name> <number of slots> <command...>

A slot is a locked file. The system unlocks it when the command ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path


def take(folder: Path, name: str, slots: int) -> int:
    """The descriptor of a locked file, or -1 where the file system has no locks."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [os.open(folder / f"{name}.{slot}.lock", os.O_RDWR | os.O_CREAT, 0o666) for slot in range(slots)]
    while True:
        for file in files:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError:
                return -1
            return file
        time.sleep(0.02)


def main() -> None:
    folder, name, slots, *command = sys.argv[1:]
    file = take(Path(folder), name, int(slots))
    if file >= 0:
        os.set_inheritable(file, True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
