"""The data of the report's viewer: the stack, its place, and the findings."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from luna.ct.mask import BoxMask
from luna.ct.scan import Scan
from luna.detect.findings import Finding, Opacity
from luna.report.stack import LEVELS, LEVELS_HU, Stack

MASK_BITS_MAX = 4_000_000
"""Half a megabyte; a larger mask is shown by the box round it."""

Named = tuple[str, str, Finding | Opacity]
"""The name of a finding on a picture and in a sentence."""


def viewer_data(scan: Scan, stack: Stack, named: list[Named], outlined: int) -> dict[str, Any]:
    """Return plain data for the script; the first `outlined` findings have their masks.

    Places are in voxels of the stack along (index, row, column), integers at voxel centres.
    """
    return {
        "images": stack.images,
        "levels": LEVELS,
        "hu": LEVELS_HU,
        "start": stack.start_irc,
        "step": stack.step_irc,
        "shape": stack.shape_irc,
        "mm": [a * b for a, b in zip(stack.step_irc, scan.geometry.spacing_irc, strict=True)],
        "slices": scan.shape_irc[0],
        "origin": scan.geometry.origin_xyz,
        "steps_xyz": _steps_xyz(scan),
        "letters": scan.geometry.axis_letters(),
        "image_numbers": scan.provenance.image_numbers,
        "findings": [
            _found(stack, name, title, found, with_mask=k < outlined)
            for k, (name, title, found) in enumerate(named)
        ],
    }


def _steps_xyz(scan: Scan) -> list[list[float]]:
    """Return the step in LPS mm from voxel to voxel along each axis of the scan's array."""
    steps = scan.geometry.xyz_from_irc(np.eye(3)) - scan.geometry.origin_xyz
    return [[round(float(v), 6) for v in step] for step in steps]


def _found(
    stack: Stack, name: str, title: str, found: Finding | Opacity, *, with_mask: bool
) -> dict[str, Any]:
    """One finding: its centre, and the first and last voxel that its mask touches."""
    inside = np.argwhere(found.mask.voxels) + found.mask.start_irc
    low = [_voxel(stack, axis, v) for axis, v in enumerate(inside.min(axis=0))]
    high = [_voxel(stack, axis, v) for axis, v in enumerate(inside.max(axis=0))]
    center = [_voxel(stack, axis, v) for axis, v in enumerate(found.center_irc)]
    packed = _packed(found.mask) if with_mask else None
    return {
        "name": name,
        "title": title,
        "center": center,
        "low": low,
        "high": high,
        "mask": packed,
    }


def _voxel(stack: Stack, axis: int, scan_voxel: float) -> int:
    """The voxel of the stack that holds a voxel of the scan."""
    inside = (scan_voxel + 0.5 - stack.start_irc[axis]) // stack.step_irc[axis]
    return int(np.clip(inside, 0, stack.shape_irc[axis] - 1))


def _packed(mask: BoxMask) -> dict[str, Any] | None:
    """A mask as one bit a voxel, in the order of its array."""
    if mask.voxels.size > MASK_BITS_MAX:
        return None
    bits = base64.b64encode(np.packbits(mask.voxels).tobytes()).decode("ascii")
    return {"start": mask.start_irc, "shape": mask.voxels.shape, "bits": bits}
