"""The configuration of the networks that are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from luna.ct.resample import wrong_spacing
from luna.nets.card import ARGUMENT_MAX, Erosion
from luna.run.errors import UsageError

MOST_BLOCKS = 5
"""Poolings that a crop of 32 slices survives."""

MOST_LEVELS = 6
"""From 64 rows down to 2."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierNetConfig:
    """The classifier; the defaults are the book's."""

    architecture: Literal["classifier", "residual-classifier"] = "classifier"
    """The book's, or luna's own with residual blocks and batch norm."""
    widths: tuple[int, ...] = (8, 16, 32, 64)
    """Channels of each block."""
    spacing_mm: float | None = None
    """Judge crops of cubic voxels of this size (mm); "none" takes the scan's own voxels."""
    mirrored: bool = False
    """`luna diagnose` averages over mirror images, except for clear negatives."""

    def __post_init__(self) -> None:
        most = ARGUMENT_MAX["widths"]
        fit = all(1 <= width <= most for width in self.widths)
        if not fit or not 1 <= len(self.widths) <= MOST_BLOCKS:
            raise UsageError(
                f"widths is {self.widths}, must be 1 to {MOST_BLOCKS} counts of at most {most}"
            )
        if wrong := wrong_spacing(self.spacing_mm):
            raise UsageError(wrong)


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetConfig:
    """The size of the U-Net; the defaults are the book's."""

    depth: int = 3
    """Levels, from full resolution to the deepest."""
    width: int = 16
    """Channels at full resolution; they double at each level."""
    erosion: Erosion = "cross"
    """How `luna diagnose` erodes the marks: in three dimensions, or within each "slice"."""

    def __post_init__(self) -> None:
        most = ARGUMENT_MAX["width"]
        if not (1 <= self.depth <= MOST_LEVELS and 1 <= self.width <= most):
            raise UsageError(f"depth must be 1 to {MOST_LEVELS} and width 1 to {most}")

    @property
    def alignment(self) -> int:
        """Rows and columns must be a multiple of this."""
        return 1 << (self.depth - 1)
