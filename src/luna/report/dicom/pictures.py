"""A lesion in three planes, drawn for a key image and for the pages of the report on paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from luna.ct.scan import Scan
from luna.detect.findings import PLANES, Finding, Opacity
from luna.report.figures import FIELD_MM, FIELD_PER_AXIS, LUNG_WINDOW

OUTLINE, AXES = "#ffb000", "#00c8ff"
"""Colours that stand apart for colour-blind eyes, on grey."""

KEY_INCHES, DOTS = (9.0, 3.4), 128
"""Size of a key image: 1152×435 pixels."""

Bytes = NDArray[np.uint8]


def key_picture(scan: Scan, found: Finding | Opacity, title: str) -> Bytes:
    """Draw a lesion as an RGB image (row, column, 3), with its title burned in."""
    figure = Figure(figsize=KEY_INCHES, dpi=DOTS, facecolor="black")
    canvas: Any = FigureCanvasAgg(figure)  # its methods carry no types
    figure.text(0.01, 0.94, title, color="white", fontsize=10)
    draw_planes([figure.add_axes((k / 3, 0.02, 0.33, 0.82)) for k in range(3)], scan, found)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def draw_planes(places: Sequence[Axes], scan: Scan, found: Finding | Opacity) -> None:
    """Draw the axial, coronal and sagittal plane through a lesion's centre, one in each place.

    The patient's right is on the left, the head is up, as a radiologist holds pictures; the mask
    is outlined, the axes of the axial plane are drawn where they lie on it.
    """
    for normal, place in enumerate(places):
        _draw_plane(place, scan, found, normal)


def _draw_plane(place: Axes, scan: Scan, found: Finding | Opacity, normal: int) -> None:
    index = round(found.center_irc[normal])
    vertical, horizontal = (axis for axis in range(3) if axis != normal)
    spacing = scan.geometry.spacing_irc
    mm = (spacing[vertical], spacing[horizontal])
    mask = np.zeros(scan.shape_irc[:normal] + scan.shape_irc[normal + 1 :], dtype=np.bool_)
    inside = index - found.mask.start_irc[normal]
    if 0 <= inside < found.mask.voxels.shape[normal]:
        boxed = tuple(s for axis, s in enumerate(found.mask.slices) if axis != normal)
        mask[boxed] = found.mask.voxels.take(inside, axis=normal)
    center, width = LUNG_WINDOW
    place.imshow(
        scan.hu.take(index, axis=normal),
        cmap="gray",
        vmin=center - width / 2,
        vmax=center + width / 2,
        aspect=mm[0] / mm[1],
        interpolation="bilinear",
    )
    if mask.any():
        place.contour(mask, levels=[0.5], colors=[OUTLINE], linewidths=0.8)
    if normal == 0:
        _draw_axes(place, found, index)
    half_mm = max(FIELD_MM, FIELD_PER_AXIS * found.measurement.long_axis_mm) / 2
    at = (found.center_irc[vertical], found.center_irc[horizontal])
    reach = (half_mm / mm[0], half_mm / mm[1])
    # The index grows to the head and rows to the back: only planes with slices are turned over.
    low, high = at[0] - reach[0], at[0] + reach[0]
    place.set_ylim(*((low, high) if vertical == 0 else (high, low)))
    place.set_xlim(at[1] - reach[1], at[1] + reach[1])
    place.set_facecolor("black")
    place.set_xticks([])
    place.set_yticks([])
    place.set_title(_caption(scan, found, normal), color="0.6", fontsize=7, pad=3)


def _draw_axes(place: Axes, found: Finding | Opacity, index: int) -> None:
    lines = found.measurement.drawn[0] if found.measurement.drawn else None
    if lines is None or lines.plane_index != index:
        return
    for (_, row_a, column_a), (_, row_b, column_b) in (lines.long_ends_irc, lines.short_ends_irc):
        place.plot([column_a, column_b], [row_a, row_b], color=AXES, linewidth=0.8)


def _caption(scan: Scan, found: Finding | Opacity, normal: int) -> str:
    letters = scan.geometry.axis_letters()
    vertical, horizontal = (letters[axis] for axis in range(3) if axis != normal)
    up = vertical[::-1] if normal else vertical  # slices are drawn from the head down
    value = found.center_xyz[2 - normal]
    return (
        f"{PLANES[normal]}, {'zyx'[normal]} = {value:.1f} mm; "
        f"{horizontal[0]} left, {horizontal[1]} right, {up[0]} up"
    )
