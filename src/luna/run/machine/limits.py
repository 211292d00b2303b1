"""How much of the machine this process may use: cores, memory, address space, open files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Where Linux states the bytes that a container may use; "max" means all."""


def cores() -> int:
    """Return how many cores this process may use, which a container may have limited."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if sys.platform == "win32":
    OPEN_FILES = 512
    """What the C library lets a process have open."""

    def memory_bytes() -> int | None:
        """Return None: Python's own library cannot tell the memory of a Windows machine."""
        return None

    def address_space_bytes() -> int | None:
        """Return None: Windows does not limit the address space of a process."""
        return None

    def open_files() -> int | None:
        """Return how many files this process may have open."""
        return OPEN_FILES

else:
    import resource

    def memory_bytes() -> int | None:
        """Return the machine's memory, or less where a container may not use all of it.

        None where the system does not tell.
        """
        try:
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (ValueError, OSError):
            return None
        limit = CONTAINER_LIMIT.read_text().strip() if CONTAINER_LIMIT.is_file() else ""
        return min(memory, int(limit)) if limit.isdecimal() else memory

    def address_space_bytes() -> int | None:
        """Return how much address space this process may take; None where nothing limits it."""
        return _limit(resource.RLIMIT_AS)

    def open_files() -> int | None:
        """Return how many files this process may have open; None where nothing limits it."""
        return _limit(resource.RLIMIT_NOFILE)

    def _limit(kind: int) -> int | None:
        """Return the limit that this process meets first, or None where there is none."""
        soft, _ = resource.getrlimit(kind)
        return None if soft == resource.RLIM_INFINITY else soft
