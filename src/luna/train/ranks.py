"""The processes of one run, as torchrun starts them; without it there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from luna.run.errors import EnvironmentFault, LunaError

LOST_CONNECTION = ("gloo", "NCCL")
"""The libraries whose errors mean that another process cannot be reached."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's number and how many there are."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0

    def wrap(self, net: nn.Module, device: torch.device) -> nn.Module:
        """The network with gradients averaged over the ranks, its state the first rank's.

        On CUDA batch norm sees the whole batch; torch has no such norm for the CPU, where each
        rank normalises its own part.
        """
        if self.count == 1:
            return net
        if device.type == "cuda":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
            return DistributedDataParallel(net, device_ids=[device.index])
        return DistributedDataParallel(net)

    def share_buffers(self, net: nn.Module) -> None:
        """Give every rank the first one's buffers: the statistics of batch norm differ."""
        if self.count > 1:
            for buffer in net.buffers():
                dist.broadcast(buffer, 0)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of each value over the ranks."""
        if self.count > 1:
            dist.all_reduce(values)
        return values / self.count

    def of_first(self, value: int) -> int:
        """The first rank's value of a whole number, on every rank."""
        if self.count == 1:
            return value
        shared = torch.tensor([value if self.leads else 0], device=_device())
        dist.all_reduce(shared)
        return int(shared)

    def wait(self) -> None:
        """Until all ranks have come here."""
        if self.count > 1:
            dist.barrier()

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """All ranks' rows (N, K), rank by rank; they may differ in N."""
        if self.count == 1:
            return rows
        size = torch.tensor([len(rows)], device=rows.device)
        sizes = [torch.zeros_like(size) for _ in range(self.count)]
        dist.all_gather(sizes, size)
        longest = int(max(sizes))
        padded = rows.new_zeros(longest, rows.shape[1])
        padded[: len(rows)] = rows
        parts = [torch.zeros_like(padded) for _ in range(self.count)]
        dist.all_gather(parts, padded)
        return torch.cat([part[: int(n)] for part, n in zip(parts, sizes, strict=True)])


def _device() -> torch.device:
    """Where the backend wants its tensors."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def _number(variable: str, default: int) -> int:
    """Return what torchrun put into a variable. Raises EnvironmentFault when it is no count."""
    text = os.environ.get(variable, str(default))
    if not (text.isascii() and text.isdigit()):
        raise EnvironmentFault(
            f"the environment variable {variable} is no count",
            why=repr(text),
            hint="torchrun sets it; without torchrun, unset it",
        )
    return int(text)


def device_of_rank(device: torch.device) -> torch.device:
    """The device of this process: one CUDA device each, in the order of torchrun's ranks."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", _number("LOCAL_RANK", 0))
    return device


@contextmanager
def joined_ranks(device: torch.device) -> Iterator[Ranks]:
    """The ranks torchrun speaks of in the environment, joined while the block runs.

    Raises LunaError when another of them has ended.
    """
    count = _number("WORLD_SIZE", 1)
    if count == 1:
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), count)
    except RuntimeError as error:
        if not any(library in str(error) for library in LOST_CONNECTION):
            raise
        raise LunaError(
            "another process of this run has ended",
            why=str(error).partition("\n")[0],
            hint="its own message says why; --resume goes on from the last checkpoint",
        ) from error
    finally:
        dist.destroy_process_group()
