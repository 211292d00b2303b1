"""List the opacities that luna finds in scans, and how close normal tissue comes to being one.

Each argument is an image file, or a folder of one DICOM series (FOLDER#UID picks one of
several). With `--planted N`, N balls of soft tissue of 32 to 60 mm are put into the lungs of
each scan, one at a time, and counted when they are found. Prints Markdown:

    python scripts/measure_opacities.py ../shared/real/cptac-c3n-00247 data/subset0/*.mhd
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from luna.ct.lungs.find import find_lungs
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.detect.findings import Opacity
from luna.detect.opacity import find_opacities, regions
from luna.nets.trained import TrainedRange

TRAINED = TrainedRange(diameter_mm=(3.0, 30.0))
DIAMETERS_MM = (32.0, 60.0)
BALL_HU, NOISE_HU = 40, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", nargs="+")
    parser.add_argument("--planted", type=int, default=0)
    options = parser.parse_args()
    print("| scan | thick regions | opacities (side, LPS mm, axes mm, ml) | planted and found |")
    print("|---|---:|---|---|")
    for name in options.scans:
        path, _, uid = name.partition("#")
        scan = read_scan(Path(path), series_uid=uid or None)
        lungs = find_lungs(scan)
        thick = len(list(regions(lungs, float(scan.geometry.matrix[0, 0]))))
        found = find_opacities(scan, lungs, TRAINED)
        listed = "; ".join(shown(opacity) for opacity in found) or "none"
        planted = plant(scan, options.planted) if options.planted else "–"
        label = f"…{uid[-6:]}" if uid else f"…{Path(path).stem[-16:]}"
        print(f"| {label} | {thick} | {listed} | {planted} |", flush=True)


def shown(opacity: Opacity) -> str:
    size = opacity.measurement
    place = " ".join(f"{v:.0f}" for v in opacity.center_xyz)
    axes = f"{size.long_axis_mm:.0f}×{size.short_axis_mm:.0f}"
    return f"{opacity.side}, {place}, {axes}, {size.volume_mm3 / 1000:.0f}"


def plant(scan: Scan, count: int) -> str:
    """Put balls into aerated lung and count those that are found where they were put."""
    rng = np.random.default_rng(0)
    lungs = find_lungs(scan)
    spacing = np.array(scan.geometry.spacing_irc)
    places = np.argwhere(lungs.aerated) * lungs.factor_irc
    found = 0
    for center in places[rng.integers(len(places), size=count)]:
        radius_mm = rng.uniform(*DIAMETERS_MM) / 2
        hu = scan.hu.copy()
        reach = np.ceil(radius_mm / spacing).astype(int)
        low, high = np.maximum(center - reach, 0), np.minimum(center + reach + 1, hu.shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        offset_mm = (np.moveaxis(np.mgrid[box], 0, -1) - center) * spacing
        ball = np.linalg.norm(offset_mm, axis=-1) < radius_mm
        hu[box][ball] = rng.normal(BALL_HU, NOISE_HU, int(ball.sum()))
        planted = replace(scan, hu=hu)
        for opacity in find_opacities(planted, find_lungs(planted), TRAINED):
            off_mm = (np.array(opacity.center_irc) - center) * spacing
            if np.linalg.norm(off_mm) < radius_mm:
                found += 1
                break
    return f"{found} of {count}"


if __name__ == "__main__":
    main()
