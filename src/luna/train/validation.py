"""A network's validation between two epochs: its metrics, and pictures for TensorBoard."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from luna.run.figures import Figure
from luna.train.batches import read_ahead
from luna.train.metrics import Metrics
from luna.train.runs import diverged
from luna.train.trainer import Trainer, forward, to_device

PICTURED = 4
"""Samples of each sort that TensorBoard shows."""


def validate(trainer: Trainer, epoch: int, net: nn.Module) -> Metrics | None:
    """Return the metrics of all validation samples; None when a rank was asked to stop.

    Raises DivergedError when their loss is not finite.
    """
    task, ranks, board = trainer.task, trainer.ranks, trainer.run.board
    ranks.share_buffers(net)
    own = _rows_of_rank(trainer, epoch, net)
    if float(ranks.mean(own.new_full((), float(trainer.stop.signal)))) > 0:
        return None
    table = ranks.gather(own).cpu().numpy()
    metrics = task.metrics(table, trainer.config.threshold)
    if not math.isfinite(metrics["loss/all"]):
        raise diverged((epoch + 1) * trainer.steps, trainer.run.folder)
    if ranks.leads and board is not None:
        board.judged(epoch + 1, table, _picture(trainer, net, own), task)
    return metrics


@torch.no_grad()
def _rows_of_rank(trainer: Trainer, epoch: int, net: nn.Module) -> torch.Tensor:
    """Return one row per validation sample of this rank: every `count`-th of them.

    A signal breaks it off: whole slices may take longer than a machine waits before it kills.
    """
    task, config = trainer.task, trainer.config
    net.eval()
    total, count = len(trainer.data.validation), trainer.ranks.count
    own = np.arange(trainer.ranks.rank, total, count)
    cuts = range(config.validation_batch_size, len(own), config.validation_batch_size)
    batches = np.split(own, cuts)
    stage, done, rows = f"validate {epoch + 1}", 0, []
    trainer.run.listener.progress(stage, done, total)
    samples = trainer.data.validation
    for batch, _ in read_ahead(samples, batches, config.threads, trainer.device):
        hu, target = to_device(trainer, batch)
        logits = forward(trainer, net, hu)
        rows.append(task.rows(logits, target, task.loss(logits, target), config.threshold))
        done += len(hu) * count
        trainer.run.listener.progress(stage, min(done, total), total)
        if trainer.stop.signal:
            break
    return torch.cat(rows)


@torch.no_grad()
def _picture(trainer: Trainer, net: nn.Module, rows: torch.Tensor) -> Figure:
    """Draw the first validation samples, the same each time, and those of the highest loss."""
    loss = rows[:, 0].cpu().numpy()
    worst = np.argsort(-loss, kind="stable")[:PICTURED] * trainer.ranks.count
    samples = []
    for index in [*range(min(PICTURED, len(trainer.data.validation))), *worst.tolist()]:
        hu, target = to_device(trainer, trainer.data.validation.read([index]))
        logits = forward(trainer, net, hu)
        samples.append((hu[0].cpu(), target[0].cpu(), logits[0].float().cpu()))
    return trainer.task.picture(samples, trainer.config.threshold)
