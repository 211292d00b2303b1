"""A real scan with nodules of the phantom in it: one scan from a scan and a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import Geometry, Triple
from luna.ct.lungs.find import find_lungs
from luna.ct.scan import HuArray, Provenance, Scan
from luna.phantom.config import NoduleKind, PhantomConfig
from luna.phantom.disease.nodules import draw_nodule, draw_radius
from luna.phantom.insert.optics import Optics, measure_optics
from luna.phantom.insert.paint import Painting, paint
from luna.phantom.insert.room import Spot, map_room, place
from luna.phantom.phantom import Nodule
from luna.run.config import dump_config

BLOOD_HU = 45.0
"""A nodule takes up no contrast medium: real scans do not say how much there is."""

LARGEST_STEP_HU = 64
"""Files whose values are further apart are not CT; they would hide the test for steps."""


class Known(NamedTuple):
    """A nodule that the scan has already: centre in LPS mm, diameter."""

    center_xyz: Triple
    diameter_mm: float


class Inserted(NamedTuple):
    """The new scan, its new nodules, and how the old one blurs."""

    scan: Scan
    nodules: tuple[Nodule, ...]
    optics: Optics


def insert_nodules(
    scan: Scan, seed: int, config: PhantomConfig, per_scan: int, known: Sequence[Known] = ()
) -> Inserted:
    """Place up to `per_scan` nodules into the lungs of a scan; fewer where no place is free.

    The same scan, seed and config give the same bytes. Outside the boxes of the nodules the
    voxels are those of the scan. Nothing that identifies a person comes along. Raises InputError
    when the scan has no lungs.
    """
    fingerprint = scan.fingerprint()
    rng = np.random.default_rng([seed, int(fingerprint[:16], 16)])
    lungs = find_lungs(scan)
    room, optics = map_room(scan, lungs), measure_optics(scan, lungs)
    spacing = np.array(scan.geometry.spacing_irc)
    taken = [_spot(scan.geometry, one) for one in known]
    hu, step_hu = scan.hu.copy(), _step_hu(scan.hu)
    nodules: list[Nodule] = []
    for _ in range(per_scan):
        radius = draw_radius(rng, config)
        center = place(rng, config, room, radius, taken)
        if center is None:
            continue
        lesion = draw_nodule(rng, config, center, radius, room.is_upper(center), BLOOD_HU)
        painting = paint(hu, spacing, lesion, optics, step_hu)
        if lesion.kind is None or painting is None or not (painting.shown > 0.5).any():
            continue
        hu[painting.box] = painting.hu
        taken.append((center, radius))
        nodules.append(
            _nodule(len(nodules), lesion.kind, lesion.malignant, painting, scan.geometry)
        )
    uid = _uid(fingerprint, seed, config, per_scan, known)
    return Inserted(_stripped(hu, scan.geometry, uid), tuple(nodules), optics)


def patient_key(fingerprint: str) -> str:
    """A name for the patient of a scan that says nothing about them."""
    return f"background-{fingerprint[:12]}"


def _spot(geometry: Geometry, known: Known) -> Spot:
    irc = geometry.irc_from_xyz(known.center_xyz)
    center = (irc * geometry.spacing_irc)[::-1]
    return np.asarray(center, dtype=np.float64), known.diameter_mm / 2


def _step_hu(hu: HuArray) -> int:
    """The step of the scan's values: 1, or more where its file keeps fewer of them."""
    present: NDArray[np.intp] = np.flatnonzero(np.bincount(hu.ravel().astype(np.int32) + 32768))
    steps = np.diff(present[present > 32768 - 1024])
    step = int(np.gcd.reduce(steps)) if len(steps) else 1
    return step if 1 <= step <= LARGEST_STEP_HU else 1


def _nodule(
    number: int, kind: NoduleKind, malignant: bool, painting: Painting, geometry: Geometry
) -> Nodule:
    x, y, z = geometry.xyz_from_irc(painting.center_irc).tolist()
    volume_mm3 = float(painting.shown.sum(dtype=np.float64)) * geometry.voxel_mm3
    return Nodule(
        number=number,
        center_xyz=(x, y, z),
        diameter_mm=float((6 * volume_mm3 / np.pi) ** (1 / 3)),
        kind=kind,
        malignant=malignant,
        start_irc=painting.start_irc,
        voxels=painting.shown > 0.5,
    )


def _uid(
    fingerprint: str, seed: int, config: PhantomConfig, per_scan: int, known: Sequence[Known]
) -> str:
    """A UID of DICOM's UUID root, which follows from everything that shapes the scan."""
    text = f"{fingerprint} {seed} {per_scan} {known!r} {dump_config(config)}"
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    return f"2.25.{number}"


def _stripped(hu: HuArray, geometry: Geometry, uid: str) -> Scan:
    facts = {"Modality": "CT", "Synthetic": "luna phantom, nodules in a real scan"}
    provenance = Provenance(source="phantom", format="synthetic", metadata=facts)
    return Scan(hu=hu, geometry=geometry, series_uid=uid, provenance=provenance)
