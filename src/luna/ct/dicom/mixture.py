"""Checks that the slices of a series are of one patient, acquisition and reconstruction.

A series UID should say so, but exports, anonymisers and copies into one folder break it.
Messages quote no value that could name a patient.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby, pairwise

from luna.ct.dicom.slices import Slice
from luna.ct.dicom.tags import NUMBER, text_of
from luna.run.errors import InputError

ONE_OF = {
    "PatientID": "patients",
    "PatientName": "patients",
    "PatientBirthDate": "patients",
    "StudyInstanceUID": "studies",
    "FrameOfReferenceUID": "frames of reference",
    "ConvolutionKernel": "reconstruction kernels",
    "ScanOptions": "kinds of scanning (ScanOptions)",
}
"""Tags whose text must be the same in the whole series, and what a second one means."""

WITHIN = {"KVP": 1.0, "ReconstructionDiameter": 1.0}
"""Tags whose number must be the same, within this: tube voltage in kV, field of view in mm."""

THICKNESS = 0.1
"""Slices whose thickness differs by more than this share are of two reconstructions."""

PAUSE_S = 180.0
"""Neighbours taken further apart in time than this are not of one acquisition: a whole chest
takes seconds, a step-and-shoot scan with pauses for breath a minute or two."""

DAY_S = 86_400.0

FEW_ACQUISITIONS, STEP_S = 3, 15.0
"""Step-and-shoot scanners count each turn as an acquisition, and take seconds from one to the
next. Two or three that are not so near in time are phases, or scans of their own."""

TIME = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2}(?:\.[0-9]{1,6})?)")


def check_one_scan(slices: list[Slice]) -> list[str]:
    """Return what is odd about slices in order, as sentences for the report.

    Raises InputError when they are of several patients, acquisitions or reconstructions.
    """
    for tag, what in ONE_OF.items():
        _check_text(slices, tag, what)
    for tag, tolerance in WITHIN.items():
        _check_number(slices, tag, tolerance)
    _check_pauses(slices)
    return [*_acquisitions(slices), *_thickness(slices)]


def _check_text(slices: list[Slice], tag: str, what: str) -> None:
    """Compare what the slices say; one that says nothing agrees with all."""
    texts = [" ".join(text_of(item.header, tag).split()) for item in slices]
    counts = Counter(text for text in texts if text)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        odd = [item for item, text in zip(slices, texts, strict=True) if text not in ("", usual)]
        raise _mixed(odd, len(slices), f"{len(counts)} {what}", tag)


def _check_number(slices: list[Slice], tag: str, tolerance: float) -> None:
    found = [_number(item, tag) for item in slices]
    known = [value for value in found if value is not None]
    if known and max(known) - min(known) > tolerance:
        odd = [
            item
            for item, value in zip(slices, found, strict=True)
            if value is not None and abs(value - known[0]) > tolerance
        ]
        raise _mixed(odd, len(slices), f"several values of {tag}", tag)


def _mixed(odd: list[Slice], count: int, what: str, tag: str) -> InputError:
    return InputError(
        f"the series mixes slices of {what}",
        file=odd[0].path,
        why=f"{len(odd)} of {count} slices differ from the others in {tag}",
        hint="export one acquisition of one patient in one reconstruction",
    )


def _acquisitions(slices: list[Slice]) -> Iterator[str]:
    """Distinguish acquisitions that follow each other along the patient from mixed ones."""
    numbered = [item for item in slices if text_of(item.header, "AcquisitionNumber")]
    runs = [
        [*run] for _, run in groupby(numbered, lambda s: text_of(s.header, "AcquisitionNumber"))
    ]
    count = len({text_of(item.header, "AcquisitionNumber") for item in numbered})
    if count < 2:
        return
    at_once = all(_follows(low[-1], high[0]) for low, high in pairwise(runs))
    if len(runs) > count or not (at_once or count > FEW_ACQUISITIONS):
        raise InputError(
            f"the series mixes {count} acquisitions",
            file=slices[0].path.parent,
            why="its slices differ in AcquisitionNumber",
            hint="export one acquisition",
        )
    yield (
        f"The slices come from {count} acquisitions, one after the other: the patient may have "
        "moved where they meet."
    )


def _follows(item: Slice, other: Slice) -> bool:
    """Return whether two slices were taken within seconds of each other, but not at one time."""
    before, after = _seconds(item), _seconds(other)
    return before is not None and after is not None and 0 < _pause(before, after) <= STEP_S


def _pause(before: float, after: float) -> float:
    if min(before, after) >= DAY_S:
        return abs(after - before)
    pause = abs(after % DAY_S - before % DAY_S)  # a date is not known: midnight may lie between
    return min(pause, DAY_S - pause)


def _check_pauses(slices: list[Slice]) -> None:
    times = [_seconds(item) for item in slices]
    for item, before, after in zip(slices[1:], times, times[1:], strict=False):
        if before is None or after is None:
            continue
        pause = _pause(before, after)
        if pause > PAUSE_S:
            raise InputError(
                "the series mixes acquisitions",
                file=item.path,
                why=f"it was taken {pause / 60:.0f} minutes apart from the slice beside it",
                hint="export one acquisition",
            )


def _thickness(slices: list[Slice]) -> Iterator[str]:
    found = [value for item in slices if (value := _number(item, "SliceThickness"))]
    if found and max(found) - min(found) > THICKNESS * max(found):
        yield f"Slices of {min(found):g} and of {max(found):g} mm thickness are mixed."


def _number(item: Slice, tag: str) -> float | None:
    text = text_of(item.header, tag)
    try:
        return float(text) if NUMBER.fullmatch(text) else None
    except ValueError:  # such as 1.2.3
        return None


def _seconds(item: Slice) -> float | None:
    """Return when a slice was taken, in seconds since some day; None where none is given."""
    both = text_of(item.header, "AcquisitionDateTime")
    day = both[:8] or text_of(item.header, "AcquisitionDate")
    time = TIME.match(both[8:] or text_of(item.header, "AcquisitionTime"))
    if time is None:
        return None
    hours, minutes, seconds = (float(part) for part in time.groups())
    within = 3600 * hours + 60 * minutes + seconds
    try:
        return within + DAY_S * datetime.strptime(day, "%Y%m%d").toordinal()
    except ValueError:
        return within
