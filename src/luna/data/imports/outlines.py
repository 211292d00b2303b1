"""Outlines of nodules by one or several readers, and the nodules that they agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.mask import BoxMask, Mask
from luna.ct.scan import Scan
from luna.run.nodules import UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outline:
    """What one reader marked as one nodule, with the reader's ratings where there are any.

    `malignancy` is 1 to 5, `texture` 1 (ground glass) to 5 (solid); 0 where it is not rated.
    Source of the scales: LIDC-IDRI.
    """

    mask: BoxMask
    reader: str
    malignancy: int = 0
    texture: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Annotated:
    """One annotated nodule: centre in LPS mm, diameter, verdict and kind.

    `malignant` is 1, 0 or UNKNOWN; `kind` is empty where it is not known, and `mask` None where
    there are no outlines.
    """

    center_xyz: tuple[float, float, float]
    diameter_mm: float
    malignant: int = UNKNOWN
    kind: str = ""
    mask: BoxMask | None = None


def outlines_of(labels: NDArray[np.integer], reader: str) -> list[Outline]:
    """Return an outline for each label; of a single label, one for each connected piece."""
    if labels.max(initial=0) == 1:
        labels, _ = ndimage.label(labels, np.ones((3, 3, 3)))
    boxes = ndimage.find_objects(labels)
    return [
        Outline(mask=BoxMask(_start(box), labels[box] == label), reader=reader)
        for label, box in enumerate(boxes, start=1)
        if box is not None
    ]


def outline_of(mask: Mask, reader: str, **ratings: int) -> Outline | None:
    """Return a whole volume's mask as one outline; None when it is empty."""
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return None
    return Outline(mask=BoxMask(_start(boxes[0]), mask[boxes[0]]), reader=reader, **ratings)


def agreed(outlines: Sequence[Outline], scan: Scan, readers: int) -> tuple[list[Annotated], int]:
    """Return the nodules that at least so many readers outlined, and how many others there are.

    Outlines that share a voxel are of one nodule. Its voxels are those that at least half of
    its readers marked; its centre and diameter are the means of the readers' (the diameter of
    a ball of the same volume).
    """
    groups = _grouped(outlines)
    enough = [group for group in groups if len({o.reader for o in group}) >= readers]
    return [_nodule(group, scan) for group in enough], len(groups) - len(enough)


def _grouped(outlines: Sequence[Outline]) -> list[list[Outline]]:
    groups: list[list[Outline]] = []
    for outline in outlines:
        touched = [g for g in groups if any(_overlap(outline.mask, o.mask) for o in g)]
        groups = [g for g in groups if not any(g is t for t in touched)]
        groups.append([o for g in touched for o in g] + [outline])
    return groups


def _overlap(a: BoxMask, b: BoxMask) -> bool:
    low = np.maximum(a.start_irc, b.start_irc)
    high = np.minimum(_stop(a), _stop(b))
    if (high <= low).any():
        return False
    return bool((_cut(a, low, high) & _cut(b, low, high)).any())


def _cut(mask: BoxMask, low: NDArray[np.int64], high: NDArray[np.int64]) -> Mask:
    start = np.array(mask.start_irc)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low - start, high - start, strict=True))
    return mask.voxels[box]


def _nodule(group: Sequence[Outline], scan: Scan) -> Annotated:
    centers = [np.argwhere(o.mask.voxels).mean(axis=0) + o.mask.start_irc for o in group]
    volumes = np.array([o.mask.voxels.sum() * scan.geometry.voxel_mm3 for o in group])
    x, y, z = scan.geometry.xyz_from_irc(np.mean(centers, axis=0)).tolist()
    return Annotated(
        center_xyz=(x, y, z),
        diameter_mm=float(np.cbrt(6 * volumes / np.pi).mean()),
        malignant=_verdict([o.malignancy for o in group if o.malignancy]),
        kind=_kind([o.texture for o in group if o.texture]),
        mask=_majority([o.mask for o in group]),
    )


def _majority(masks: Sequence[BoxMask]) -> BoxMask:
    """Return the voxels that at least half of the masks hold; never none."""
    low = np.min([m.start_irc for m in masks], axis=0)
    votes = np.zeros(np.max([_stop(m) for m in masks], axis=0) - low, dtype=np.int32)
    for mask in masks:
        start = np.array(mask.start_irc) - low
        box = tuple(slice(a, a + n) for a, n in zip(start, mask.voxels.shape, strict=True))
        votes[box] += mask.voxels
    i, r, c = (int(n) for n in low)
    return BoxMask((i, r, c), votes >= min(len(masks) / 2, votes.max()))


def _verdict(ratings: Sequence[int]) -> int:
    """Return 1 or 0 where the median of the ratings is above or below "indeterminate"."""
    middle = np.median(ratings) if ratings else 3
    return UNKNOWN if middle == 3 else int(middle > 3)


def _kind(ratings: Sequence[int]) -> str:
    """Return the kind by the mean texture; 1 is ground glass, 3 part-solid, 5 solid."""
    if not ratings:
        return ""
    mean = np.mean(ratings)
    return "ground-glass" if mean < 2 else "part-solid" if mean <= 4 else "solid"


def _start(box: tuple[slice, ...]) -> tuple[int, int, int]:
    i, r, c = (s.start for s in box)
    return i, r, c


def _stop(mask: BoxMask) -> NDArray[np.int64]:
    return np.add(mask.start_irc, mask.voxels.shape)
