"""Key images of findings, as data URIs for one HTML file.

All images stand as a radiologist holds them: the patient's right on the viewer's left, head
up, in true proportions.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from luna.ct.scan import Scan
from luna.detect.findings import Finding, Opacity

LUNG_WINDOW = (-600, 1500)
SOFT_TISSUE_WINDOW = (40, 400)
"""Centre and width in HU, the usual presets."""

FIELD_MM = 60.0
FIELD_PER_AXIS = 2.5
"""A key image shows at least 60 mm, and two and a half times the long axis of the finding."""

KEY_PIXELS = 300
JPEG_QUALITY = 75

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class KeyImage:
    """One plane through a finding. Lengths in the drawing are pixels of a square image.

    `outline` is an SVG path; `letters` stand at the (left, right, top, bottom) edge;
    `cross` is the finding's centre; `scale_bar` the length of 10 mm.
    """

    plane: str
    caption: str
    lung: str
    soft_tissue: str
    outline: str
    letters: tuple[str, str, str, str]
    cross: tuple[float, float]
    scale_bar: float
    size: int = KEY_PIXELS


def windowed(hu: NDArray[np.number], window: tuple[int, int]) -> Bytes:
    """Turn HU into grey levels of a display window (centre, width)."""
    center, width = window
    grey = (np.asarray(hu, dtype=np.float32) - (center - width / 2)) * (255 / width)
    return np.asarray(np.clip(np.rint(grey), 0, 255), dtype=np.uint8)


def key_images(scan: Scan, finding: Finding | Opacity) -> list[KeyImage]:
    """Draw the axial, coronal and sagittal plane through the centre of a finding."""
    field_mm = max(FIELD_MM, FIELD_PER_AXIS * finding.measurement.long_axis_mm)
    spacing = np.array(scan.geometry.spacing_irc)
    # An odd number of voxels puts the centre voxel in the middle of the image.
    half = np.maximum(1, np.rint(field_mm / 2 / spacing).astype(int))
    size = tuple((2 * half + 1).tolist())
    center = np.rint(finding.center_irc).astype(int)
    hu = scan.crop(center, (size[0], size[1], size[2]))
    mask = _mask_in(finding, center - half, size)
    (feet, head), (front, back), (right, left) = scan.geometry.axis_letters()
    x, y, z = finding.center_xyz
    scale = KEY_PIXELS / field_mm
    planes = (
        ("axial", (0, 1, 2), (right, left, front, back), f"z = {z:.1f} mm"),
        ("coronal", (1, 0, 2), (right, left, head, feet), f"y = {y:.1f} mm"),
        ("sagittal", (2, 0, 1), (front, back, head, feet), f"x = {x:.1f} mm"),
    )
    return [
        _key_image(plane, axes, letters, caption, hu, mask, half, spacing, scale)
        for plane, axes, letters, caption in planes
    ]


def _mask_in(
    finding: Finding | Opacity, start: NDArray[np.intp], size: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Copy the finding's voxels to a box that starts at voxel `start` of the scan."""
    out = np.zeros(size, dtype=np.bool_)
    where = np.argwhere(finding.mask.voxels) + finding.mask.start_irc - start
    where = where[((where >= 0) & (where < size)).all(axis=1)]
    out[tuple(where.T)] = True
    return out


def _key_image(
    plane: str,
    axes: tuple[int, int, int],
    letters: tuple[str, str, str, str],
    caption: str,
    hu: NDArray[np.int16],
    mask: NDArray[np.bool_],
    half: NDArray[np.intp],
    spacing: NDArray[np.float64],
    scale: float,
) -> KeyImage:
    """Draw one plane: `axes` are the fixed, the vertical and the horizontal axis of the box.

    `scale` is pixels per mm, the same for all planes; what then lies beyond the square is cut.
    """
    fixed, vertical, horizontal = axes
    flat_hu, flat_mask = (a.take(half[fixed], axis=fixed) for a in (hu, mask))
    if vertical == 0:  # index grows towards the head, pictures downwards
        flat_hu, flat_mask = flat_hu[::-1], flat_mask[::-1]
    mm = spacing[[vertical, horizontal]]
    height, width = np.rint(np.array(flat_hu.shape) * mm * scale).astype(int)
    offset = ((KEY_PIXELS - width) / 2, (KEY_PIXELS - height) / 2)
    step = (width / flat_hu.shape[1], height / flat_hu.shape[0])
    images = [
        _framed(windowed(flat_hu, window), (int(width), int(height)))
        for window in (LUNG_WINDOW, SOFT_TISSUE_WINDOW)
    ]
    return KeyImage(
        plane=plane,
        caption=caption,
        lung=images[0],
        soft_tissue=images[1],
        outline=outline_path(flat_mask, offset, step),
        letters=letters,
        cross=(KEY_PIXELS / 2, KEY_PIXELS / 2),
        scale_bar=10 * scale,
    )


def _framed(grey: Bytes, size: tuple[int, int]) -> str:
    """Enlarge a grey image, centre it in a square, and return it as a data URI."""
    frame = Image.new("L", (KEY_PIXELS, KEY_PIXELS))
    image = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC)
    frame.paste(image, ((KEY_PIXELS - size[0]) // 2, (KEY_PIXELS - size[1]) // 2))
    return data_uri(frame, "JPEG")


def outline_path(
    mask: NDArray[np.bool_], offset: tuple[float, float], step: tuple[float, float]
) -> str:
    """Return an SVG path along the voxel edges of a 2-D mask (row, column).

    `offset` is where pixel (0, 0) begins in the drawing, `step` the size of a pixel, both
    (horizontal, vertical).
    """
    wide = np.pad(mask, 1)
    (x0, y0), (dx, dy) = offset, step
    edges = []
    for row, column in np.argwhere(wide[1:] != wide[:-1]):
        x, y = x0 + (column - 1) * dx, y0 + row * dy
        edges.append(f"M{x:.1f} {y:.1f}h{dx:.1f}")
    for row, column in np.argwhere(wide[:, 1:] != wide[:, :-1]):
        x, y = x0 + column * dx, y0 + (row - 1) * dy
        edges.append(f"M{x:.1f} {y:.1f}v{dy:.1f}")
    return "".join(edges)


def data_uri(image: Image.Image, image_format: str) -> str:
    """Return an image as a `data:` URI."""
    buffer = io.BytesIO()
    if image_format == "JPEG":
        image.save(buffer, image_format, quality=JPEG_QUALITY)
    else:
        image.save(buffer, image_format, optimize=True)
    stream = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{image_format.lower()};base64,{stream}"
