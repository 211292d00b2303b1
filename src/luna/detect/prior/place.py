"""Find a place of one scan in another by its surroundings; an affine alignment is too stiff.

Breath moves the base of the lungs further than the apex, so that an affine alignment leaves some
millimetres. The surroundings of a place, its vessels and walls, are searched for in the other scan
around the place where the alignment puts it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

from luna.ct.geometry import FloatArray
from luna.ct.lungs.find import Lungs
from luna.ct.scan import AIR_HU, Scan
from luna.detect.prior.align import Alignment

STEP_MM = 1.5
"""Voxels of the cubes that are compared: vessels of 1 mm still show."""

REACH_MM = 21.0
"""Half the side of the box that is searched for."""

SEARCH_MM = 12.0
"""How far around the aligned place."""

DENSEST_HU = 100.0
"""Denser voxels count as this dense: bone and calcium would outweigh vessels."""

BLUR_STEPS = 0.7
"""Noise and the scanner's kernel differ between two scans; vessels survive this blur."""

Cube = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a point lies in another scan (LPS mm), and how well its surroundings fit there.

    `fit` is a correlation of attenuations, 1 for equal surroundings. `aligned_xyz` is where the
    alignment alone puts the point.
    """

    xyz: FloatArray
    aligned_xyz: FloatArray
    fit: float


def find_place(
    scan: Scan, lungs: Lungs, xyz: ArrayLike, ignored_mm: float, other: Scan, alignment: Alignment
) -> Place:
    """Search for a point of a scan in another one.

    `alignment` takes points of the scan to the other one. What is nearer to the point than
    `ignored_mm` is not compared: it is the nodule, which may have changed.
    """
    center = np.asarray(xyz, dtype=np.float64)
    offsets = _offsets(REACH_MM)
    here = _cube(scan, center + offsets)
    far_mm = np.linalg.norm(offsets, axis=-1)
    inside = lungs.label_at(scan.geometry.irc_from_xyz(center + offsets)) > 0
    weight = (inside & (far_mm <= REACH_MM) & (far_mm > ignored_mm)).astype(np.float32)
    wide = _offsets(REACH_MM + SEARCH_MM)
    there = _cube(other, alignment.to_prior(center + wide))
    fit = _correlation(here, weight, there)
    best = np.unravel_index(int(fit.argmax()), fit.shape)
    shift_irc = np.array(best) - (np.array(fit.shape) - 1) / 2 + _fraction(fit, best)
    moved = center + shift_irc[::-1] * STEP_MM
    return Place(alignment.to_prior(moved), alignment.to_prior(center), float(fit[best]))


def _offsets(reach_mm: float) -> FloatArray:
    """A cube (n, n, n, 3) of offsets x, y, z in mm; its axes are z, y and x."""
    half = round(reach_mm / STEP_MM)
    line = np.arange(-half, half + 1) * STEP_MM
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    return np.stack([x, y, z], axis=-1)


def _cube(scan: Scan, points_xyz: FloatArray) -> Cube:
    """Attenuation at points, between voxels; air outside the scan."""
    irc = scan.geometry.irc_from_xyz(points_xyz)
    flat = irc.reshape(-1, 3)
    low = np.maximum(np.floor(flat.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(flat.max(axis=0)).astype(int) + 1, scan.hu.shape)
    if (high <= low).any():
        return np.full(irc.shape[:-1], AIR_HU, dtype=np.float32)
    box = scan.hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    found = ndimage.map_coordinates(
        box, np.moveaxis(irc - low, -1, 0), order=1, mode="constant", cval=AIR_HU
    )
    return np.asarray(
        ndimage.gaussian_filter(np.clip(found, AIR_HU, DENSEST_HU), BLUR_STEPS), np.float32
    )


def _correlation(here: Cube, weight: Cube, there: Cube) -> NDArray[np.float64]:
    """Weighted correlation of a cube with each part of a wider one, by its shift."""
    total = float(weight.sum())
    mean = float((here * weight).sum() / total)
    template = (here - mean) * weight
    spread = float(np.sqrt((template * (here - mean)).sum()))
    wide = there.astype(np.float64) - float(there.mean())
    shifts = wide.shape[0] - here.shape[0] + 1  # of the smaller cube inside the wider one
    spectra = [np.conj(fft.rfftn(kernel, wide.shape)) for kernel in (template, weight)]

    def summed(image: NDArray[np.float64], spectrum: NDArray[np.complex128]) -> FloatArray:
        found = fft.irfftn(fft.rfftn(image) * spectrum, wide.shape)
        return np.asarray(found[:shifts, :shifts, :shifts], dtype=np.float64)

    products = summed(wide, spectra[0])
    variance = summed(wide**2, spectra[1]) - summed(wide, spectra[1]) ** 2 / total
    return products / np.maximum(spread * np.sqrt(np.maximum(variance, 1.0)), 1e-6)


def _fraction(fit: NDArray[np.float64], best: tuple[np.intp, ...]) -> FloatArray:
    """How far, in steps along each axis, the peak of a parabola lies from the largest value."""
    out = np.zeros(3)
    for axis in range(3):
        line = np.moveaxis(fit, axis, -1)[tuple(b for a, b in enumerate(best) if a != axis)]
        k = int(best[axis])
        if 0 < k < len(line) - 1:
            bend = line[k - 1] - 2 * line[k] + line[k + 1]
            out[axis] = (line[k - 1] - line[k + 1]) / (2 * bend) if bend < 0 else 0.0
    return out
