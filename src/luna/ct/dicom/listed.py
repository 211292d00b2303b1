"""A CT series as its headers describe it, and the choice among several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from luna.ct.dicom.slices import Slice, axes, numbers
from luna.ct.dicom.tags import text_of
from luna.ct.volume import as_series_uid
from luna.run.errors import InputError

Choice = Literal["thinnest", "largest", "all"]
CHOICES: tuple[Choice, ...] = get_args(Choice)

Preference = tuple[bool, float, int, int, str]
"""Sorts series by the rule `thinnest`."""

WHOLE_LUNGS_MM = 220.0
"""A series at least this long is taken to show whole lungs, which are 240 to 300 mm high in most
adults; shorter ones are parts, or high-resolution scans of a few places."""

STEP_DECIMALS = 1
"""Steps are compared to 0.1 mm: scanners round positions."""

RULES: dict[Choice, str] = {
    "thinnest": (
        f"of each study the series that is at least {WHOLE_LUNGS_MM:.0f} mm long before a shorter "
        "one, then of the thinnest slices, then of a soft kernel before a sharp one, then of the "
        "most slices"
    ),
    "largest": "of each study the series of the most slices",
    "all": "every CT series",
}

SOFT, UNKNOWN, SHARP = 0, 1, 2
SHARP_WORDS = ("LUNG", "BONE", "BONEPLUS", "EDGE", "ULTRA", "SHARP", "L", "D", "E", "YC", "YD")
SOFT_WORDS = ("STANDARD", "STND", "SOFT", "SMOOTH", "DETAIL", "A", "B", "C", "YA", "YB", "UB")
"""Kernels by name, as GE and Philips have them."""
COUNTED = re.compile(r"([A-Z]{1,2})([0-9]{2})[A-Z]?")
SHARP_FROM, TOSHIBA_SHARP = 50, (range(30, 40), range(50, 60), range(80, 90))
"""Siemens counts kernels by sharpness (B30f, Br40, B70f); Toshiba and Canon by purpose (FC08 body,
FC30 bone, FC51 lung)."""


@dataclass(frozen=True, slots=True)
class Part:
    """DICOM files of a series in one folder: those of `names`, or all where it names none.

    `damaged` counts files there that cannot be read and may belong to the series.
    """

    folder: Path
    names: tuple[str, ...] = ()
    damaged: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """What headers say of a CT series. Its texts, but for the kernel, may name a person.

    `low_mm` and `high_mm` are the positions of its ends along the slices' normal.
    """

    uid: str
    study_uid: str
    patient: str
    number: str
    description: str
    kernel: str
    slices: int
    issuer: str = ""
    date: str = ""
    time: str = ""
    low_mm: float = 0.0
    high_mm: float = 0.0
    parts: tuple[Part, ...] = ()

    @property
    def step_mm(self) -> float:
        """Return the mean distance of slices; infinite for one slice."""
        return self.length_mm / (self.slices - 1) if self.slices > 1 else float("inf")

    @property
    def length_mm(self) -> float:
        """Return the distance of the first and the last slice."""
        return self.high_mm - self.low_mm

    def joined(self, other: Series) -> Series:
        """Return the series with the slices of another part of it."""
        return replace(
            self,
            slices=self.slices + other.slices,
            low_mm=min(self.low_mm, other.low_mm),
            high_mm=max(self.high_mm, other.high_mm),
            parts=self.parts + other.parts,
        )

    def line(self) -> str:
        """Return the series as a line of a list, for its user's terminal."""
        number = f"  (number {self.number})" if self.number else ""
        described = self.description or "(no description)"
        return f"{as_series_uid(self.uid)}  {self.slices} slices  {described}{number}"


def described(uid: str, slices: Sequence[Slice]) -> Series:
    """Return what the headers of slices say of their series."""
    first = slices[0].header
    places = [_position(item) for item in slices]
    return Series(
        uid=uid,
        study_uid=text_of(first, "StudyInstanceUID"),
        patient=text_of(first, "PatientID"),
        number=text_of(first, "SeriesNumber"),
        description=text_of(first, "SeriesDescription"),
        kernel=text_of(first, "ConvolutionKernel"),
        slices=len(slices),
        issuer=text_of(first, "IssuerOfPatientID"),
        date=text_of(first, "StudyDate"),
        time=text_of(first, "StudyTime"),
        low_mm=min(places),
        high_mm=max(places),
    )


def _position(item: Slice) -> float:
    """Return where a slice lies along its normal; 0 where it does not say, as reading will tell."""
    try:
        place = float(np.dot(numbers(item, "ImagePositionPatient", 3), axes(item)[2]))
    except InputError:
        return 0.0
    return place


def named(series: Iterable[Series], words: str) -> list[Series]:
    """Return the series that a user names by UID, by number, or by the beginning of the UID."""
    series = list(series)
    for meant in (
        [one for one in series if words in (one.uid, as_series_uid(one.uid))],
        [one for one in series if words == one.number],
    ):
        if meant:
            return meant
    begun = [one for one in series if one.uid.startswith(words)]
    return begun if len(begun) == 1 else []


def preferred(study: Sequence[Series], choice: Choice) -> list[Series]:
    """Return the series of one study that a rule chooses: the first by it, or all of them."""
    if choice == "all":
        return sorted(study, key=lambda one: one.uid)
    order = by_thickness if choice == "thinnest" else _by_size
    return [min(study, key=order)]


def by_thickness(one: Series) -> Preference:
    """Return what sorts the series of a study by the rule `thinnest`, the first to be taken."""
    is_part = one.length_mm < WHOLE_LUNGS_MM
    step_mm = round(one.step_mm, STEP_DECIMALS)
    return is_part, step_mm, sharpness(one.kernel), -one.slices, one.uid


def _by_size(one: Series) -> tuple[int, str]:
    return -one.slices, one.uid


def sharpness(kernel: str) -> int:
    """Return SOFT, UNKNOWN or SHARP for a reconstruction kernel.

    >>> [sharpness(k) for k in ("STANDARD", "B70f", "FC51", "Qr40d\\\\3", "mine")]
    [0, 2, 2, 0, 1]
    """
    word = kernel.partition("\\")[0].strip().upper()
    if word in SOFT_WORDS or word in SHARP_WORDS:
        return SHARP if word in SHARP_WORDS else SOFT
    counted = COUNTED.fullmatch(word)
    if counted is None:
        return UNKNOWN
    number = int(counted[2])
    if counted[1] == "FC":
        return SHARP if any(number in numbers for numbers in TOSHIBA_SHARP) else SOFT
    return SHARP if number >= SHARP_FROM else SOFT
