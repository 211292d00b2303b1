"""The card of a bundle: what a model is, for people and for the loader."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from luna.ct.resample import Cubes, Irc, cubes_of, wrong_spacing
from luna.nets.trained import Range, range_of
from luna.run.config import INTEGER_MAX
from luna.run.errors import TrustError
from luna.run.files import read_plain

CARD_VERSION = 1
CARD_NAME = "card.json"
CARD_BYTES_MAX = 1 << 20
ARGUMENT_MAX = {
    "context_slices": 255,
    "depth": 16,
    "scales": 8,
    "width": 4096,
    "widths": 4096,
    "input_size": 256,
}
"""The largest number that an argument of an architecture may hold, far beyond any use."""
LARGEST_CUBE_MM = 320.0
"""A chest; 32 voxels of it are as coarse as voxels may be."""
TEMPERATURE_MAX = 1e3
"""Beyond it, or below its inverse, every probability would be a half, or 0 or 1."""
CALIBRATION = "calibration"
"""The one metric that is an object: what temperature and threshold were fitted to."""

Role = Literal["segmentation", "nodule", "malignancy"]
Erosion = Literal["cross", "slice"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """The description of a bundle.

    `arguments` are the keyword arguments of the architecture; `hu_window` the (low, high) HU
    to which input is clipped; `spacing_mm` the size of the cubic voxels that a network sees, of
    a crop or of the whole scan, None for those of the scan itself, as in the book; `scales_mm` the
    sides of the cubes of a classifier that sees several around a place, empty for others;
    `antialias` whether such a voxel is a mean over what it covers, where it is larger than the
    scan's; `mirrored` whether a classifier judges
    a crop by the mean over its mirror images too; `erosion` how a segmenter's marks
    are parted into candidates, across slices too ("cross", the book's) or within each slice,
    which loses no nodule that shows in two slices only; `threshold` the probability from which
    `diagnose` acts on a classifier's output, on no segmenter's card (`segment.threshold` of the
    config marks voxels); `temperature` divides the logits before the probability (1
    when uncalibrated); `notice`, when not empty, is repeated in every report made with the
    model. `diameter_mm`, `slice_mm` and `pixel_mm` are the (smallest, largest) nodule diameter,
    distance between slices and pixel size in the training data, None where that is not known.
    """

    name: str
    role: Role
    architecture: str
    arguments: Mapping[str, Any]
    training_data: str
    licence: str
    hu_window: tuple[int, int] = (-1000, 1000)
    spacing_mm: float | None = None
    scales_mm: tuple[float, ...] = ()
    antialias: bool = False
    diameter_mm: Range | None = None
    slice_mm: Range | None = None
    pixel_mm: Range | None = None
    mirrored: bool = False
    erosion: Erosion = "cross"
    threshold: float = 0.5
    temperature: float = 1.0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    notice: str = ""
    source: str = ""
    weights_sha256: str = ""
    card_version: int = CARD_VERSION

    def values(self) -> dict[str, Any]:
        """Return the values on the card, by name."""
        values = asdict(self)
        if self.role == "segmentation":
            del values["threshold"]
        return values

    def cubes(self, size_irc: Irc) -> Cubes | None:
        """Return what a classifier sees of a place; None where it sees the scan's own voxels."""
        return cubes_of(size_irc, self.spacing_mm, self.scales_mm, self.antialias)

    @property
    def calibrated(self) -> bool:
        """Whether the temperature was fitted, so that probabilities are shares of nodules."""
        return CALIBRATION in self.metrics


NUMBER = (int, float)
KINDS: dict[str, tuple[type, ...]] = {item.name: (str,) for item in fields(Card)} | {
    "arguments": (dict,),
    "metrics": (dict,),
    "hu_window": (list,),
    "spacing_mm": (*NUMBER, type(None)),
    "scales_mm": (list,),
    "antialias": (bool,),
    "diameter_mm": (list, type(None)),
    "slice_mm": (list, type(None)),
    "pixel_mm": (list, type(None)),
    "mirrored": (bool,),
    "threshold": NUMBER,
    "temperature": NUMBER,
    "card_version": (int,),
}
"""What the fields of a card are in JSON, exactly: a bool would pass for an int."""


def read_card(folder: Path) -> Card:
    """Read the card of a bundle folder. Raises TrustError when missing, malformed or too new."""
    path = folder / CARD_NAME
    if not path.is_file():
        raise TrustError(
            "this bundle has no card.json", file=folder, hint="luna does not guess what weights are"
        )
    try:
        values = json.loads(read_plain(path, CARD_BYTES_MAX).decode())
        version = values.get("card_version")
        if version != CARD_VERSION:
            raise TrustError(
                f"card version {version!r} is not {CARD_VERSION}",
                file=path,
                hint="a newer luna wrote it: upgrade luna",
            )
        return _card_from(values)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TrustError("the card cannot be read", file=path, why=str(error)) from error


def _card_from(values: dict[str, Any]) -> Card:
    """Return a checked Card from JSON values. Raises ValueError or TypeError."""
    unknown = values.keys() - KINDS.keys()
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    for name, value in values.items():
        if type(value) not in KINDS[name]:
            kinds = " or ".join(kind.__name__ for kind in KINDS[name])
            raise TypeError(f"{name} is {type(value).__name__}, not {kinds}")
    card = Card(**values)
    for name, figure in card.metrics.items():
        if name != CALIBRATION and (type(figure) not in NUMBER or abs(figure) > sys.float_info.max):
            raise TypeError(f"metrics.{name} is not a number")
    low, high = card.hu_window
    if type(low) is not int or type(high) is not int:
        raise TypeError("hu_window is not a pair of integers")
    check_arguments(card.arguments)
    _check_ranges(card)
    return replace(
        card,
        hu_window=(low, high),
        scales_mm=tuple(float(side) for side in card.scales_mm),
        diameter_mm=range_of("diameter_mm", card.diameter_mm),
        slice_mm=range_of("slice_mm", card.slice_mm),
        pixel_mm=range_of("pixel_mm", card.pixel_mm),
    )


def _check_ranges(card: Card) -> None:
    low, high = card.hu_window
    if card.role not in get_args(Role):
        raise ValueError(f"role {card.role!r} is not one of {get_args(Role)}")
    if card.erosion not in get_args(Erosion):
        raise ValueError(f"erosion {card.erosion!r} is not one of {get_args(Erosion)}")
    if (card.role == "segmentation") != card.architecture.startswith("unet"):
        raise ValueError(f"a {card.architecture} cannot be a {card.role} model")
    if wrong := wrong_input(card.spacing_mm, card.scales_mm, antialias=card.antialias):
        raise ValueError(wrong)
    cubes, taken = max(len(card.scales_mm), 1), card.arguments.get("scales", 1)
    if cubes != taken:
        raise ValueError(f"scales_mm has {cubes} cubes, the network takes {taken!r:.20}")
    if card.architecture == "unet-3d" and card.spacing_mm is None:
        raise ValueError("no spacing_mm on the card of a unet-3d")
    if not (
        0 < card.threshold < 1
        and 1 / TEMPERATURE_MAX <= card.temperature <= TEMPERATURE_MAX
        and -INTEGER_MAX <= low < high <= INTEGER_MAX
    ):
        raise ValueError("threshold, temperature or hu_window out of range")


def wrong_input(spacing_mm: float | None, scales_mm: Sequence[float], *, antialias: bool) -> str:
    """Return what is wrong with how a network's input is cut; nothing when it may be."""
    if spacing_mm is not None and scales_mm:
        return "spacing_mm and scales_mm are both set: one cube, or several"
    if antialias and spacing_mm is None and not scales_mm:
        return "antialias is set, but the scan's own voxels are taken as they are"
    if any(type(side) not in (int, float) or not 0 < side <= LARGEST_CUBE_MM for side in scales_mm):
        return f"scales_mm is {list(scales_mm)!r:.80}, must be lengths up to {LARGEST_CUBE_MM:g}"
    return wrong_spacing(spacing_mm)


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the argument and its bound, for a size that no network has."""
    for name in arguments.keys() & ARGUMENT_MAX.keys():
        value, most = arguments[name], ARGUMENT_MAX[name]
        for number in value if isinstance(value, list | tuple) else [value]:
            if type(number) is not int or not 1 <= number <= most:
                shown = f"{number!r:.20}"
                raise ValueError(f"arguments.{name} holds {shown}, not an integer from 1 to {most}")
