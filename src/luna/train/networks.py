"""The configuration of the networks that are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from luna.data.patches import PatchKind
from luna.data.prep.config import CONTEXT_SLICES, CROP_RC
from luna.nets.card import ARGUMENT_MAX, Erosion, wrong_input
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
    scales_mm: tuple[float, ...] = ()
    """Judge several cubes around a place together, with sides of these lengths (mm), instead."""
    antialias: bool = False
    """A voxel of a crop that is larger than the scan's is a mean over it, not a point in it."""
    mirrored: bool = False
    """`luna diagnose` averages over mirror images, except for clear negatives."""

    def __post_init__(self) -> None:
        most = ARGUMENT_MAX["widths"]
        fit = all(1 <= width <= most for width in self.widths)
        if not fit or not 1 <= len(self.widths) <= MOST_BLOCKS:
            raise UsageError(
                f"widths is {self.widths}, must be 1 to {MOST_BLOCKS} counts of at most {most}"
            )
        if wrong := wrong_input(self.spacing_mm, self.scales_mm, antialias=self.antialias):
            raise UsageError(wrong)
        if self.scales_mm and self.architecture == "classifier":
            raise UsageError(
                f"scales_mm is {self.scales_mm}, but the book's classifier takes one cube",
                hint='--set network.architecture="residual-classifier"',
            )

    def arguments(self, input_size: tuple[int, ...]) -> dict[str, Any]:
        """Return the arguments of the architecture for crops of a size."""
        arguments: dict[str, Any] = {"input_size": input_size, "widths": self.widths}
        if self.scales_mm:
            arguments["scales"] = len(self.scales_mm)
        return arguments


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetConfig:
    """The U-Net and what it sees; the defaults are the book's."""

    architecture: Literal["unet", "unet-3d"] = "unet"
    """Slices with their neighbours as in the book, or cubic patches; these need `spacing_mm`."""
    spacing_mm: float | None = None
    """See every scan in cubic voxels of this size (mm); "none" takes the scan's own voxels. Needs
    a cache with every slice."""
    antialias: bool = False
    """With `spacing_mm`: a voxel larger than the scan's is a mean over it, not a point in it."""
    patch_vox: int = 96
    """Side of the patches of a `unet-3d`, in training and in diagnosis."""
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
        if wrong := wrong_input(self.spacing_mm, (), antialias=self.antialias):
            raise UsageError(wrong)
        if self.architecture == "unet-3d":
            self._refuse_odd_patches()

    def _refuse_odd_patches(self) -> None:
        if self.spacing_mm is None:
            raise UsageError(
                "a unet-3d sees voxels of one size, but spacing_mm is none",
                hint="--set network.spacing_mm=1.25",
            )
        side, step, most = self.patch_vox, self.alignment, ARGUMENT_MAX["input_size"]
        if self.depth < 2 or side % step or not 2 * step <= side <= most:
            raise UsageError(
                f"patch_vox is {side} and depth {self.depth}",
                why=f"depth must be at least 2, and patch_vox a multiple of {step} from "
                f"{2 * step} to {most}",
            )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the architecture."""
        size = {"depth": self.depth, "width": self.width}
        if self.architecture == "unet-3d":
            return {"input_size": (self.patch_vox,) * 3, **size}
        return {"context_slices": 2 * CONTEXT_SLICES + 1, **size}

    @property
    def kind(self) -> PatchKind | None:
        """The kind of patches to learn from; None where the network sees the scan's own voxels."""
        if self.spacing_mm is None:
            return None
        flat = self.architecture == "unet"
        return PatchKind(
            size_irc=(2 * CONTEXT_SLICES + 1, *CROP_RC) if flat else (self.patch_vox,) * 3,
            spacing_mm=self.spacing_mm,
            antialias=self.antialias,
            flat=flat,
        )

    @property
    def alignment(self) -> int:
        """The number that each side of an input has to be a multiple of."""
        return 1 << (self.depth - 1)
