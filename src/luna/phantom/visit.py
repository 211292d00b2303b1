"""Several scans of one patient: another scanner, another breath, nodules that grew.

The patient is drawn once. A visit draws its own scanner, noise and place, and moves the tissue as
breath does. Nodules move with the lung around them and keep their shape.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from luna.phantom.breath import Breath
from luna.phantom.config import MAX_SPACING_MM, REFERENCE_SIZE, Patient, PhantomConfig
from luna.phantom.disease.lesion import Lesion
from luna.phantom.scanner import Scanner, draw_scanner
from luna.phantom.tree import Branches
from luna.phantom.vessels import Vessels

SHIFT_MM = 3.0
"""The slices of a visit begin up to so far from those of the patient's first draw."""

WIDEST_MM = MAX_SPACING_MM * REFERENCE_SIZE + 80
"""The widest field of view of any visit; its middle may be 20 mm off, and breathing scales it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """One of several scans of a patient.

    `number` draws scanner, noise and place. `rise_mm` is how much higher the base of the lungs
    stands than in the patient as drawn. `volume_factors` multiply the volumes of the nodules in
    the order in which they were drawn: 0 is a nodule that is not there; nodules beyond the list
    stay as drawn.
    """

    number: int
    rise_mm: float = 0.0
    volume_factors: tuple[float, ...] = ()

    def rng(self, seed: int, number: int) -> np.random.Generator:
        """Return the random generator for the visit of patient `number`."""
        return np.random.default_rng([seed, number, self.number])

    def scanner(
        self, rng: np.random.Generator, config: PhantomConfig, patient: Patient, first: Scanner
    ) -> Scanner:
        """Draw a scanner that covers the same heights as the patient's `first` one."""
        own = draw_scanner(rng, config, patient)
        low_mm = float(first.low_xyz[2]) + rng.uniform(-SHIFT_MM, SHIFT_MM)
        height_mm = first.shape_irc[0] * float(first.spacing_xyz[2])
        slices = max(int(height_mm / own.spacing_xyz[2]), 3)
        return replace(
            own,
            low_xyz=np.array([*own.low_xyz[:2], low_mm]),
            shape_irc=(slices, *own.shape_irc[1:]),
            breath=Breath(patient.height, self.rise_mm),
        )

    def lesions(self, drawn: list[Lesion]) -> list[Lesion]:
        """The lesions of the visit, in the size that they have in it."""
        factors = (*self.volume_factors, *[1.0] * (len(drawn) - len(self.volume_factors)))
        paired = zip(drawn, factors, strict=False)
        return [_scaled(lesion, factor) for lesion, factor in paired if factor > 0]


def widened(scanner: Scanner) -> Scanner:
    """Return a scanner with a field of view for every visit of a patient."""
    pixel, _, slice_mm = scanner.spacing_xyz.tolist()
    margin = int(np.ceil(2 * SHIFT_MM / slice_mm))
    size = int(np.ceil(WIDEST_MM / pixel))
    low = np.array([-WIDEST_MM / 2, -WIDEST_MM / 2, scanner.low_xyz[2] - margin * slice_mm])
    return replace(scanner, low_xyz=low, shape_irc=(scanner.shape_irc[0] + 2 * margin, size, size))


def moved_vessels(vessels: Vessels, breath: Breath) -> Vessels:
    """Return the vessels moved by breathing."""
    return Vessels(
        arteries=_moved(vessels.arteries, breath),
        veins=_moved(vessels.veins, breath),
        blood=_moved(vessels.blood, breath),
        walls=_moved(vessels.walls, breath),
        lumens=_moved(vessels.lumens, breath),
    )


def moved_lesions(lesions: list[Lesion], breath: Breath) -> list[Lesion]:
    """Return the lesions moved by breathing, in the same shape."""
    return [replace(lesion, center=breath.moved(lesion.center)) for lesion in lesions]


def _moved(tree: Branches, breath: Breath) -> Branches:
    return replace(tree, start=breath.moved(tree.start), end=breath.moved(tree.end))


def _scaled(lesion: Lesion, factor: float) -> Lesion:
    scale = float(np.cbrt(factor))
    spikes = lesion.spikes * (1, 1, 1, scale)
    return replace(lesion, radius=lesion.radius * scale, spikes=spikes)
