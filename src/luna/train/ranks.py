"""The processes of one run, as torchrun starts them; without it there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from luna.run.device import count_in
from luna.run.errors import EnvironmentFault, LunaError
from luna.run.machine.memory import is_out_of_memory

LIBRARIES = ("gloo", "NCCL")
"""The libraries through which processes reach each other, as their errors name them."""

REFUSALS = ("Duplicate GPU", "ncclInvalidUsage", "ncclInvalidArgument", "ncclUnhandledCudaError")
"""What NCCL says when it will not begin, though every process is there."""


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
        """Wrap the network: gradients are averaged over the ranks, the state is the first rank's.

        On CUDA batch norm sees the whole batch; torch has no such norm for the CPU, where each
        rank normalises its own part.
        """
        if self.count == 1:
            return net
        if device.type == "cuda":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
            # Its statistics are alike on every rank: nothing to send round at each step.
            return DistributedDataParallel(net, device_ids=[device.index], broadcast_buffers=False)
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
        """Wait until all ranks have come here."""
        if self.count > 1:
            dist.barrier()

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return all ranks' rows (N, K), rank by rank; ranks may differ in N."""
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
    """Return the device on which the backend takes tensors."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


@contextmanager
def joined_ranks(device: torch.device) -> Iterator[Ranks]:
    """Join torchrun's ranks, as its variables name them, while the block runs.

    Raises LunaError when another of them has ended.
    """
    count = count_in("WORLD_SIZE", 1)
    if count == 1:
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        # With its device, NCCL meets the others at once, and refuses here what it would later.
        card = device if device.type == "cuda" else None
        dist.init_process_group("nccl" if card else "gloo", device_id=card)
        yield Ranks(dist.get_rank(), count)
    except RuntimeError as error:
        fault = connection_fault(error)
        if fault is None:
            raise
        raise fault from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def connection_fault(error: RuntimeError) -> LunaError | None:
    """Return the fault where an error is about other processes; None for other errors."""
    text = str(error)
    why = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if is_out_of_memory(error) or not any(library in text for library in LIBRARIES):
        return None
    if any(words in text for words in REFUSALS):
        return EnvironmentFault(
            "the processes of this run cannot work together",
            why=next((line for line in text.splitlines() if "Duplicate GPU" in line), why),
            hint="each needs a CUDA card of its own; NCCL_DEBUG=INFO makes NCCL say more",
        )
    return LunaError(
        "another process of this run has ended",
        why=why,
        hint="its own message says why; --resume continues from the last checkpoint",
    )
