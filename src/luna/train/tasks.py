"""What can be trained: three tasks, each a record of functions, and the data they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from luna.nets.bundle import build_network, fit_tensors, load_bundle
from luna.nets.card import Role
from luna.nets.losses import cross_entropy, segmentation_loss
from luna.run.errors import UsageError
from luna.run.figures import Figure
from luna.train.board.pictures import Sample, candidates_figure, slices_figure
from luna.train.metrics import (
    CLASS_COLUMNS,
    MASK_COLUMNS,
    FloatArray,
    Metrics,
    class_metrics,
    class_rows,
    mask_metrics,
    mask_rows,
)

IntArray = NDArray[np.int64]
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One thing to learn.

    `loss` and `rows` give one value and one row of `columns` per sample, `metrics` judges a
    table of rows; the run keeps the network whose validation has the highest `best_by`.
    `picture` shows samples, each with HU, target and logits.
    """

    role: Role
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    rows: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]
    columns: tuple[str, ...]
    metrics: Callable[[FloatArray, float], Metrics]
    picture: Callable[[Sequence[Sample], float], Figure]
    best_by: str


NODULE = Task(
    role="nodule",
    loss=cross_entropy,
    rows=class_rows,
    columns=CLASS_COLUMNS,
    metrics=class_metrics,
    picture=candidates_figure,
    best_by="auc",
)
MALIGNANCY = Task(
    role="malignancy",
    loss=cross_entropy,
    rows=class_rows,
    columns=CLASS_COLUMNS,
    metrics=class_metrics,
    picture=candidates_figure,
    best_by="auc",
)
SEGMENTATION = Task(
    role="segmentation",
    loss=segmentation_loss,
    rows=mask_rows,
    columns=MASK_COLUMNS,
    metrics=mask_metrics,
    picture=slices_figure,
    best_by="recall",
)


class Samples(Protocol):
    """Samples by index, from the cache or from memory."""

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> Batch:
        """HU (N, C, …) int16, and labels (N,) int64 or masks (N, 1, H, W) uint8.

        Called from several threads at once.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """What a run trains and validates on.

    `order(epoch)` gives the indices of an epoch for all processes together and depends on the
    epoch alone. `augment` takes float HU, targets and one seed (N,) int64 per sample, and
    changes each sample by its own seed alone.
    """

    train: Samples
    validation: Samples
    order: Callable[[int], IntArray]
    augment: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Batch]


def blocks_of(net: nn.Module) -> list[nn.Module]:
    """Return the blocks of a network that have parameters, from input to head."""
    blocks: list[nn.Module] = []
    for child in net.children():
        blocks += list(child) if isinstance(child, nn.Sequential | nn.ModuleList) else [child]
    return [block for block in blocks if any(True for _ in block.parameters())]


def new_network(
    architecture: str, arguments: Mapping[str, Any], unfreeze: int | None = None
) -> nn.Module:
    """Make a network with random weights, of which only the last `unfreeze` blocks learn, if given.

    The head counts as one. Raises UsageError for more blocks than there are.
    """
    net = build_network(architecture, arguments)
    if unfreeze is None:
        return net
    blocks = blocks_of(net)
    if unfreeze > len(blocks):
        raise UsageError(f"unfreeze is {unfreeze}, but the network has {len(blocks)} blocks")
    for block in blocks[:-unfreeze]:
        block.requires_grad_(False)
    return net


def start_from(init: Path, net: nn.Module, architecture: str) -> None:
    """Give a new network a bundle's tensors but for the head. Source: book, chapter 14.

    Raises UsageError for a bundle of another architecture, TrustError for one of another size.
    """
    bundle = load_bundle(init)
    if bundle.card.architecture != architecture:
        raise UsageError(
            f"a {bundle.card.architecture} cannot start a {architecture}",
            file=init,
            hint="--set network.architecture=… names the kind of network",
        )
    head = blocks_of(net)[-1]
    new_head = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    fit_tensors(net, bundle.module.state_dict())
    head.load_state_dict(new_head)
