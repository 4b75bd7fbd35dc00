"""Memory and disk, brought into the same state before each measurement.

A virtual machine often gives memory that it does not use back to its host. Writing a file into such pages has been seen
to cost ten times the CPU time of writing it into pages that are there: what a server seems to cost would then depend on
what ran before it. ext4 is slow at making files near others that were deleted within the last minutes.
"""

from __future__ import annotations

import mmap
import os
import subprocess
from pathlib import Path

from processes import find_program

# Of the memory that can be had, the share that is touched at most: the rest holds what is to be sent.
SHARE_MAX = 0.5


def warm(size: int) -> None:
    """Touches so many bytes of memory and frees them, so that what is next allocated is there already."""
    size = min(size, int(_available() * SHARE_MAX))
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for position in range(0, size, mmap.PAGESIZE):
            memory[position] = 1


def forget(folder: Path) -> None:
    """Lets the system drop the files below a folder from memory, so that the next measurement need not make room."""
    os.sync()
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def spread(folder: Path) -> None:
    """Asks ext4 to put each folder made in this one elsewhere on the disk, away from what others delete meanwhile."""
    if chattr := find_program("chattr"):
        # Other file systems do not know this, and need not.
        subprocess.run([chattr, "+T", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0
