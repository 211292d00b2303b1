"""Checks that the slices of a series step evenly and that none is missing.

Positions along the normal decide; image numbers say whether a wide step is a loss or a change
of spacing, and show a loss that leaves the steps even.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from luna.ct.dicom.slices import SAME_PLACE_MM, Slice
from luna.ct.dicom.tags import NUMBER, text_of
from luna.run.errors import InputError

GAP = 1.5
"""A step this many times the usual one has a slice missing in it."""

UNEVEN_MM, UNEVEN = 0.1, 0.05
"""How far, in mm or as a share of the spacing, a slice may lie from its regular place: some
scanners round positions to 0.1 mm, and a twentieth of a slice moves no measurement."""

FEWEST_STEPS = 2
"""So many steps of one length in a row are a spacing and no accident."""

FloatArray = NDArray[np.float64]


def check_steps(slices: list[Slice]) -> list[str]:
    """Return what is odd about the steps of slices in order, as sentences for the report.

    Raises InputError for missing slices, a change of spacing and uneven steps, naming where.
    """
    apart = without_duplicates(slices)
    places = np.array([item.position_mm for item in apart])
    images = [image_number(item) for item in apart]
    if len(apart) > 2:
        _check_even(apart, places, images)
    if len(apart) < 2:
        return []
    step_mm = float(places[-1] - places[0]) / (len(apart) - 1)
    return [*_lost_evenly(apart, step_mm, images)]


def without_duplicates(slices: list[Slice]) -> list[Slice]:
    """Return the slices in order with one at each position."""
    apart = slices[:1]
    for item in slices[1:]:
        if item.position_mm - apart[-1].position_mm > SAME_PLACE_MM:
            apart.append(item)
    return apart


def image_number(item: Slice) -> int | None:
    """Return the instance number, or None where it is no whole number."""
    text = text_of(item.header, "InstanceNumber")
    whole = NUMBER.fullmatch(text) and text.lstrip("+-").isdecimal()
    return int(text) if whole else None


def _check_even(slices: list[Slice], places: FloatArray, images: list[int | None]) -> None:
    steps = np.diff(places)
    usual = float(np.median(steps))
    off = np.abs(places - np.linspace(places[0], places[-1], len(places)))
    if off.max() <= max(UNEVEN_MM, UNEVEN * usual) and steps.max() <= GAP * usual:
        return
    folder = slices[0].path.parent
    change = _change_of_spacing(steps)
    if change and not _numbers_jump(images, change, steps):
        raise InputError(
            "the spacing of the slices changes part-way",
            file=folder,
            why=f"{steps[0]:g} mm up to {places[change]:g} mm along the normal, "
            f"{steps[-1]:g} mm from there on",
            hint="choose a series with one spacing, or resample this one to an even grid",
        )
    gaps = [k for k in range(len(steps)) if steps[k] > GAP * usual]
    if gaps:
        lost = [_lost(float(places[k]), float(steps[k]), usual) for k in gaps[:4]]
        raise InputError(
            "slices are missing",
            file=folder,
            why=f"usually one every {usual:g} mm, but none at {', '.join(lost)} along the normal",
            hint="copy the series again in full",
        )
    raise InputError(
        "the slices are unevenly spaced",
        file=folder,
        why=f"steps from {steps.min():.3g} to {steps.max():.3g} mm; the slice at "
        f"{places[int(off.argmax())]:.2f} mm lies {off.max():.2g} mm off its place",
        hint="choose a series with one spacing",
    )


def _change_of_spacing(steps: FloatArray) -> int:
    """Return the number of steps before the one place where their length changes, or 0."""
    same = np.abs(steps - steps[0]) <= np.maximum(UNEVEN_MM, UNEVEN * steps[0])
    change = int(np.argmin(same))
    after = steps[change:]
    even = np.abs(after - steps[-1]) <= np.maximum(UNEVEN_MM, UNEVEN * steps[-1])
    long_enough = change >= FEWEST_STEPS and len(after) >= FEWEST_STEPS
    return change if long_enough and even.all() else 0


def _numbers_jump(images: list[int | None], change: int, steps: FloatArray) -> bool:
    """Return whether image numbers are left out where the steps are longer: a loss of slices."""
    found = [n for n in images if n is not None]
    if len(found) < len(images):
        return False
    jumps = np.abs(np.diff(found))
    longer = slice(change, None) if steps[-1] > steps[0] else slice(0, change)
    return bool((jumps[longer] > 1).all())


def _lost(before_mm: float, step_mm: float, usual_mm: float) -> str:
    count = max(round(step_mm / usual_mm) - 1, 1)
    first, last = before_mm + usual_mm, before_mm + count * usual_mm
    return f"{first:.2f} mm" if count == 1 else f"{first:.2f} … {last:.2f} mm ({count} slices)"


def _lost_evenly(slices: list[Slice], step_mm: float, images: list[int | None]) -> Iterator[str]:
    """Find a loss that leaves the steps even: every second slice, or two of three, and so on."""
    stated = text_of(slices[0].header, "SpacingBetweenSlices")
    stated_mm = abs(float(stated)) if NUMBER.fullmatch(stated) else 0.0
    times = step_mm / stated_mm if stated_mm else 0.0
    numbers = [n for n in images if n is not None]
    jumps = set(np.abs(np.diff(numbers)).tolist()) if len(numbers) == len(images) else {1}
    jump = min(jumps)
    if len(jumps) > 1:
        yield (
            "The image numbers do not count the slices one by one: some may be missing, or of "
            "another series."
        )
    elif jump > 1 and abs(times - jump) < UNEVEN * jump:
        raise InputError(
            "slices are missing",
            file=slices[0].path.parent,
            why=f"their header says one every {stated_mm:g} mm, they are {step_mm:g} mm apart, "
            f"and the image numbers go up by {jump}",
            hint="copy the series again in full",
        )
    elif jump > 1 and abs(times - 1) > UNEVEN:
        yield f"The image numbers go up in steps of {jump}: slices may be missing between them."
    elif round(times) > 1 and abs(times - round(times)) < UNEVEN * times:
        yield (
            f"The header says that slices are {stated_mm:g} mm apart, they are {step_mm:g} mm: "
            "slices may be missing between them."
        )
