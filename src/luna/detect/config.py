"""The config of a diagnosis, stage by stage. Loads without torch, which is slow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from luna.run.errors import UsageError
from luna.run.machine.precision import Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentConfig:
    """How the U-Net is run over a scan."""

    region: Literal["lungs", "whole"] = "lungs"
    """Compute the lungs' box only, or whole slices as the book does."""
    precision: Precision = "float32"
    """Arithmetic: float32 marks the same voxels on every machine. auto takes bfloat16 where the
    hardware has it, float16 on older CUDA cards, else float32: faster, and marks at the edge of the
    threshold then depend on the machine."""
    batch_slices: int = 4
    """Slices per forward pass; more of them do not fit the caches of a CPU."""
    threshold: float = 0.5
    """Voxels above this probability are nodule."""

    def __post_init__(self) -> None:
        if self.batch_slices < 1:
            raise UsageError(f"segment.batch_slices is {self.batch_slices}, below 1")
        if not 0 < self.threshold < 1:
            raise UsageError(f"segment.threshold is {self.threshold}, not between 0 and 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifyConfig:
    """How the candidates are classified."""

    batch_crops: int = 4
    """Crops per forward pass; more of them do not fit the caches of a CPU."""
    border: Literal["pad", "shift"] = "pad"
    """Crops at the border of the scan are padded with air, or shifted inwards as in the book.
    Scans smaller than a crop, which the book's code cannot take, are padded either way."""

    def __post_init__(self) -> None:
        if self.batch_crops < 1:
            raise UsageError(f"classify.batch_crops is {self.batch_crops}, below 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnoseConfig:
    """How a scan is diagnosed."""

    segment: SegmentConfig = field(default_factory=SegmentConfig)
    """The segmentation stage."""
    classify: ClassifyConfig = field(default_factory=ClassifyConfig)
    """The classification stage."""
    balls: bool = True
    """Also take the balls that fit into the marked voxels as candidates, not only their pieces."""
    lungs_only: bool = True
    """Drop candidates with a centre outside the lungs."""
    threshold: float | None = None
    """Findings have at least this probability; none takes the nodule model's own threshold."""

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise UsageError(f"threshold is {self.threshold}, not between 0 and 1")


def faithful(config: DiagnoseConfig) -> DiagnoseConfig:
    """Change a configuration so that `diagnose` computes what the book's chapter-14 code does.

    It takes whole slices in float32, crops that slide at the border, and the pieces of what is
    marked, anywhere, as candidates.
    """
    return replace(
        config,
        segment=replace(config.segment, region="whole", precision="float32", batch_slices=4),
        classify=replace(config.classify, border="shift", batch_crops=4),
        balls=False,
        lungs_only=False,
    )
