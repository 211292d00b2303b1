"""Measure how far luna's descriptions agree with radiologists and with phantoms.

Prints two Markdown tables for each source: the kind against the truth with Cohen's kappa, and how
well calcium and strands order the nodules (AUC):

    python scripts/measure_descriptions.py --lidc ../shared/real/lidc-nodules --scans 10 --seed 78

Nodules are segmented by the shipped U-Net, as `luna diagnose` does it. The cubes of --lidc are
native voxels (row, column, slice), not resampled: the cube of LIDC-IDRI-0001 equals the series' own
slices voxel by voxel. Cubes with fewer than 60 slices are cut where the scan ends.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from luna.ct.geometry import Geometry
from luna.ct.lungs.find import Lungs, find_lungs
from luna.ct.mask import BoxMask
from luna.ct.scan import Provenance, Scan
from luna.detect.config import SegmentConfig
from luna.detect.describe import describe
from luna.detect.findings import Description
from luna.detect.group import Components, group
from luna.detect.measure import measure
from luna.detect.segment import segment
from luna.nets.models import SHIPPED, load_models
from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import make_scan

KINDS = ("solid", "part-solid", "ground-glass")
CUBE_MIDDLE = 30
"""A cube's nodule lies in this slice, counted from the end where the scan goes on."""

CUT_BELOW = ("LIDC-IDRI-0144",)
"""Patients whose cubes are cut at their first slice; the other cubes are cut at their last."""


@dataclass(frozen=True)
class Judged:
    """A nodule with the truth about it. `kind`: as KINDS."""

    name: str
    kind: str
    calcified: bool
    spiculated: bool
    found: Description


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lidc", type=Path)
    parser.add_argument("--scans", type=int, default=0)
    parser.add_argument("--seed", type=int, default=78)
    arguments = parser.parse_args()
    find = Finder()
    if arguments.lidc:
        report("LIDC-IDRI, rated by radiologists", list(lidc(arguments.lidc, find)))
    if arguments.scans:
        report("phantoms", list(phantoms(arguments.scans, arguments.seed, find)))


class Finder:
    """The shipped U-Net and what follows it."""

    def __init__(self) -> None:
        self.bundle = load_models([Path(SHIPPED)]).segmentation

    def components(self, scan: Scan, lungs: Lungs, whole: bool = False) -> Components:
        """What the U-Net marks in a scan."""
        config = SegmentConfig(region="whole" if whole else "lungs")
        device = torch.device("cpu")
        found = segment(scan, lungs, self.bundle, config, device, lambda done, total: None)
        return group(scan, found, self.bundle.card.erosion)


def nearest(
    scan: Scan, components: Components, place_irc: ArrayLike, reach_mm: float
) -> BoxMask | None:
    """The component whose centre is nearest to a place, None beyond `reach_mm`."""
    steps = (components.center_irc - np.asarray(place_irc)) * scan.geometry.spacing_irc
    distance = np.linalg.norm(steps, axis=1)
    if not len(distance) or distance.min() > reach_mm:
        return None
    nearest = [distance.argmin()]
    return components.masks(components.nodule[nearest], components.center_irc[nearest])[0]


def lidc(folder: Path, find: Finder) -> Iterator[Judged]:
    """The nodules of ratings.csv that the U-Net marked."""
    for row in csv.DictReader((folder / "ratings.csv").open(encoding="utf-8")):
        scan = cube(folder / row["file"], float(row["PixelSpacing"]), float(row["SliceSpacing"]))
        slices = scan.shape_irc[0]
        index = slices - CUBE_MIDDLE if row["file"].startswith(CUT_BELOW) else CUBE_MIDDLE
        lungs = everywhere(scan.shape_irc)
        reach_mm = max(float(row["Diameter"]) / 2, 4)
        components = find.components(scan, lungs, whole=True)
        mask = nearest(scan, components, (index, 49.5, 49.5), reach_mm)
        if mask is None:
            print(f"{row['file']}: not marked by the U-Net")
            continue
        texture = int(row["Texture"])
        yield Judged(
            name=row["file"],
            kind="ground-glass" if texture <= 2 else "part-solid" if texture <= 4 else "solid",
            calcified=int(row["Calcification"]) < 6,
            spiculated=int(row["Spiculation"]) >= 3,
            found=describe(scan, lungs, mask, measure(scan, mask)[0]),
        )


def cube(path: Path, pixel_mm: float, slice_mm: float) -> Scan:
    """A cube of LIDC-IDRI as a scan."""
    hu = np.maximum(np.load(path).transpose(2, 0, 1), -1024)
    return Scan(
        hu=np.ascontiguousarray(hu, dtype=np.int16),
        geometry=Geometry((0.0, 0.0, 0.0), (pixel_mm, pixel_mm, slice_mm)),
        series_uid=path.stem,
        provenance=Provenance(source=str(path), format="cube"),
    )


def everywhere(shape_irc: tuple[int, int, int]) -> Lungs:
    """Lungs that fill a cube, of which the cube shows a part only."""
    hu = np.full(shape_irc, -850, np.float32)
    labels = np.ones(shape_irc, np.uint8)
    return Lungs(labels, hu, (1, 1, 1), shape_irc, (1.0, 1.0, 1.0), (1.0, 1.0), ())


def phantoms(scans: int, seed: int, find: Finder) -> Iterator[Judged]:
    """The nodules of new phantoms that the U-Net marked."""
    config = PhantomConfig(slab_mm=90, extra_nodules=7)
    for number in range(scans):
        phantom = make_scan(seed, config, number)
        scan, lungs = phantom.scan, find_lungs(phantom.scan)
        components = find.components(scan, lungs)
        for nodule in phantom.nodules:
            place = scan.geometry.irc_from_xyz([nodule.center_xyz])[0]
            mask = nearest(scan, components, place, max(nodule.diameter_mm / 2, 2))
            if mask is not None:
                yield Judged(
                    name=f"{number}: {nodule.diameter_mm:.1f} mm",
                    kind=nodule.kind if nodule.kind in KINDS else "solid",
                    calcified=nodule.kind == "calcified",
                    spiculated=nodule.kind == "spiculated",
                    found=describe(scan, lungs, mask, measure(scan, mask)[0]),
                )


def report(name: str, judged: list[Judged]) -> None:
    """Print the tables of one source."""
    print(f"\n### {name}: {len(judged)} nodules\n")
    seen = Counter((j.kind, j.found.kind or "no kind") for j in judged)
    columns = (*KINDS, "no kind")
    print("| truth | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for kind in KINDS:
        print(f"| {kind} | " + " | ".join(str(seen[kind, c]) for c in columns) + " |")
    told = [(j.kind, j.found.kind) for j in judged if j.found.kind]
    kappa = cohen_kappa_score(*zip(*told, strict=True))
    print(f"\nCohen's kappa of the {len(told)} with a kind: {kappa:.2f}\n")
    print("| measured | positive | AUC |\n|---|---|---|")
    for words, truth, score in (
        ("calcium", [j.calcified for j in judged], [j.found.calcified_share for j in judged]),
        ("strands", [j.spiculated for j in judged], [j.found.strands for j in judged]),
    ):
        auc = f"{roc_auc_score(truth, score):.2f}" if any(truth) else "–"
        print(f"| {words} | {sum(truth)} of {len(truth)} | {auc} |")
    patterns = Counter(j.found.calcification for j in judged if j.calcified)
    print(f"\npatterns of the calcified: {dict(patterns)}")
    for flag in (True, False):
        counts = sorted(j.found.strands for j in judged if j.spiculated == flag)
        print(f"strands of the {'' if flag else 'not '}spiculated: {counts}")


if __name__ == "__main__":
    main()
