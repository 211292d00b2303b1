"""Measure ideal balls of known diameter, and print the error by size and distance of slices.

    python scripts/measure_balls.py [--balls 40] [--noise 0]

A ball of soft tissue in lung is averaged over each voxel. Its centre lies anywhere between
voxels, and pixels are 0.5 to 1.0 mm. The mask is all that is touched by the ball, as segmenters
mark: a voxel too wide. Errors are in mm; the last columns compare volumes.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import Geometry, Triple
from luna.ct.mask import BoxMask
from luna.ct.scan import Provenance, Scan
from luna.detect.findings import Measurement
from luna.detect.measure import measure

DIAMETERS_MM = (3, 4, 5, 6, 8, 10, 15, 20, 30)
SLICES_MM = (1.0, 1.25, 1.5, 2.0, 2.5)
LUNG_HU, NODULE_HU = -850.0, 40.0
PARTS = 8
"""Lines per pixel and axis, along which a ball is integrated."""


def shares(diameter_mm: float, spacing_irc: Triple, offset_irc: Triple) -> NDArray[np.float64]:
    """The share of each voxel that a ball fills; its centre is `offset_irc` from the middle."""
    size = [int(np.ceil((diameter_mm + 8) / s)) for s in spacing_irc]
    middle = [(n - 1) / 2 + o for n, o in zip(size, offset_irc, strict=True)]
    row_mm, column_mm = (
        ((np.arange(n * PARTS) + 0.5) / PARTS - 0.5 - m) * s
        for n, m, s in zip(size[1:], middle[1:], spacing_irc[1:], strict=True)
    )
    # The ball's half chord along the slice axis, at every line through the pixels.
    half = np.sqrt(np.maximum((diameter_mm / 2) ** 2 - row_mm[:, None] ** 2 - column_mm**2, 0))
    step = spacing_irc[0]
    filled = []
    for k in range(size[0]):
        place_mm = (k - middle[0]) * step
        low, high = np.maximum(place_mm - step / 2, -half), np.minimum(place_mm + step / 2, half)
        chord = np.maximum(high - low, 0).reshape(size[1], PARTS, size[2], PARTS)
        filled.append(chord.mean(axis=(1, 3)) / step)
    return np.stack(filled)


def measured(
    diameter_mm: float, spacing_irc: Triple, offset_irc: Triple, noise_hu: float = 0.0
) -> Measurement:
    """What luna measures of one ball."""
    share = shares(diameter_mm, spacing_irc, offset_irc)
    noise = np.random.default_rng(0).normal(0, noise_hu, share.shape)
    hu = np.rint(LUNG_HU + share * (NODULE_HU - LUNG_HU) + noise).astype(np.int16)
    geometry = Geometry((0.0, 0.0, 0.0), spacing_irc[::-1])
    source = Provenance(source="ball", format="synthetic")
    scan = Scan(hu=hu, geometry=geometry, series_uid="1.2.3", provenance=source)
    return measure(scan, BoxMask((0, 0, 0), share > 0.02))[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--balls", type=int, default=40, help="balls of each size and spacing")
    parser.add_argument("--noise", type=float, default=0.0, help="HU, standard deviation")
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    heads = " | ".join(f"{s:g} mm slices" for s in SLICES_MM)
    print(f"| diameter | {heads} | all | spread | long - short | volume |")
    print("|---" * (len(SLICES_MM) + 5) + "|")
    every = []
    for diameter in DIAMETERS_MM:
        errors, volumes, shapes = [], [], []
        for slice_mm in SLICES_MM:
            found = [
                measured(
                    diameter,
                    (slice_mm, pixel, pixel),
                    tuple(rng.uniform(-0.5, 0.5, 3)),
                    arguments.noise,
                )
                for pixel in rng.uniform(0.5, 1.0, arguments.balls)
            ]
            errors.append([m.diameter_mm - diameter for m in found])
            volumes += [m.volume_mm3 / (np.pi / 6 * diameter**3) - 1 for m in found]
            shapes += [m.long_axis_mm - m.short_axis_mm for m in found]
        every += errors
        means = " | ".join(f"{np.mean(e):+.2f}" for e in errors)
        print(
            f"| {diameter} mm | {means} | {np.mean(errors):+.2f} | {np.std(errors):.2f} "
            f"| {np.mean(shapes):.2f} | {100 * np.mean(volumes):+.0f} % |"
        )
    print(f"\nmean error {np.mean(every):+.3f} mm, mean of |error| {np.mean(np.abs(every)):.3f} mm")


if __name__ == "__main__":
    main()
