"""Draw inserted nodules beside real ones: an axial and a coronal cut of each, 50 mm wide.

    python scripts/draw_insertions.py COHORT ../shared/real/lidc-nodules sheet.png

The upper half shows the first 20 insertions of a cohort of `luna phantom --into`, the lower half
real nodules with their surroundings.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from luna.ct.read import read_scan

FIELD_MM, PIXELS, ACROSS = 50.0, 130, 10
WINDOW_HU = (-1350.0, 150.0)
Picture = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("real", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=20)
    args = parser.parse_args()
    inserted = list(_inserted(args.cohort, args.count))
    real = list(_real(args.real, args.count))
    rule = np.full((6, ACROSS * PIXELS), 255, np.uint8)
    Image.fromarray(np.concatenate([_sheet(inserted), rule, _sheet(real)])).save(args.out)


def _inserted(cohort: Path, count: int) -> Iterator[Picture]:
    with (cohort / "annotations_kind.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    uids = list(dict.fromkeys(row["seriesuid"] for row in rows))
    each = -(-count // len(uids))
    for uid in uids:
        scan = read_scan(next(cohort.glob(f"subset*/{uid}.mhd")))
        for row in [r for r in rows if r["seriesuid"] == uid][:each]:
            place = [float(row[f"coord{axis}"]) for axis in "XYZ"]
            yield _cuts(scan.hu, scan.geometry.irc_from_xyz(place), scan.geometry.spacing_irc)


def _real(folder: Path, count: int) -> Iterator[Picture]:
    with (folder / "ratings.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))[:count]
    for row in rows:
        hu = np.moveaxis(np.load(folder / row["file"]), 2, 0)
        pixel = float(row["PixelSpacing"])
        middle = np.array([s // 2 for s in hu.shape])
        yield _cuts(hu, middle, (float(row["SliceSpacing"]), pixel, pixel))


def _cuts(
    hu: NDArray[np.int16], center_irc: NDArray[np.float64], spacing_irc: tuple[float, ...]
) -> Picture:
    """Axial cut over coronal cut, (2 · PIXELS, PIXELS)."""
    offset = (np.arange(PIXELS) + 0.5) / PIXELS * FIELD_MM - FIELD_MM / 2
    i, r, c = (np.asarray(center_irc)[k] + offset / spacing_irc[k] for k in range(3))
    axial = np.stack([np.full((PIXELS, PIXELS), center_irc[0]), *np.meshgrid(r, c, indexing="ij")])
    up, across = np.meshgrid(i[::-1], c, indexing="ij")
    coronal = np.stack([up, np.full_like(up, center_irc[1]), across])
    low, high = WINDOW_HU
    found = [
        ndimage.map_coordinates(hu.astype(np.float32), at, order=1, cval=-1000)
        for at in (axial, coronal)
    ]
    both = np.concatenate(found)
    return np.asarray(np.clip((both - low) / (high - low) * 255, 0, 255), dtype=np.uint8)


def _sheet(pictures: list[Picture]) -> Picture:
    blank = np.zeros((2 * PIXELS, PIXELS), np.uint8)
    padded = pictures + [blank] * (-len(pictures) % ACROSS)
    rows = [np.concatenate(padded[k : k + ACROSS], axis=1) for k in range(0, len(padded), ACROSS)]
    return np.concatenate(rows)


if __name__ == "__main__":
    main()
