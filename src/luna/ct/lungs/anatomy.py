"""Check the header of a chest CT against the anatomy that its voxels show.

A wrong orientation exchanges the sides of every finding, and a wrong spacing every size. Each
check states its evidence. What no chest can be is refused; what a rare patient can be (situs
inversus, a deformed chest) is a sentence for the report. Where a scan shows too little to tell,
as a slab of a few slices, there is no sentence.

The thresholds lie between the reference scans and the same scans turned, mirrored and rescaled
(`scripts/measure_anatomy.py`, docs/reliability.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.lungs.find import Lungs
from luna.ct.lungs.sides import AERATED_HU, LEFT, RIGHT
from luna.ct.mask import Mask
from luna.ct.scan import Scan
from luna.run.errors import InputError

LARGEST_ML = 12_000.0
"""The largest lungs hold about 9 l; spacings wrong by a factor make many times that."""

WIDTH_MM = (90.0, 450.0)
"""Both lungs together are 100 mm wide in a newborn and up to 360 mm in a large adult."""

DEPTH_TO_WIDTH = (0.4, 1.1)
"""Both lungs are wider than deep; the reference scans have 0.63 to 0.83."""

HEIGHT_TO_WIDTH = (0.45, 2.0)
"""Whole lungs are about as high as wide; the reference scans have 1.0 to 1.2."""

TISSUE_HU = (-250.0, 250.0)
"""The median around the lungs, between fat (near -100), muscle (near 50) and contrast."""

BONE_HU = 200
BONE_MIN_MM3 = 3000.0
SPINE_BAND_MM = 30.0
SPINE_DEPTH = (0.6, 1.6)
"""The spine is the bone within 30 mm of the midline, behind the lungs' middle by more than this
share of half their depth; the sternum lies as far in front. Less bone than this is no spine."""

SPINE_TURNED = -0.2
"""(back - front) / (back + front) of that bone; the reference scans have 0.39 to 0.85."""

APEX_TURNED = 0.8
"""Tissue between the lungs in their lower third over that in their upper third: the heart lies
low. The reference scans have 1.3 to 4.9, turned upside down at most 0.76."""

MIRRORED = -0.15
"""Score of liver, heart and volumes; the reference scans have 0.31 to 0.76, slabs -0.03 to 0.49."""

APEX_SHOWN, SIDES_SHOWN = 1.2, 0.15
"""Below these, a slab shows too little of the heart and the liver to tell a flip from none."""

UNDER_BASE_MM = (8.0, 24.0)
"""The depth below the base of a lung at which liver differs from stomach, spleen and fat."""

LIVER_HU = (0, 250)
LIVER_MIN_VOXELS = 3000
"""Soft tissue of this attenuation, where at least so many coarse voxels lie under each lung."""


@dataclass(frozen=True, slots=True)
class _Chest:
    """The lungs of a scan, and the numbers that several checks read from them.

    The axes of `hu` and of the masks run from feet to head, front to back, right to left by the
    header. `box` holds both lungs; `between` is the tissue with the right lung on its right and
    the left lung on its left.
    """

    lungs: Lungs
    hu: NDArray[np.float32]
    right: Mask
    left: Mask
    between: Mask
    box: tuple[slice, slice, slice]

    def size_mm(self) -> tuple[float, float, float]:
        """Height, depth and width of both lungs together."""
        spacing_irc = self.lungs.spacing_irc
        i, r, c = ((s.stop - s.start) * mm for s, mm in zip(self.box, spacing_irc, strict=True))
        return i, r, c


def check_anatomy(scan: Scan, lungs: Lungs) -> tuple[str, ...]:
    """Return a sentence for each statement of the header that the anatomy contradicts.

    Raises InputError where sizes or attenuation are those of no patient.
    """
    chest = _chest_of(scan, lungs)
    if why := next(_impossible(chest), ""):
        raise InputError(
            "this is not a chest in millimetres and Hounsfield units",
            file=scan.provenance.source,
            why=why,
            hint="the header's spacing or rescale values do not fit the image; convert it again",
        )
    if not (chest.right.any() and chest.left.any()):
        return ()
    return tuple(_contradictions(chest)) or tuple(_unchecked(chest))


def _chest_of(scan: Scan, lungs: Lungs) -> _Chest:
    hu, labels, aerated = lungs.hu, lungs.labels, lungs.aerated
    if scan.geometry.matrix[0, 0] < 0:
        hu, labels, aerated = hu[:, :, ::-1], labels[:, :, ::-1], aerated[:, :, ::-1]
    right, left = (aerated & (labels == side) for side in (RIGHT, LEFT))
    lung_on_right = np.logical_or.accumulate(right, axis=2)
    lung_on_left = np.logical_or.accumulate(left[:, :, ::-1], axis=2)[:, :, ::-1]
    between = (hu > AERATED_HU) & lung_on_right & lung_on_left
    i, r, c = ndimage.find_objects((labels > 0).astype(np.uint8))[0]
    return _Chest(lungs, hu, right, left, between, (i, r, c))


def _impossible(chest: _Chest) -> Iterator[str]:
    """Evidence that sizes or attenuation are those of no patient."""
    volume_ml = sum(chest.lungs.volume_ml)
    if volume_ml > LARGEST_ML:
        yield f"the lungs would hold {volume_ml / 1000:.0f} l"
    _, depth_mm, width_mm = chest.size_mm()
    both = chest.right.any() and chest.left.any()
    if both and not WIDTH_MM[0] < width_mm < WIDTH_MM[1]:
        yield f"the lungs would be {width_mm:.0f} mm wide"
    if both and depth_mm < DEPTH_TO_WIDTH[0] * width_mm:
        yield f"the lungs would be {width_mm:.0f} mm wide and only {depth_mm:.0f} mm deep"
    body = (chest.hu > -250) & (chest.lungs.labels == 0)
    tissue_hu = float(np.median(chest.hu[body])) if body.any() else 0.0
    if not TISSUE_HU[0] < tissue_hu < TISSUE_HU[1]:
        yield f"the tissue around the lungs has {tissue_hu:.0f} HU instead of -100 (fat) to 60"


def _contradictions(chest: _Chest) -> Iterator[str]:
    """A sentence for each direction or proportion that the anatomy contradicts."""
    height_mm, depth_mm, width_mm = chest.size_mm()
    spine, bone_mm3 = _spine_behind(chest)
    has_spine = bone_mm3 > BONE_MIN_MM3
    if depth_mm > DEPTH_TO_WIDTH[1] * width_mm:
        yield (
            f"Orientation in doubt: the lungs are {depth_mm:.0f} mm deep and {width_mm:.0f} mm "
            "wide, as if the patient were turned by 90 degrees. Do not rely on any side."
        )
    too_low = has_spine and height_mm < HEIGHT_TO_WIDTH[0] * width_mm and not chest.lungs.limits
    if too_low or height_mm > HEIGHT_TO_WIDTH[1] * width_mm:
        yield (
            f"Slice spacing in doubt: the lungs are {height_mm:.0f} mm high and {width_mm:.0f} mm "
            "wide. Do not rely on any size or volume."
        )
    if has_spine and spine < SPINE_TURNED:
        yield (
            "Orientation in doubt: the spine lies in front of the lungs, not behind them. The "
            "patient is turned or mirrored against the header. Do not rely on any side."
        )
    low_to_high = _heart_below(chest)
    if low_to_high < APEX_TURNED:
        yield (
            "Orientation in doubt: there is less tissue between the lungs at their lower end "
            f"({low_to_high:.1f} times that at the upper end), where the heart should be. The "
            "patient is upside down against the header. Do not rely on any side."
        )
    elif _usual_sides(chest) < MIRRORED:
        yield (
            "Sides in doubt: the larger lung, the liver and the smaller heart's side lie left. The "
            "image is mirrored against the header, or the patient has situs inversus. Do not rely "
            "on any side."
        )


def _unchecked(chest: _Chest) -> Iterator[str]:
    """A sentence on what a part of the lungs shows too little of to contradict the header."""
    if not chest.lungs.limits:
        return
    unseen = ["the distance of the slices"]
    if _usual_sides(chest) < SIDES_SHOWN:
        unseen.insert(0, "right and left")
    if _heart_below(chest) < APEX_SHOWN:
        unseen.insert(0, "head and feet")
    if _spine_behind(chest)[1] <= BONE_MIN_MM3:
        unseen.insert(0, "front and back")
    yield (
        f"Header unchecked: this part of the lungs shows too little to test {', '.join(unseen)} "
        "by the anatomy. They are taken from the header."
    )


def _spine_behind(chest: _Chest) -> tuple[float, float]:
    """Return where the midline's bone lies, -1 (in front) to 1 (behind), and its mm³."""
    i, r, c = chest.box
    column_mm = chest.lungs.spacing_irc[2]
    middle, reach = (c.start + c.stop - 1) / 2, SPINE_BAND_MM / column_mm
    band = slice(max(int(middle - reach), 0), int(middle + reach) + 1)
    bone = (chest.hu[i][:, :, band] > BONE_HU).sum(axis=(0, 2))
    half = (r.stop - r.start) / 2
    offset = (np.arange(len(bone)) - (r.start + r.stop - 1) / 2) / half
    near, far = SPINE_DEPTH
    front = int(bone[(offset < -near) & (offset > -far)].sum())
    back = int(bone[(offset > near) & (offset < far)].sum())
    bone_mm3 = (front + back) * float(np.prod(chest.lungs.spacing_irc))
    return (back - front) / max(front + back, 1), bone_mm3


def _heart_below(chest: _Chest) -> float:
    """Return the tissue between the lungs' lower thirds over that between their upper thirds."""
    area = chest.between[chest.box[0]].sum(axis=(1, 2))
    third = len(area) // 3
    if third == 0:
        return 1.0
    return float(area[:third].sum() / max(area[-third:].sum(), 1))


def _usual_sides(chest: _Chest) -> float:
    """Score how clearly liver, heart and lung volumes lie as usual; negative if mirrored.

    The liver lies under the right lung, the heart takes of the left lung in front and below, and
    the right lung is larger.
    """
    i, r, _ = chest.box
    lower = slice(i.start, i.start + 2 * (i.stop - i.start) // 3)
    front = slice(r.start, (r.start + r.stop) // 2)
    whole = np.log(chest.right.sum() / chest.left.sum())
    by_heart = np.log(
        max(chest.right[lower, front].sum(), 1) / max(chest.left[lower, front].sum(), 1)
    )
    return _liver_right(chest) + float(whole + by_heart) / 2


def _liver_right(chest: _Chest) -> float:
    """The share of soft tissue under the right lung minus that under the left; 0 if not shown."""
    right, left = (_under_base_hu(chest, lung) for lung in (chest.right, chest.left))
    if min(len(right), len(left)) < LIVER_MIN_VOXELS:
        return 0.0
    low, high = LIVER_HU
    shares = [((hu > low) & (hu < high)).mean() for hu in (right, left)]
    return float(shares[0] - shares[1])


def _under_base_hu(chest: _Chest, lung: Mask) -> NDArray[np.float32]:
    """The smoothed HU of the tissue just under a lung, away from its outline."""
    smooth = ndimage.uniform_filter(chest.hu, 3)
    base = lung.argmax(axis=0)
    rows, columns = np.nonzero(ndimage.binary_erosion(lung.any(axis=0), iterations=4))
    first, last = (round(mm / chest.lungs.spacing_irc[0]) for mm in UNDER_BASE_MM)
    values = []
    for below in range(first, last + 1):
        index = base[rows, columns] - below
        inside = index >= 0
        values.append(smooth[index[inside], rows[inside], columns[inside]])
    return np.concatenate(values)
