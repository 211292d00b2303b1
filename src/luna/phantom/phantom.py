"""Synthetic chest CTs in which every nodule is known: one scan from a seed.

`make_scan` is a pure function of its arguments. Anatomy is drawn in a body frame
(millimetres, x to the left, y to the back, z to the head, origin in the middle of the
chest) that is then placed in the patient frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import Geometry, Triple
from luna.ct.scan import HuArray, Provenance, Scan
from luna.phantom.anatomy import build_anatomy
from luna.phantom.candidates import Candidate, draw_candidates, find_decoys
from luna.phantom.config import NoduleKind, PhantomConfig, draw_patient
from luna.phantom.disease.lesion import Lesion
from luna.phantom.disease.nodules import draw_lesions
from luna.phantom.field import STEP_MM, CoarseGrid, Points
from luna.phantom.render import Painted, render
from luna.phantom.scanner import Scanner, draw_scanner, outside_circle
from luna.phantom.vessels import build_vessels
from luna.phantom.visit import Visit, moved_lesions, moved_vessels, widened

UID_ROOT = "1.2.826.0.1.3680043.10.9999"


@dataclass(frozen=True)
class Nodule:
    """One nodule as it was painted.

    `center_xyz` (LPS mm) and `diameter_mm` are the centre of mass and the equivalent
    sphere of what the lung shows of it. `voxels` is bool (index, row, column), true where
    it fills more than half a voxel; its voxel (0, 0, 0) is `start_irc` of the scan.
    `number` counts a patient's nodules from 0 and is the same in all visits.
    """

    number: int
    center_xyz: Triple
    diameter_mm: float
    kind: NoduleKind
    malignant: bool
    start_irc: tuple[int, int, int]
    voxels: NDArray[np.bool_]


class Phantom(NamedTuple):
    """A scan in the axes that a Scan has, its nodules, and its candidates."""

    scan: Scan
    nodules: tuple[Nodule, ...]
    candidates: tuple[Candidate, ...]


def series_uid(seed: int, number: int) -> str:
    """The series UID of scan `number` of a cohort."""
    return f"{UID_ROOT}.{seed}.{number}"


def make_scan(
    seed: int, config: PhantomConfig, number: int = 0, visit: Visit | None = None
) -> Phantom:
    """Make scan `number` of the cohort `seed`: the same bytes on every machine.

    With a visit it is one of several scans of a patient, who is another one than that of the scan
    without. `scan.provenance.stored_orientation` is the orientation in which its file is written.
    """
    streams = np.random.SeedSequence([seed, number]).spawn(5)
    body_rng, vessel_rng, lesion_rng, scanner_rng, candidate_rng = map(
        np.random.default_rng, streams
    )
    patient = draw_patient(body_rng, config)
    scanner = draw_scanner(scanner_rng, config, patient)
    slab = _slab(scanner)
    anatomy = build_anatomy(body_rng, patient, _coarse_grid(widened(scanner) if visit else scanner))
    vessels = build_vessels(vessel_rng, anatomy)
    lesions = draw_lesions(lesion_rng, config, anatomy, vessels.blood, slab)
    bends = scanner_rng
    if visit:  # the vessels of a patient bend alike in every visit
        bends, scanner_rng = vessel_rng, visit.rng(seed, number)
        scanner = visit.scanner(scanner_rng, config, patient, scanner)
        lesions = visit.lesions(lesions)
    moved = moved_vessels(vessels, scanner.breath), moved_lesions(lesions, scanner.breath)
    hu, painted = render(scanner_rng, bends, scanner, anatomy, *moved)
    geometry, stored = _placement(scanner_rng, config, scanner)
    nodules = _nodules(lesions, painted, geometry)
    decoys = find_decoys(candidate_rng, anatomy, vessels, lesions, slab)
    decoys_xyz = {name: _to_patient(scanner, geometry, at) for name, at in decoys.items()}
    nodules_xyz = np.array([n.center_xyz for n in nodules]).reshape(-1, 3)
    diameters_mm = np.array([n.diameter_mm for n in nodules])
    candidates = draw_candidates(candidate_rng, config, nodules_xyz, diameters_mm, decoys_xyz)
    padding_voxels = scanner.circle * len(hu) * int(outside_circle(hu.shape[1:]).sum())
    uid = series_uid(seed, number) + (f".{visit.number}" if visit else "")
    return Phantom(_scan(hu, geometry, uid, stored, padding_voxels), nodules, candidates)


def _to_patient(scanner: Scanner, geometry: Geometry, body_xyz: Points) -> Points:
    """Convert positions in the body at rest to LPS mm, both (M, 3)."""
    moved = scanner.breath.moved(body_xyz)
    return geometry.xyz_from_irc(((moved - scanner.low_xyz) / scanner.spacing_xyz)[:, ::-1])


def _coarse_grid(scanner: Scanner) -> CoarseGrid:
    """The coarse grid that covers the scan, and two elements more on each side."""
    extent = np.array(scanner.shape_irc[::-1]) * scanner.spacing_xyz
    x, y, z = (scanner.low_xyz - 2 * STEP_MM).tolist()
    nx, ny, nz = (np.ceil(extent / STEP_MM).astype(int) + 5).tolist()
    return CoarseGrid((x, y, z), (nz, ny, nx))


def _slab(scanner: Scanner) -> tuple[float, float]:
    """Lowest and highest slice, body mm."""
    low = float(scanner.low_xyz[2])
    return low, low + (scanner.shape_irc[0] - 1) * float(scanner.spacing_xyz[2])


def _placement(
    rng: np.random.Generator, config: PhantomConfig, scanner: Scanner
) -> tuple[Geometry, str]:
    """Draw the geometry of the scan in the patient, and the orientation of its file."""
    tilt = rng.uniform(-0.2, 0.2, 3) if rng.random() < config.oblique_share else np.zeros(3)
    flipped = rng.random() < config.flipped_share
    turn = _rotation_xyz(*tilt.tolist())
    shift = np.array([rng.uniform(-15, 15), rng.uniform(-250, 250), rng.uniform(-900, 900)])
    place = (turn * scanner.low_xyz).sum(axis=1) + shift
    x, y, z = np.round(place, 4).tolist()
    px, py, pz = scanner.spacing_xyz.tolist()
    geometry = Geometry((x, y, z), (px, py, pz), tuple(turn.ravel().tolist()))
    return geometry, str(rng.choice(["RAS", "RPS", "LAS", "LPI"])) if flipped else "LPS"


def _rotation_xyz(a: float, b: float, c: float) -> NDArray[np.float64]:
    """Rotation (3, 3) by `a` about x, then `b` about y, then `c` about z, in radians."""
    sa, sb, sc = np.sin([a, b, c])
    ca, cb, cc = np.cos([a, b, c])
    return np.array(
        [
            [cb * cc, sa * sb * cc - ca * sc, ca * sb * cc + sa * sc],
            [cb * sc, sa * sb * sc + ca * cc, ca * sb * sc - sa * cc],
            [-sb, sa * cb, ca * cb],
        ]
    )


def _nodules(
    lesions: list[Lesion], painted: list[Painted], geometry: Geometry
) -> tuple[Nodule, ...]:
    """The nodules of which the scan shows something."""
    return tuple(
        _nodule(lesion, lesion.kind, shown, geometry)
        for lesion, shown in zip(lesions, painted, strict=True)
        if lesion.kind is not None and shown.volume_vox > 0
    )


def _nodule(lesion: Lesion, kind: NoduleKind, shown: Painted, geometry: Geometry) -> Nodule:
    x, y, z = geometry.xyz_from_irc(shown.center_irc).tolist()
    volume_mm3 = shown.volume_vox * geometry.voxel_mm3
    return Nodule(
        number=lesion.number,
        center_xyz=(x, y, z),
        diameter_mm=float((6 * volume_mm3 / np.pi) ** (1 / 3)),
        kind=kind,
        malignant=lesion.malignant,
        start_irc=shown.start_irc,
        voxels=shown.voxels,
    )


def _scan(hu: HuArray, geometry: Geometry, uid: str, stored: str, padding_voxels: int) -> Scan:
    facts = {"Modality": "CT", "Synthetic": "luna phantom"}
    provenance = Provenance(
        source="phantom",
        format="synthetic",
        metadata=facts,
        stored_orientation=stored,
        padding_voxels=padding_voxels,
    )
    return Scan(hu=hu, geometry=geometry, series_uid=uid, provenance=provenance)
