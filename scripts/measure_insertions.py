"""Measure how well inserted nodules can be told from real ones, as the table in docs/phantom.md.

    python scripts/measure_insertions.py ../shared/real/lidc-nodules

Nodules are inserted, as `luna phantom --into` does, into the lung around the real ones, so that
patients and scanners are the same. Each real nodule is matched with the inserted ones nearest in
size, three of them, solid with solid and subsolid with subsolid. A classifier sees, of both alike,
the radial profile of attenuation, its gradients, and texture; it learns from all patients but one
and scores that one, in turn. An AUC of 0.5 is chance, 1 is a give-away.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from luna.ct.geometry import Geometry
from luna.ct.lungs.find import Lungs
from luna.ct.scan import Provenance, Scan
from luna.phantom.config import PhantomConfig
from luna.phantom.disease.nodules import draw_nodule
from luna.phantom.insert.optics import measure_optics
from luna.phantom.insert.paint import paint
from luna.phantom.insert.room import map_room, place

Floats = NDArray[np.float64]
BOX_MM = 48.0
RINGS = (0.0, 0.3, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 2.6)
"""Bounds of the shells of the radial profile, in radii."""
SUBSOLID = ("part-solid", "ground-glass")
PARTNERS = 3
SAMPLES = 1000
SEED, TRIED = 18, 8
KINDS = (0.5, 0.15, 0.2, 0.08, 0.07)
"""Of 18 real nodules, five are subsolid."""

GROUPS = {
    "radial profile": slice(0, 8),
    "gradients": slice(8, 14),
    "texture": slice(14, 20),
    "surroundings": slice(20, 24),
    "all": slice(0, 24),
}


@dataclass(frozen=True)
class Example:
    patient: str
    diameter_mm: float
    subsolid: bool
    features: Floats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path)
    parser.add_argument("--features", type=Path, help="also write the features, as npz")
    args = parser.parse_args()
    real = list(_real(args.real))
    inserted = _matched(real, list(_inserted(args.real)))
    features = np.array([e.features for e in [*real, *inserted]])
    label = np.array([1] * len(real) + [0] * len(inserted))
    patient = np.array([e.patient for e in [*real, *inserted]])
    if args.features:
        np.savez(args.features, features=features, label=label, patient=patient)
    print(f"{len(real)} real nodules, {len(inserted)} inserted ones\n")
    print("| seen by the classifier | logistic | SVM | random forest |")
    print("|---|---|---|---|")
    for name, columns in GROUPS.items():
        cells = [_score(kind, features[:, columns], label, patient) for kind in _models()]
        print(f"| {name} | " + " | ".join(cells) + " |")


def _models() -> tuple[object, ...]:
    return (
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced")),
        make_pipeline(StandardScaler(), SVC(C=1.0, class_weight="balanced")),
        RandomForestClassifier(
            300, min_samples_leaf=3, class_weight="balanced", random_state=0, n_jobs=1
        ),
    )


def _score(model: object, features: Floats, label: Floats, patient: Floats) -> str:
    """AUC of scores that each patient got from a model which never saw them, and its interval.

    Where a fold's training lacks one class, nothing is learned from it.
    """
    score = np.zeros(len(label))
    for one in np.unique(patient):
        held = patient == one
        model.fit(features[~held], label[~held])  # type: ignore[attr-defined]
        if hasattr(model, "decision_function"):
            score[held] = model.decision_function(features[held])
        else:
            score[held] = model.predict_proba(features[held])[:, 1]  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(SAMPLES):
        picks = rng.integers(0, len(label), len(label))
        if 0 < label[picks].sum() < len(label):
            drawn.append(roc_auc_score(label[picks], score[picks]))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{roc_auc_score(label, score):.2f} ({low:.2f}–{high:.2f})"


def _matched(real: list[Example], inserted: list[Example]) -> list[Example]:
    """The insertions nearest in size to each real nodule, each used once."""
    left = list(inserted)
    chosen = []
    for one in sorted(real, key=lambda e: -e.diameter_mm):
        alike = [e for e in left if e.subsolid == one.subsolid]
        ratio = [abs(np.log(e.diameter_mm / one.diameter_mm)) for e in alike]
        for k in np.argsort(ratio)[:PARTNERS]:
            chosen.append(alike[int(k)])
            left.remove(alike[int(k)])
    return chosen


def _inserted(folder: Path) -> Iterator[Example]:
    """Nodules placed into the lung around the real ones: the same patients and scanners."""
    config = PhantomConfig(kind_weights=KINDS, juxtapleural_share=0.2)
    for number, row in enumerate(_rows(folder)):
        hu, spacing = _cube(folder, row)
        x, y, z = spacing[::-1].tolist()
        provenance = Provenance(source=row["file"], format="cut")
        scan = Scan(
            hu=hu, geometry=Geometry((0, 0, 0), (x, y, z)), series_uid="1", provenance=provenance
        )
        lungs = _lungs(scan)
        room, optics = map_room(scan, lungs), measure_optics(scan, lungs)
        own = (np.array([50.0, 50.0, len(hu) / 2]) * spacing[::-1], float(row["Diameter"]) / 2)
        rng = np.random.default_rng([SEED, number])
        for radius in np.geomspace(2.2, 8, TRIED):
            center = place(rng, config, room, float(radius), [own])
            if center is None:
                continue
            lesion = draw_nodule(rng, config, center, float(radius), True, 45.0)
            done = paint(hu, spacing, lesion, optics, 1)
            if done is None or not (done.shown > 0.5).any():
                continue
            changed = hu.copy()
            changed[done.box] = done.hu
            mm = float((6 * done.shown.sum() * spacing.prod() / np.pi) ** (1 / 3))
            features = _features(changed, done.center_irc, spacing, mm)
            patient = row["file"].split("_")[0]
            yield Example(patient, mm, lesion.kind in SUBSOLID, features)


def _lungs(scan: Scan) -> Lungs:
    """All of a cut as lung: it is too small for luna to find its lungs."""
    i, r, c = scan.shape_irc
    labels = np.ones((i, r // 4, c // 4), np.uint8)
    i_mm, r_mm, c_mm = scan.geometry.spacing_irc
    mean = np.zeros(labels.shape, np.float32)
    return Lungs(labels, mean, (1, 4, 4), scan.shape_irc, (i_mm, 4 * r_mm, 4 * c_mm), (0, 0), ())


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "ratings.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def _cube(folder: Path, row: dict[str, str]) -> tuple[NDArray[np.int16], Floats]:
    hu = np.ascontiguousarray(np.moveaxis(np.load(folder / row["file"]), 2, 0))
    pixel = float(row["PixelSpacing"])
    return np.maximum(hu, -1024), np.array([float(row["SliceSpacing"]), pixel, pixel])


def _real(folder: Path) -> Iterator[Example]:
    for row in _rows(folder):
        hu, spacing = _cube(folder, row)
        # A cube that the scan's end cuts has its nodule 30 slices from the other end.
        mm = float(row["Diameter"])
        levels = {30, len(hu) - 30, len(hu) // 2} if len(hu) < 60 else {len(hu) // 2}
        center = max(
            (np.array([k, 50.0, 50.0]) for k in sorted(levels)),
            key=lambda c: _core_hu(hu, c, spacing, mm),
        )
        patient = row["file"].split("_")[0]
        # The readers' mean diameter is the longest one; that of the volume is what is drawn.
        volume_mm = (6 * float(row["Volume"]) / np.pi) ** (1 / 3)
        features = _features(hu, center, spacing, volume_mm)
        yield Example(patient, volume_mm, float(row["Texture"]) < 4, features)


def _core_hu(hu: NDArray[np.int16], center: Floats, spacing: Floats, mm: float) -> float:
    box, away = _ball(hu, center, spacing)
    return float(box[away < max(mm / 3, 1.5)].mean())


def _ball(hu: NDArray[np.int16], center: Floats, spacing: Floats) -> tuple[Floats, Floats]:
    """A box around a centre, and the distance of its voxels in mm."""
    reach = BOX_MM / 2 / spacing
    low = np.maximum(np.floor(center - reach), 0).astype(int)
    high = np.minimum(np.ceil(center + reach) + 1, hu.shape).astype(int)
    box = hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float64)
    grids = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    squares = [((g - c) * s) ** 2 for g, c, s in zip(grids, center, spacing, strict=True)]
    return box, np.sqrt(sum(squares))


def _features(hu: NDArray[np.int16], center: Floats, spacing: Floats, mm: float) -> Floats:
    center = _refined(hu, center, spacing, mm)
    box, away = _ball(hu, center, spacing)
    radius = mm / 2
    rho = away / radius
    profile = [_mean(box[(rho >= a) & (rho < b)]) for a, b in pairwise(RINGS)]
    steep = np.sqrt(sum(g**2 for g in np.gradient(box, *spacing)))
    shells = [(0.0, 0.6), (0.6, 1.0), (1.0, 1.4), (1.4, 2.0)]
    gradients = [_mean(steep[(rho >= a) & (rho < b)]) for a, b in shells]
    edge = steep[(rho > 0.6) & (rho < 1.4)]
    gradients += [float(np.percentile(edge, 90)), float(np.percentile(edge, 50))]
    rest = box - ndimage.gaussian_filter(box, (0, *(1.5 / spacing[1:])))
    texture = [_sd(rest[(rho >= a) & (rho < b)]) for a, b in shells]
    inside = box[rho < 0.8]
    texture += [_sd(inside), float(np.percentile(inside, 90) - np.percentile(inside, 10))]
    around = box[(rho > 1.3) & (away < radius + 8)]
    lung = np.median(around)
    aside = [float(lung), float((around > -500).mean()), float(inside.max()), float(inside.min())]
    return np.array([*profile, *gradients, *texture, *aside])


def _refined(hu: NDArray[np.int16], center: Floats, spacing: Floats, mm: float) -> Floats:
    """Move a centre to the centre of mass of what is dense within 0.7 diameters; thrice."""
    for _ in range(3):
        box, away = _ball(hu, center, spacing)
        weight = np.where(away < 0.5 * mm + 1, np.clip(box + 800, 0, 800), 0)
        low = np.maximum(np.floor(center - BOX_MM / 2 / spacing), 0)
        center = low + np.array(ndimage.center_of_mass(weight))
    return center


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else 0.0


def _sd(values: Floats) -> float:
    return float(values.std()) if values.size else 0.0


if __name__ == "__main__":
    main()
