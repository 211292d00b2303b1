"""The shape of a nodule or scar: what it covers, and its attenuation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.phantom.config import NoduleKind
from luna.phantom.field import Points

LAYER_MM = 0.8
"""A slice is sampled in layers no thicker than this, for the partial volume along it."""

Grid = NDArray[np.float32]
Irc = NDArray[np.int_]


@dataclass(frozen=True)
class Lesion:
    """A nodule to paint into the lung, or a scar when `kind` is None.

    `number` is its place among the lesions as drawn. `center` in body mm; the shape is a sphere of
    `radius` stretched by `axes` (3, 3) and dented by `waves` (K, 4): direction and amplitude.
    `core` is the share of the radius that is solid; `hu` and `rim_hu` its attenuation inside and
    outside the core.
    """

    kind: NoduleKind | None
    malignant: bool
    center: Points
    radius: float
    axes: Points
    waves: Points
    spikes: Points
    hu: float
    rim_hu: float
    core: float
    edge_mm: float
    number: int = 0


def cover(lesion: Lesion, offset: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Coverage by the body, coverage by spikes, and attenuation at offsets (..., 3) in mm.

    Offsets count from the centre. Voxels that the body covers by more than half are the mask.
    """
    scaled = sum(offset[..., k, None] * lesion.axes[k].astype(np.float32) for k in range(3))
    scaled = np.asarray(scaled)
    stretched = np.sqrt((scaled**2).sum(axis=-1))
    distance = np.sqrt((offset**2).sum(axis=-1))
    unit = offset / np.maximum(distance, 1e-3)[..., None]
    dent = np.ones_like(distance)
    for *way, amplitude in lesion.waves:
        phase = sum(unit[..., k] * np.float32(way[k]) for k in range(3))
        dent += np.float32(amplitude) * np.sin(phase + np.float32(9 * amplitude))
    surface = lesion.radius * dent
    # Stretching distorts distances; near the surface the true one is smaller by that factor.
    shrink = np.clip(distance / np.maximum(stretched, 1e-3), 0.05, 2)
    gap = (stretched - surface) * shrink
    body = np.clip(0.5 - gap / (0.7 + lesion.edge_mm), 0, 1)
    inner = np.clip(0.5 - (stretched - surface * lesion.core) / 1.0, 0, 1)
    hu = lesion.rim_hu + inner * (lesion.hu - lesion.rim_hu)
    thorns = np.zeros_like(body)
    for x, y, z, length in lesion.spikes:
        along = unit[..., 0] * x + unit[..., 1] * y + unit[..., 2] * z
        t = np.clip((distance * along - lesion.radius * 0.8) / (length + lesion.radius * 0.2), 0, 1)
        aside = distance * np.sqrt(np.maximum(1 - along**2, 0))
        thick = 0.2 + (0.3 + 0.07 * lesion.radius) * (1 - t)
        inside_ = np.clip(0.5 - (aside - thick) / 0.7, 0, 1)
        thorns = np.maximum(thorns, np.where((along > 0) & (t < 1), inside_, 0) * (1 - 0.6 * t))
    return body.astype(np.float32), thorns.astype(np.float32), hu.astype(np.float32)


def sampled(
    lesion: Lesion, low: Irc, high: Irc, center_irc: Points, spacing_irc: Points
) -> tuple[Grid, Grid, Grid]:
    """Coverage by body and by spikes, and attenuation, at the voxels from `low` to `high`.

    `center_irc` is the lesion's centre in voxels. Each is (index, row, column), the mean over the
    thickness of the slices.
    """
    grids = [
        (np.arange(a, b) - c) * s
        for a, b, c, s in zip(low, high, center_irc, spacing_irc, strict=True)
    ]
    z, y, x = np.meshgrid(*grids, indexing="ij")
    layers = max(int(np.ceil(spacing_irc[0] / LAYER_MM)), 1)
    layered = [
        cover(lesion, np.stack([x, y, z + (k + 0.5 - layers / 2) * spacing_irc[0] / layers], -1)
              .astype(np.float32))
        for k in range(layers)
    ]  # fmt: skip
    body, thorns, hu = (np.mean(p, axis=0) for p in zip(*layered, strict=True))
    return body, thorns, hu
