"""Time training from luna's cache against a loop and a cache written as the book's are.

    python scripts/bench_train.py FOLDER [--scans 8] [--steps 40] [--threads 2]

FOLDER is that of bench_prep.py; the cohort is made and prepared where it is not there. Both sides
train the same network on the same samples in the same order, all files in the page cache:

book  float32 crops, pickled and gzipped (level 1) in a FanoutCache, through a DataLoader of two
      workers; one affine grid per batch for flip, offset, scale and turn, noise; default layout,
      plain SGD or Adam; metrics kept per sample (chapters 11 to 14)
luna  `luna.train` as the configs cls and seg set it but for the batch: with every sample
      read from the cache, with samples in memory, as they are from the second epoch, and the
      same compiled

Each runs in a process of its own. The rate is that of the second half of the steps.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from bench_prep import cohort, luna_prep, plain_store
from luna.nets.card import Card
from luna.run.config import load_config
from luna.train.launch import Job
from luna.train.loop import train
from luna.train.recipes import ClassifierRecipe, SegmenterRecipe
from luna.train.runs import Run
from luna.train.tasks import SEGMENTATION, Batch

CPU = torch.device("cpu")
WORKERS = 2
OFFSET, SCALE, NOISE_HU = 0.1, 0.2, 25.0
CROP_VOX = 64
WARM = 10
"""Batches after which a run from memory has read all of its samples."""


@dataclass(frozen=True)
class Plan:
    """A network to train, and on what; `batch` as in the book."""

    root: type[ClassifierRecipe] | type[SegmenterRecipe]
    config: str
    batch: int
    steps: int
    threads: int
    cache: Path
    copies: Path

    def job(self) -> tuple[ClassifierRecipe | SegmenterRecipe, Job]:
        recipe = load_config(self.root, Path(self.config))
        torch.manual_seed(0)
        torch.set_num_threads(self.threads)
        return recipe, recipe.job(self.cache)

    def order(self, job: Job) -> list[int]:
        """The samples of all steps, gone through again where there are too few."""
        return np.resize(job.data.order(0), self.steps * self.batch).tolist()


class Copies(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The same samples as the book keeps and reads them."""

    def __init__(self, plan: Plan, order: Sequence[int]) -> None:
        self.store, self.order = plain_store(plan.copies, gzipped=True), order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        hu, target = (torch.from_numpy(a) for a in self.store[self.order[number]])
        if target.dim() == 0:
            return hu, target
        row, column = torch.randint(hu.shape[-1] - CROP_VOX + 1, (2,)).tolist()
        part = (..., slice(row, row + CROP_VOX), slice(column, column + CROP_VOX))
        return hu[part].contiguous(), target[part].contiguous()


def copy(plan: Plan) -> None:
    """Store the samples once more, as the book does."""
    shutil.rmtree(plan.copies, ignore_errors=True)
    job = plan.job()[1]
    store = plain_store(plan.copies, gzipped=True)
    for index in set(plan.order(job)):
        hu, target = job.data.train.read([index])
        store.set(index, (hu[0].float().clamp(-1000, 1000).numpy(), np.array(target[0])))
    store.close()


def augment(hu: torch.Tensor, target: torch.Tensor) -> Batch:
    """One transform for the whole batch, and noise."""
    dims = hu.dim() - 2
    theta = torch.eye(dims + 1)
    for axis in range(dims):
        flip, scale, move = torch.rand(3).tolist()
        theta[axis, axis] = (1 if flip > 0.5 else -1) * (1 + SCALE * (2 * scale - 1))
        theta[axis, dims] = OFFSET * (2 * move - 1)
    angle = 2 * math.pi * torch.rand(()).item()
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
    return hu + torch.randn_like(hu) * NOISE_HU, target


def plain(net: nn.Module) -> nn.Module:
    """With torch's own transposed convolutions, where luna's U-Net multiplies matrices."""
    for block in getattr(net, "up", ()):
        ours = block.upsample
        block.upsample = nn.ConvTranspose2d(ours.in_channels, ours.out_channels, 2, stride=2)
    return net


def book(plan: Plan) -> float:
    """Samples/s of a plain loop."""
    job = plan.job()[1]
    net, task, times, tables = plain(job.net), job.task, [], []
    optimizer: torch.optim.Optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, weight_decay=1e-4)
    if task.role == "segmentation":
        task, optimizer = SEGMENTATION, torch.optim.Adam(net.parameters())
    net.train()
    for hu, target in DataLoader(Copies(plan, plan.order(job)), plan.batch, num_workers=WORKERS):
        times.append(time.perf_counter())
        optimizer.zero_grad()
        moved, truth = augment(hu, target)
        logits = net(moved)
        losses = task.loss(logits, truth)
        losses.mean().backward()
        optimizer.step()
        tables.append(task.rows(logits.detach(), truth, losses.detach(), 0.5))
    return rate(times, plan.batch)


def luna(plan: Plan, *, in_memory: bool = False, compiled: bool = False) -> float:
    """Samples/s of luna's loop, in one epoch, so that validation comes after the clock."""
    recipe, job = plan.job()
    order, times = np.array(plan.order(job)), []
    if in_memory:
        order = np.resize(order[: WARM * plan.batch], len(order))

    def clocked(*batch: torch.Tensor) -> Batch:
        times.append(time.perf_counter())
        return job.data.augment(*batch)

    data = replace(job.data, order=lambda epoch: order, augment=clocked)
    config = replace(
        recipe.train,
        epochs=1,
        batch_size=plan.batch,
        resident_gib=64.0 if in_memory else 0.0,
        compile=compiled,
    )
    card = Card(
        name="bench",
        role=job.task.role,
        architecture=job.card.architecture,
        arguments=job.card.arguments,
        training_data="phantoms",
        licence="none",
    )
    with tempfile.TemporaryDirectory() as folder:
        train(job.task, data, job.net, config, CPU, Run(folder=Path(folder), card=card))
    return rate(times, plan.batch)


def rate(times: list[float], batch: int) -> float:
    half = len(times) // 2
    return batch * (len(times) - 1 - half) / (times[-1] - times[half])


def in_own_process(work: Callable[..., Any], plan: Plan, **how: bool) -> Any:
    """In a process of its own, so that no side finds another's memory or threads."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, plan, **how).result()


def plans(given: argparse.Namespace) -> Iterator[Plan]:
    cache = given.folder / "luna-prep"
    if not (cache / "prepared.json").exists():
        luna_prep(cohort(given.folder, given.scans), cache, WORKERS)
    for root, config, batch in (
        (ClassifierRecipe, "cls", 24),
        (SegmenterRecipe, "seg", 32),
    ):
        copies = given.folder / f"copies-{config}"
        yield Plan(root, config, batch, given.steps, given.threads, cache, copies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scans", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    print(
        "| config | batch | book, samples/s | luna, from the cache | | from memory | | compiled | |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for plan in plans(parser.parse_args()):
        in_own_process(copy, plan)
        loop = in_own_process(book, plan)
        rates = (
            in_own_process(luna, plan),
            in_own_process(luna, plan, in_memory=True),
            in_own_process(luna, plan, in_memory=True, compiled=True),
        )
        cells = " | ".join(f"{rate:.1f} | {rate / loop:.1f}×" for rate in rates)
        print(f"| {plan.config} | {plan.batch} | {loop:.1f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
