"""Memory: what keeps it between large tensors, and which errors mean that it ran out."""

from __future__ import annotations

import ctypes
import errno
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Let this process reuse freed tensors instead of returning their pages to the system.

    glibc maps every large tensor anew and the kernel then zeroes its pages: a third of the
    time of a U-Net on a CPU. Applies to the whole process, for its lifetime; does nothing
    where the C library is not glibc. The figures are in docs/performance.md.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)


ALLOCATION_FAILURES = (
    "DefaultCPUAllocator",
    "CUDA out of memory",
    "ALLOC_FAILED",
    "bad_alloc",
    "Failed to allocate memory",
    "failed to map segment",
    "cannot allocate memory",
)
"""What torch, CUDA's libraries, C++, ITK and the loader of libraries say when memory runs out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the memory of this machine or its GPU ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | ImportError | OSError) and any(
        words.lower() in text for words in ALLOCATION_FAILURES
    )
