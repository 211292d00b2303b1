"""The ranges of a phantom cohort, and one patient drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from luna.run.errors import UsageError

Range = tuple[float, float]
NoduleKind = Literal["solid", "part-solid", "ground-glass", "calcified", "spiculated"]
NODULE_KINDS: tuple[NoduleKind, ...] = get_args(NoduleKind)

MIN_SPACING_MM = 0.5
MAX_SPACING_MM = 0.9
"""In-plane spacing of a 512 grid; chest CT reconstructs 256 to 460 mm on 512 pixels."""

REFERENCE_SIZE = 512

SHARE: Range = (0, 1)
BOUNDS: dict[str, Range] = {
    "size": (32, 2048),
    "slice_mm": (0.1, 20),
    "slab_mm": (0, 500),
    "lung_height_mm": (50, 400),
    "lung_half_width_mm": (40, 250),
    "lung_half_depth_mm": (30, 200),
    "fat_mm": (0, 150),
    "lung_hu": (-1000, -500),
    "terminals_per_ml": (0, 10),
    "terminal_radius_mm": (0.1, 2),
    "contrast_share": SHARE,
    "emphysema_share": SHARE,
    "soft_kernel_share": SHARE,
    "noise_hu": (0, 500),
    "blanket_share": SHARE,
    "flipped_share": SHARE,
    "oblique_share": SHARE,
    "circle_share": SHARE,
    "without_nodules": SHARE,
    "extra_nodules": (0, 100),
    "diameter_median_mm": (1, 40),
    "diameter_sigma": (0, 2),
    "kind_weights": (0, 1000),
    "juxtapleural_share": SHARE,
    "juxtavascular_share": SHARE,
    "negatives": (0, 10_000),
    "on_vessels": SHARE,
}
"""Limits of each number, or of both ends of a range: wide enough for any human body."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomConfig:
    """The ranges that vary between the scans of a cohort.

    Ranges are (low, high) and drawn uniformly per scan unless the field says otherwise. Raises
    UsageError when the ends of a range are swapped or a number is out of bounds.
    """

    size: int = REFERENCE_SIZE
    """Rows and columns; the field of view stays that of a chest, so 256 doubles the pixel."""
    slice_mm: Range = (0.6, 2.5)
    """Distance between slices."""
    slab_mm: float = 0.0
    """Height of the scanned part, placed at random over the lungs; 0 is the whole lungs."""
    lung_height_mm: Range = (200.0, 260.0)
    """From apex to the deepest recess is about 1.1 of it."""
    lung_half_width_mm: Range = (120.0, 142.0)
    """Half the inner width of the rib cage."""
    lung_half_depth_mm: Range = (80.0, 98.0)
    """Half the inner depth of the rib cage, front to back."""
    fat_mm: Range = (5.0, 30.0)
    """Thickness of the fat under the skin."""
    lung_hu: Range = (-905.0, -850.0)
    """Mean attenuation of the parenchyma between the vessels."""
    terminals_per_ml: Range = (1.3, 2.0)
    """Vessel ends per millilitre of lung, for arteries and for veins each."""
    terminal_radius_mm: Range = (0.34, 0.46)
    """Radius at which a vessel is followed no further."""
    contrast_share: float = 0.35
    """Share of scans with contrast medium in the blood."""
    emphysema_share: float = 0.2
    """Share of scans with patches of destroyed lung."""
    soft_kernel_share: float = 0.5
    """Share of scans with a smooth reconstruction kernel; the others are sharp."""
    noise_hu: Range = (10.0, 30.0)
    """Standard deviation of the noise at the middle of the body with the smoothest kernel."""
    blanket_share: float = 0.5
    """Share of patients with a blanket over them."""
    flipped_share: float = 0.15
    """Share of files with stored rows or columns in the opposite direction."""
    oblique_share: float = 0.1
    """Share of files with a direction matrix off the patient's axes."""
    circle_share: float = 0.2
    """Share of files with padding of -2048 HU or less outside the scanner's circle."""
    without_nodules: float = 0.3
    """Share of scans without a nodule (LUNA16: 287 of 888)."""
    extra_nodules: float = 1.0
    """Mean number of nodules beyond the first, where there is one (Poisson)."""
    diameter_median_mm: float = 6.6
    """Median of the log-normal diameters, cut to 3.2 to 30 mm (LUNA16: 6.4)."""
    diameter_sigma: float = 0.52
    """Standard deviation of the logarithm of the diameter."""
    kind_weights: tuple[float, float, float, float, float] = (0.5, 0.12, 0.12, 0.1, 0.16)
    """Weights of solid, part-solid, ground-glass, calcified and spiculated nodules."""
    juxtapleural_share: float = 0.25
    """Share of nodules that touch the pleura."""
    juxtavascular_share: float = 0.2
    """Share of nodules that touch a vessel."""
    negatives: tuple[int, int] = (40, 80)
    """Candidates per scan that are no nodules (LUNA16 has about 600 to 850)."""
    on_vessels: bool = False
    """Whether nodules that are placed into real scans may cover vessels."""

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if not all(low <= number <= high for number in values):
                raise UsageError(f"{name} is {value}, not between {low:g} and {high:g}")
            if len(values) == 2 and values[0] > values[1]:
                raise UsageError(f"{name} is {value}, whose first number is larger than the second")
        if not any(self.kind_weights):
            raise UsageError(
                "kind_weights are all 0", hint="give at least one kind a weight above 0"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """One draw from a PhantomConfig; lengths in mm, attenuation in HU.

    `height`, `half_width` and `half_depth` are the inner measures of the rib cage.
    """

    height: float
    half_width: float
    half_depth: float
    fat: float
    muscle: float
    heart_scale: float
    lung_hu: float
    gradient_hu: float
    emphysema: bool
    blood_hu: float
    terminals_per_ml: float
    terminal_radius_mm: float

    @property
    def spine_y(self) -> float:
        """Where the axis of the vertebral bodies runs, front to back."""
        return 0.78 * self.half_depth


def draw_patient(rng: np.random.Generator, config: PhantomConfig) -> Patient:
    """Draw one patient; the same generator state gives the same patient."""
    contrast = rng.random() < config.contrast_share
    blood = rng.uniform(140, 330) if contrast else rng.uniform(32, 52)
    return Patient(
        height=rng.uniform(*config.lung_height_mm),
        half_width=rng.uniform(*config.lung_half_width_mm),
        half_depth=rng.uniform(*config.lung_half_depth_mm),
        fat=rng.uniform(*config.fat_mm),
        muscle=rng.uniform(9, 18),
        heart_scale=rng.uniform(0.9, 1.12),
        lung_hu=rng.uniform(*config.lung_hu),
        gradient_hu=rng.uniform(10, 45),
        emphysema=bool(rng.random() < config.emphysema_share),
        blood_hu=float(blood),
        terminals_per_ml=rng.uniform(*config.terminals_per_ml),
        terminal_radius_mm=rng.uniform(*config.terminal_radius_mm),
    )
