"""The stored parts of each scan, and the key of an entry."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from luna.ct.blocks import BLOCK_IRC, Irc
from luna.ct.resample import wrong_spacing
from luna.data.nodule_mask import MaskMethod
from luna.run.errors import UsageError

FORMAT = 1
"""Increased when the stored data changes, so that older entries are not used."""

CHUNK_IRC: Irc = (32, 48, 48)
"""What the classifier sees of a candidate. Source: book, chapter 11."""

CUBE_IRC: Irc = (32, 32, 32)
"""The same in cubic voxels of a chosen size, for luna's own classifier."""

CONTEXT_SLICES = 3
"""Slices on each side of the one that the U-Net judges. Source: book, chapter 13."""

CROP_RC = (96, 96)
"""Rows and columns around a nodule that U-Net training draws from. Source: chapter 13."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateConfig:
    """Choose candidates besides those of the table."""

    from_annotations: bool = False
    """Add a candidate at the centre of every annotated nodule that contains none."""
    without_excluded: bool = False
    """Leave out negative candidates inside findings of annotations_excluded.csv, whose marks scores
    ignore."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepConfig:
    """Choose what is stored of each scan."""

    nodule_mask: MaskMethod = "bounded"
    """Which voxels belong to a nodule: bounded by its annotation, or grown as in the book."""
    slices: Literal["positive", "all"] = "positive"
    """Whole slices kept for validation: those with nodule voxels, or every slice of the scan."""
    spacing_mm: float | None = None
    """Keep also what chunks of cubic voxels of this size (mm) touch; "none" keeps those of the
    scan's own voxels only."""
    candidates: CandidateConfig = field(default_factory=CandidateConfig)
    """Which candidates there are."""

    def __post_init__(self) -> None:
        if wrong := wrong_spacing(self.spacing_mm):
            raise UsageError(wrong)

    def storing(self) -> dict[str, Any]:
        """Return the values that shape an entry; candidates do so by their places."""
        values = asdict(self)
        del values["candidates"]
        return values


def entry_key(kind: str, *values: Any) -> str:
    """Return a key over everything that shapes an entry; arrays count by their bytes.

    A list counts as its items one after another.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, BLOCK_IRC, CHUNK_IRC, CROP_RC]).encode())
    for value in values:
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, np.ndarray):
                digest.update(np.ascontiguousarray(item).tobytes())
            else:
                digest.update(json.dumps(item, sort_keys=True).encode())
            digest.update(b"\0")
    return f"{kind}:{digest.hexdigest()}"
