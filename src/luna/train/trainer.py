"""What stays the same during a run, and the steps of each batch that depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from luna.run.machine.precision import bf16_is_native
from luna.run.stop import Stop
from luna.train.batches import sent
from luna.train.config import TrainConfig
from luna.train.optimize import Forward
from luna.train.ranks import Ranks
from luna.train.runs import Run, State
from luna.train.tasks import Batch, Data, IntArray, Task


@dataclass(frozen=True, slots=True)
class Trainer:
    """What stays the same during a run."""

    task: Task
    data: Data
    config: TrainConfig
    device: torch.device
    ranks: Ranks
    run: Run
    steps: int
    stop: Stop = field(default_factory=Stop)

    @property
    def best_by(self) -> str:
        wanted = self.config.best_by
        return self.task.best_by if wanted == "auto" else wanted

    @property
    def bfloat16(self) -> bool:
        wanted = self.config.precision
        return bf16_is_native(self.device) if wanted == "auto" else wanted == "bfloat16"


def batches_of(trainer: Trainer, state: State) -> Sequence[IntArray]:
    """Return this rank's share of each batch that is left of the epoch."""
    size, order = trainer.config.batch_size, trainer.data.order(state.epoch)
    whole = order[: trainer.steps * size].reshape(trainer.steps, size)
    return list(whole[state.step :, trainer.ranks.rank :: trainer.ranks.count])


def seeds_of(trainer: Trainer, step: int) -> torch.Tensor:
    """Return a seed for each of this rank's samples, the same whichever rank has the sample."""
    # Two words keep (seed, step) pairs apart; SeedSequence mixes them well.
    words = np.random.SeedSequence([trainer.config.seed, step])
    seeds = words.generate_state(trainer.config.batch_size, np.uint32).astype(np.int64)
    return torch.from_numpy(seeds[trainer.ranks.rank :: trainer.ranks.count])


def augmented(trainer: Trainer, batch: Batch, step: int) -> Batch:
    """Return a training batch on the device, each sample changed by its own seed."""
    hu, target = to_device(trainer, batch)
    seeds = sent(seeds_of(trainer, step), trainer.device)
    hu, target = trainer.data.augment(hu, target, seeds)
    return hu.clamp(*trainer.config.hu_window), target  # noise may have left it


def to_device(trainer: Trainer, batch: Batch) -> Batch:
    """Move a batch to the device as int16, half the bytes, then make it float and clip it."""
    hu, target = (sent(t, trainer.device) for t in batch)
    return hu.float().clamp_(*trainer.config.hu_window), target


def forward(trainer: Trainer, net: Forward, hu: torch.Tensor) -> torch.Tensor:
    """The network's logits at the run's precision; the loss and its gradients are float32."""
    if trainer.config.channels_last:
        layout = torch.channels_last_3d if hu.dim() == 5 else torch.channels_last
        hu = hu.contiguous(memory_format=layout)
    with torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.bfloat16):
        logits: torch.Tensor = net(hu)
    return logits
