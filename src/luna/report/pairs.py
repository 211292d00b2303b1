"""Key images of one nodule in two aligned scans, side by side, as data URIs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from luna.ct.geometry import FloatArray, Triple
from luna.ct.scan import AIR_HU, Scan
from luna.detect.findings import PLANES, Plane
from luna.detect.prior.changes import Change, Comparison, Sighting
from luna.report.figures import LUNG_WINDOW, data_uri, outline_path, windowed

FIELD_MM = 50.0
FIELD_PER_AXIS = 2.5
"""An image shows at least 50 mm, and two and a half times the nodule's long axis."""

PIXELS = 200

AXES: dict[Plane, tuple[Triple, Triple]] = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}
"""Where the right and the lower edge of an image lie in the patient (LPS)."""

LETTERS: dict[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "H", "F"),
    "sagittal": ("A", "P", "H", "F"),
}
"""At the left, right, upper and lower edge."""


@dataclass(frozen=True, slots=True)
class View:
    """One plane of one scan; `outline` is an SVG path, empty where no nodule was measured."""

    image: str
    outline: str


@dataclass(frozen=True, slots=True)
class Pair:
    """The same plane of two scans; `scale_bar` is 10 mm in pixels of the square images."""

    plane: Plane
    now: View
    prior: View
    letters: tuple[str, str, str, str]
    scale_bar: float
    size: int = PIXELS


def pair_images(scan: Scan, comparison: Comparison, change: Change) -> list[Pair]:
    """Draw the planes of the patient through a nodule's place in both scans.

    The prior is turned and stretched as its alignment tells, so that what is at the same place
    in both images is the same part of the lung.
    """
    axes = [s.measurement.long_axis_mm for s in (change.now, change.prior) if s is not None]
    field_mm = max(FIELD_MM, FIELD_PER_AXIS * max(axes))
    line = (np.arange(PIXELS) + 0.5 - PIXELS / 2) * field_mm / PIXELS
    stretch = comparison.prior.alignment.matrix
    pairs = []
    for plane in PLANES:
        right, down = (np.array(way) for way in AXES[plane])
        offsets = line[None, :, None] * right + line[:, None, None] * down
        now = _view(scan, change.now, np.array(change.now_xyz) + offsets)
        there = np.array(change.prior_xyz) + offsets @ stretch.T
        prior = _view(comparison.prior.scan, change.prior, there)
        pairs.append(Pair(plane, now, prior, LETTERS[plane], 10 * PIXELS / field_mm))
    return pairs


def _view(scan: Scan, seen: Sighting | None, points_xyz: FloatArray) -> View:
    irc = np.moveaxis(scan.geometry.irc_from_xyz(points_xyz), -1, 0)
    low = np.maximum(np.floor(irc.min(axis=(1, 2))).astype(int), 0)
    high = np.minimum(np.ceil(irc.max(axis=(1, 2))).astype(int) + 1, scan.hu.shape)
    grey = np.full(irc.shape[1:], AIR_HU, dtype=np.float32)
    if (high > low).all():
        box = scan.hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        grey = _sampled(box.astype(np.float32), irc, low.tolist(), order=1, outside=AIR_HU)
    image = data_uri(Image.fromarray(windowed(grey, LUNG_WINDOW)), "PNG")
    if seen is None:
        return View(image, "")
    mask = _sampled(
        seen.mask.voxels.astype(np.float32), irc, seen.mask.start_irc, order=0, outside=0
    )
    return View(image, outline_path(mask > 0, (0, 0), (1, 1)))


def _sampled(
    box: NDArray[np.float32],
    irc: FloatArray,
    start_irc: Sequence[int],
    order: int,
    outside: float,
) -> NDArray[np.float32]:
    places = irc - np.reshape(start_irc, (3, 1, 1))
    found = ndimage.map_coordinates(box, places, order=order, mode="constant", cval=outside)
    return np.asarray(found, dtype=np.float32)
