"""Memory that runs out, however it is said, and work that is done in smaller parts then."""

import errno

import pytest
import torch

from luna.run.machine.memory import in_what_fits, is_out_of_memory

SAID = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("FIND was unable to find an engine to execute this computation"),
    RuntimeError("NCCL error: unhandled cuda error. Last error: Cuda failure 2 'out of memory'"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("std::bad_alloc"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
]

OTHERS = [
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: no kernel image is available for execution on the device"),
    ValueError("out of memory"),
    OSError(errno.ENOSPC, "No space left on device"),
]


@pytest.mark.parametrize("error", SAID, ids=lambda e: str(e)[:40])
def test_memory_that_ran_out_is_known_in_all_words(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHERS, ids=lambda e: str(e)[:40])
def test_other_errors_are_something_else(error: Exception) -> None:
    assert not is_out_of_memory(error)


def limited(most: int, error: Exception = SAID[1], asked: list[int] | None = None):
    def work(size: int) -> int:
        if asked is not None:
            asked.append(size)
        if size > most:
            raise error
        return size

    return work


def test_work_is_halved_until_it_fits_and_each_half_is_told() -> None:
    told: list[int] = []
    assert in_what_fits(limited(16), 16, told.append) == 16
    assert told == []
    assert in_what_fits(limited(3), 16, told.append) == 2
    assert told == [8, 4, 2]


def test_what_does_not_fit_alone_is_an_error() -> None:
    asked: list[int] = []
    with pytest.raises(torch.OutOfMemoryError):
        in_what_fits(limited(0, asked=asked), 5, lambda size: None)
    assert asked == [5, 2, 1]


def test_other_errors_are_raised_at_once() -> None:
    asked: list[int] = []
    with pytest.raises(RuntimeError, match="illegal"):
        in_what_fits(limited(0, OTHERS[0], asked), 8, lambda size: None)
    assert asked == [8]


def test_what_the_first_try_held_is_free_before_the_second() -> None:
    """An error holds the frames it came through, and they the tensors that were made."""
    alive: list[int] = []

    class Tensor:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def work(size: int) -> int:
        held = Tensor()
        if size > 1:
            raise MemoryError
        return len(alive) if held else 0

    assert in_what_fits(work, 4, lambda size: None) == 1
