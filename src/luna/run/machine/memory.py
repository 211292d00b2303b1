"""Memory: keep it between large tensors, and recognise the errors that mean it ran out."""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Callable
from typing import TypeVar

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
    "out of memory",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "cudaErrorMemoryAllocation",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "valid cuDNN algorithm",
    "engine to execute this computation",
    "bad_alloc",
    "Failed to allocate memory",
    "failed to map segment",
    "cannot allocate memory",
)
"""What torch, CUDA's libraries, C++, ITK and the loader of libraries say when memory runs out.

cuBLAS is not initialised, and cuDNN finds no algorithm or engine, where a card has no memory left
for what they work with.
"""


T = TypeVar("T")


def in_what_fits(work: Callable[[int], T], size: int, tell: Callable[[int], None]) -> T:
    """Do work in batches of a size that is halved until they fit the memory.

    `tell` gets each smaller size. Raises what the work raises when even one at a time does not fit.
    """
    while True:
        try:
            return work(size)
        except Exception as error:
            if size <= 1 or not is_out_of_memory(error):
                raise
        # Here, as the error held what was allocated.
        release_memory()
        size //= 2
        tell(size)


def release_memory() -> None:
    """Return the memory that torch keeps for later to the card, for CUDA's other libraries."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


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
