"""Memory: what keeps it between large tensors, and which errors mean that it ran out."""

from __future__ import annotations

import ctypes
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


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, the device's or the machine's.

    torch has a class of its own for CUDA, and a plain RuntimeError for the CPU.
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    )
