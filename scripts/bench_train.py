"""Time luna's training loop against one written as the book's is, on the same crops in memory.

    python scripts/bench_train.py [--steps 40] [--threads 2]

The reference does what chapters 12 to 14 describe for a batch: float32 in the default layout,
one affine grid per batch for flip, offset, scale and rotation, noise, plain SGD or Adam, and
metrics kept per sample. Both train the same network on the same samples, and both augment:
luna's side is given the reference's augmentation, so what differs is the loop. Reading from a
cache and luna's own augmentation are not part of this figure.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from luna.nets.bundle import Card, build_network
from luna.train.config import TrainConfig
from luna.train.loop import train
from luna.train.runs import Run
from luna.train.tasks import NODULE, SEGMENTATION, Batch, Data, Task

CPU = torch.device("cpu")
OFFSET, SCALE, NOISE_HU = 0.1, 0.2, 25.0
ARCHITECTURE = {"nodule": "classifier", "segmentation": "unet"}


@dataclass(frozen=True)
class Crops:
    """Crops drawn once and kept as int16."""

    hu: torch.Tensor
    target: torch.Tensor

    def __len__(self) -> int:
        return len(self.hu)

    def read(self, indices: Sequence[int]) -> Batch:
        return self.hu[list(indices)], self.target[list(indices)]


def classifier_crops(count: int) -> Crops:
    return Crops(_noise(count, 1, 32, 48, 48), torch.arange(count) % 2)


def segmentation_crops(count: int) -> Crops:
    """64×64 pixels, as the book cuts them from its 96×96 crops while it trains."""
    mask = torch.zeros(count, 1, 64, 64, dtype=torch.uint8)
    mask[..., 28:36, 28:36] = 1
    return Crops(_noise(count, 7, 64, 64), mask)


def _noise(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(shape, generator=generator) * 300 - 500).short()


def augment(hu: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor) -> Batch:
    """Flip, offset, scale, rotation in the plane and noise, one transform for the batch."""
    generator = torch.Generator().manual_seed(int(seeds[0]))
    dims = hu.dim() - 2
    theta = torch.eye(dims + 1)
    flips, scales, moves = (torch.rand(dims, generator=generator) for _ in range(3))
    for axis in range(dims):
        theta[axis, axis] = (1 if flips[axis] > 0.5 else -1) * (1 + SCALE * (2 * scales[axis] - 1))
        theta[axis, dims] = OFFSET * (2 * moves[axis] - 1)
    angle = 2 * math.pi * float(torch.rand(1, generator=generator))
    turn = torch.eye(dims + 1)
    turn[:2, :2] = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    theta = (theta @ turn)[:dims].expand(len(hu), -1, -1)
    grid = F.affine_grid(theta, list(hu.shape), align_corners=False)
    hu = F.grid_sample(hu, grid, padding_mode="border", align_corners=False)
    if target.dim() > 1:
        moved = F.grid_sample(target.float(), grid, padding_mode="border", align_corners=False)
        target = moved > 0.5
    return hu + torch.randn(hu.shape, generator=generator) * NOISE_HU, target


class Clock:
    """The reference's augmentation, which notes when each step calls it."""

    def __init__(self) -> None:
        self.calls: list[float] = []

    def __call__(self, hu: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor) -> Batch:
        self.calls.append(time.perf_counter())
        return augment(hu, target, seeds)

    def step_s(self) -> float:
        """The median step, which a pause of the machine does not move."""
        return float(np.median(np.diff(self.calls)))


def reference(task: Task, crops: Crops, batch: int, steps: int, clock: Clock) -> None:
    """A plain loop."""
    net = build_network(ARCHITECTURE[task.role], {})
    optimizer: torch.optim.Optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, weight_decay=1e-4)
    if task is SEGMENTATION:
        optimizer = torch.optim.Adam(net.parameters())
    net.train()
    for step in range(steps):
        hu, target = crops.read((np.arange(step * batch, (step + 1) * batch) % len(crops)).tolist())
        optimizer.zero_grad()
        hu, target = clock(hu.float().clamp_(-1000, 1000), target, torch.tensor([step]))
        logits = net(hu)
        losses = task.loss(logits, target)
        losses.mean().backward()
        optimizer.step()
        task.rows(logits.detach(), target, losses.detach(), 0.5)


def luna(task: Task, crops: Crops, batch: int, steps: int, clock: Clock) -> None:
    """Luna's loop with its defaults, in one epoch, so that validation comes after the clock."""
    card = Card(
        name="bench",
        role=task.role,
        architecture=ARCHITECTURE[task.role],
        arguments={},
        training_data="noise",
        licence="none",
    )
    data = Data(
        train=crops,
        validation=crops,
        order=lambda epoch: np.arange(steps * batch) % len(crops),
        augment=clock,
        description="noise",
    )
    config = TrainConfig(epochs=1, batch_size=batch, save_every=steps + 1)
    net = build_network(ARCHITECTURE[task.role], {})
    with tempfile.TemporaryDirectory() as folder:
        train(task, data, net, config, CPU, Run(folder=Path(folder), card=card))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    plans: list[tuple[Task, Callable[[int], Crops], int]] = [
        (NODULE, classifier_crops, 24),
        (SEGMENTATION, segmentation_crops, 32),
    ]
    print("| network | batch | plain loop, samples/s | luna's loop, samples/s | ratio |")
    print("|---|---|---|---|---|")
    for task, make, batch in plans:
        rates = []
        for loop in (reference, luna):
            torch.manual_seed(0)
            clock = Clock()
            loop(task, make(2 * batch), batch, arguments.steps, clock)
            rates.append(batch / clock.step_s())
        plain, ours = rates
        print(
            f"| {ARCHITECTURE[task.role]} | {batch} "
            f"| {plain:.1f} | {ours:.1f} | {ours / plain:.2f} |"
        )


if __name__ == "__main__":
    main()
