"""Measure what `ct.lungs.anatomy` reads from scans, and what it says of them changed on purpose.

Each argument is an image file, or a folder of one DICOM series (FOLDER#UID picks one of
several). A scan is reduced to voxels of about 2.5 mm first, the grid on which luna finds lungs.
Prints Markdown:

    python scripts/measure_anatomy.py ../shared/real/cptac-c3n-00247 data/subset0/*.mhd
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from luna.ct.geometry import Geometry
from luna.ct.lungs import anatomy
from luna.ct.lungs.find import find_lungs
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.run.errors import InputError

WORKING_MM = 2.5


def flipped(axis: int) -> Callable[[Scan], Scan]:
    """Reverse the voxels along an axis, under the same header."""
    return lambda scan: replace(scan, hu=np.ascontiguousarray(np.flip(scan.hu, axis)))


def valued(scale: float, shift: float) -> Callable[[Scan], Scan]:
    """Change the values of all voxels."""
    return lambda scan: replace(scan, hu=np.rint(scan.hu * scale + shift).astype(np.int16))


def spaced(x: float, y: float, z: float) -> Callable[[Scan], Scan]:
    """Multiply the spacings of the header."""

    def change(scan: Scan) -> Scan:
        old = scan.geometry
        spacing = [mm * factor for mm, factor in zip(old.spacing_xyz, (x, y, z), strict=True)]
        return replace(scan, geometry=Geometry(old.origin_xyz, tuple(spacing), old.direction))

    return change


CHANGES: dict[str, Callable[[Scan], Scan]] = {
    "as it is": lambda scan: scan,
    "upside down": flipped(0),
    "back to front": flipped(1),
    "mirrored": flipped(2),
    "HU + 400": valued(1, 400),
    "HU / 1.9": valued(1 / 1.9, 0),
    "spacing × 4": spaced(4, 4, 4),
    "spacing × 0.25": spaced(0.25, 0.25, 0.25),
    "slices × 4": spaced(1, 1, 4),
    "slices × 0.25": spaced(1, 1, 0.25),
}


def main() -> None:
    print("| scan | " + " | ".join(CHANGES) + " | spine | heart | sides |")
    print("|---" * (len(CHANGES) + 4) + "|")
    for name in sys.argv[1:]:
        scan = reduced(read(name))
        answers = [answer(change(scan)) for change in CHANGES.values()]
        print(f"| {label(name)} | " + " | ".join([*answers, *figures(scan)]) + " |", flush=True)


def read(name: str) -> Scan:
    path, _, uid = name.partition("#")
    return read_scan(Path(path), series_uid=uid or None)


def label(name: str) -> str:
    path, _, uid = name.partition("#")
    return "…" + uid[-6:] if uid else f"{Path(path).stem[-32:]}"


def reduced(scan: Scan) -> Scan:
    """The block means of a scan at about 2.5 mm."""
    lungs = find_lungs(scan)
    z, y, x = lungs.spacing_irc
    geometry = Geometry(scan.geometry.origin_xyz, (x, y, z), scan.geometry.direction)
    return replace(scan, hu=np.rint(lungs.hu).astype(np.int16), geometry=geometry)


def answer(scan: Scan) -> str:
    """Say `refused`, the first words of each doubt, or `–`."""
    try:
        doubts = anatomy.check_anatomy(scan, find_lungs(scan))
    except InputError:
        return "refused"
    return ", ".join(doubt.partition(" in doubt")[0].lower() for doubt in doubts) or "–"


def figures(scan: Scan) -> Iterator[str]:
    chest = anatomy._chest_of(scan, find_lungs(scan))
    yield f"{anatomy._spine_behind(chest)[0]:.2f}"
    yield f"{anatomy._heart_below(chest):.1f}"
    yield f"{anatomy._usual_sides(chest):.2f}"


if __name__ == "__main__":
    main()
