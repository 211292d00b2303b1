"""Judge candidates: the probability of a nodule, or of malignancy (book, chapter 14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from luna.ct.resample import Irc
from luna.ct.scan import HuArray, Scan
from luna.detect.config import ClassifyConfig
from luna.nets.bundle import Bundle
from luna.nets.card import Card
from luna.nets.probe import refuse_non_finite
from luna.run.machine.precision import arithmetic

Mirrors = tuple[tuple[int, ...], ...]
Cut = Callable[[NDArray[np.float64]], HuArray]

CLEAR_NEGATIVE = 0.005
"""Candidates below this in the first view keep its probability: they are clearly no nodule. Of
1,390 candidates in real scans it clears two thirds, of which no mean over four views is above
0.13; at 0.02 it would clear one of 0.44 (docs/performance.md)."""

MIRRORS: Mirrors = ((), (2,), (3,), (4,))
"""Axes of (N, C, D, H, W) along which a crop is mirrored for each of its views."""


def classify(
    scan: Scan,
    center_irc: NDArray[np.float64],
    bundle: Bundle,
    config: ClassifyConfig,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> NDArray[np.float64]:
    """Judge crops around M centres (M, 3) in voxels: (M,) float64 probability of "yes".

    In float32 on every machine, so that a score is the candidate's and not the hardware's.
    Mirrored views are computed of the candidates that the first view does not clear.
    """
    net = bundle.module.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    cut = _cut(scan, bundle.card, net.input_size, config)
    p = np.empty(len(center_irc))
    with torch.inference_mode(), arithmetic(device, "float32"):
        for start in range(0, len(p), config.batch_crops):
            batch = slice(start, start + config.batch_crops)
            crops = np.stack([cut(center) for center in center_irc[batch]])
            hu = torch.from_numpy(crops).to(device).float().clamp_(*bundle.card.hu_window)
            p[batch] = _judged(net, hu, bundle.card)
            progress(min(batch.stop, len(p)), len(p))
    return p


def _judged(net: nn.Module, hu: torch.Tensor, card: Card) -> NDArray[np.float64]:
    """Judge a batch (N, C, D, H, W): (N,) float64, by the mean of the logits over the views."""
    logits = _logits(net, hu, card)
    p = _probability(logits, card)
    unclear = np.flatnonzero(p >= CLEAR_NEGATIVE)
    if card.mirrored and unclear.size:
        again = torch.from_numpy(unclear).to(hu.device)
        # All mirror images in one pass: on a CPU, one crop alone takes as long as six together.
        images = torch.cat([hu[again].flip(axes) for axes in MIRRORS[1:]])
        others = _logits(net, images, card).reshape(len(MIRRORS) - 1, -1, 2)
        mean = torch.cat([logits[again][None], others]).mean(dim=0)
        p[unclear] = _probability(mean, card)
    return p


def _logits(net: nn.Module, hu: torch.Tensor, card: Card) -> torch.Tensor:
    logits: torch.Tensor = net(hu.contiguous(memory_format=torch.channels_last_3d))
    refuse_non_finite(logits, why=f"{card.name} on a candidate of this scan")
    return logits


def _probability(logits: torch.Tensor, card: Card) -> NDArray[np.float64]:
    # In float32, margins above 17 would all be 1.0, and their order lost.
    return torch.softmax(logits.cpu().double() / card.temperature, dim=1)[:, 1].numpy()


def _cut(scan: Scan, card: Card, size_irc: Irc, config: ClassifyConfig) -> Cut:
    """The way to cut what is seen of a centre, (C, D, H, W): as the card says."""
    cubes = card.cubes(size_irc)
    if cubes is not None:
        return lambda center_irc: cubes.cut(scan.crop, center_irc, scan.geometry.spacing_irc)
    crop = scan.crop if config.border == "pad" else _SlidingCrop(scan)
    return lambda center_irc: crop(center_irc, size_irc)[None]


@dataclass(frozen=True, slots=True)
class _SlidingCrop:
    """Cuts crops as the book does: at the border they move inwards, off their centre."""

    scan: Scan

    def __call__(self, center_irc: NDArray[np.float64], size_irc: tuple[int, int, int]) -> HuArray:
        center = np.rint(center_irc)
        for axis, (size, length) in enumerate(zip(size_irc, self.scan.shape_irc, strict=True)):
            if length >= size:
                low = size // 2
                center[axis] = np.clip(center[axis], low, length - size + low)
        return self.scan.crop(center, size_irc)
