"""The lobes of the lungs, from a label volume of the scan by TotalSegmentator or lungmask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import ndimage

from luna.ct.geometry import Triple
from luna.ct.labels import Labels, read_labels
from luna.ct.lungs.find import Lungs
from luna.ct.mask import BoxMask
from luna.ct.scan import Scan
from luna.run.errors import InputError

Lobe = Literal["left upper", "left lower", "right upper", "right middle", "right lower"]

SCHEMES: dict[str, dict[int, Lobe]] = {
    "lungmask": {
        1: "left upper",
        2: "left lower",
        3: "right upper",
        4: "right middle",
        5: "right lower",
    },
    "TotalSegmentator 2": {
        10: "left upper",
        11: "left lower",
        12: "right upper",
        13: "right middle",
        14: "right lower",
    },
}
"""What each label means: lungmask's model LTRCLobes, TotalSegmentator's task "total"."""

IN_LUNG_LEAST = 0.8
"""This share of each lobe lies in the lung of its side, as luna found it."""

SEEN_MM = 10.0
"""A nodule on the pleura belongs to the nearest lobe within this distance, …"""


@dataclass(frozen=True, slots=True)
class Lobes:
    """Labels on a scan's grid (index, row, column), and which of SCHEMES names them."""

    labels: Labels
    scheme: str

    def of(self, mask: BoxMask, spacing_irc: Triple) -> Lobe | None:
        """The lobe that holds most of a mask, else the nearest one; None where none is near."""
        names = SCHEMES[self.scheme]
        reach = np.ceil(SEEN_MM / np.array(spacing_irc)).astype(int)
        low = np.maximum(np.array(mask.start_irc) - reach, 0)
        high = np.minimum(np.array([s.stop for s in mask.slices]) + reach, self.labels.shape)
        box = self.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        own = np.zeros(box.shape, dtype=np.bool_)
        start = np.array(mask.start_irc) - low
        own[tuple(slice(a, a + n) for a, n in zip(start, mask.voxels.shape, strict=True))] = (
            mask.voxels
        )
        far_mm = ndimage.distance_transform_edt(~own, sampling=spacing_irc)
        known = np.isin(box, list(names)) & (far_mm <= SEEN_MM)
        if not known.any():
            return None
        nearest = known & (far_mm <= far_mm[known].min())
        return names[int(np.bincount(box[nearest]).argmax())]


def read_lobes(path: Path, scan: Scan, lungs: Lungs) -> Lobes:
    """Read the lobes of a scan.

    Raises InputError for a file that is no label volume on the scan's grid, whose labels are
    those of neither program, or whose lobes do not lie in the lungs of their side.
    """
    labels = read_labels(path, scan)
    found = {int(value) for value in np.unique(labels)} - {0}
    scheme = (
        "lungmask" if found and max(found) <= max(SCHEMES["lungmask"]) else "TotalSegmentator 2"
    )
    lobes = {label: name for label, name in SCHEMES[scheme].items() if label in found}
    if not lobes:
        raise InputError("no lobes in this label volume", file=path, why=_found(found), hint=HINT)
    for label, name in lobes.items():
        share = _share_in_lung(labels == label, name, lungs)
        if share < IN_LUNG_LEAST:
            raise InputError(
                "the lobes do not fit the scan",
                file=path,
                why=f"label {label} would be the {name} lobe by {scheme}, and {share:.0%} of it "
                "lies in that lung",
                hint=HINT,
            )
    return Lobes(labels, scheme)


HINT = "luna knows the labels of lungmask (LTRCLobes) and TotalSegmentator 2 (total) of this scan"


def _found(labels: set[int]) -> str:
    few = ", ".join(map(str, sorted(labels)[:10]))
    return f"its labels are {few}" if labels else "all of it is 0"


def _share_in_lung(lobe: np.ndarray, name: Lobe, lungs: Lungs) -> float:
    """The share of a lobe that lies in the lung of its side, from every 7th voxel."""
    side = 1 if name.startswith("right") else 2
    places = np.argwhere(lobe)[::7]
    return float((lungs.label_at(places) == side).mean())
