"""Judges candidates: the probability of a nodule, or of malignancy (book, chapter 14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from luna.ct.resample import cube_crop
from luna.ct.scan import HuArray, Scan
from luna.detect.config import ClassifyConfig
from luna.nets.bundle import Bundle
from luna.nets.card import Card
from luna.nets.probe import refuse_non_finite
from luna.run.machine.precision import Precision, arithmetic, fast_type

Irc = tuple[int, int, int]
Mirrors = tuple[tuple[int, ...], ...]
Cut = Callable[[NDArray[np.float64], Irc], HuArray]

CLEAR_NEGATIVE = 0.02
"""Candidates below this in 16 bits keep that probability. With the book's classifier bfloat16 and
float32 differ by up to 0.03, so these stay far below any threshold in use."""

MIRRORS: Mirrors = ((), (2,), (3,), (4,))
"""Axes of (N, 1, D, H, W) along which a crop is mirrored for each of its views."""


def classify(
    scan: Scan,
    center_irc: NDArray[np.float64],
    bundle: Bundle,
    config: ClassifyConfig,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> NDArray[np.float64]:
    """Judge crops around M centres (M, 3) in voxels: (M,) float64 probability of "yes"."""
    views = MIRRORS if bundle.card.mirrored else MIRRORS[:1]
    judge = partial(_classify, scan, bundle=bundle, config=config, device=device)
    if config.precision == "auto" and fast_type(device) is not None:
        p = judge(center_irc, precision="auto", views=MIRRORS[:1], progress=progress)
        again = p >= CLEAR_NEGATIVE
        p[again] = judge(center_irc[again], precision="float32", views=views, progress=_silent)
        return p
    precision = "float32" if config.precision == "auto" else config.precision
    return judge(center_irc, precision=precision, views=views, progress=progress)


def _silent(done: int, total: int) -> None:
    """Report no progress: the second pass is short."""


def _classify(
    scan: Scan,
    center_irc: NDArray[np.float64],
    bundle: Bundle,
    config: ClassifyConfig,
    precision: Precision,
    views: Mirrors,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> NDArray[np.float64]:
    """Judge at one precision, by the mean of the logits over some views."""
    net = bundle.module.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    size_irc = net.input_size
    cut = _cut(scan, bundle.card, config)
    p = np.empty(len(center_irc))
    with torch.inference_mode(), arithmetic(device, precision):
        for start in range(0, len(center_irc), config.batch_crops):
            batch = slice(start, start + config.batch_crops)
            hu = torch.from_numpy(np.stack([cut(c, size_irc) for c in center_irc[batch]]))
            x = hu.to(device).float().clamp_(*bundle.card.hu_window)[:, None]
            logits = torch.stack([_logits(net, x.flip(axes)) for axes in views]).mean(dim=0)
            refuse_non_finite(logits, why=f"{bundle.card.name} on a candidate of this scan")
            # In float32, margins above 17 would all be 1.0, and their order lost.
            logits = logits.cpu().double() / bundle.card.temperature
            p[batch] = torch.softmax(logits, dim=1)[:, 1].numpy()
            progress(min(batch.stop, len(p)), len(p))
    return p


def _logits(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = net(x.contiguous(memory_format=torch.channels_last_3d))
    return logits.float()


def _cut(scan: Scan, card: Card, config: ClassifyConfig) -> Cut:
    """The way to cut crops: in the scan's own voxels, or in cubes of the card's size."""
    if card.spacing_mm is not None:
        return partial(_cube, scan, card.spacing_mm)
    return scan.crop if config.border == "pad" else _SlidingCrop(scan)


def _cube(scan: Scan, spacing_mm: float, center_irc: NDArray[np.float64], size_irc: Irc) -> HuArray:
    return cube_crop(scan.crop, center_irc, scan.geometry.spacing_irc, size_irc, spacing_mm)


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
