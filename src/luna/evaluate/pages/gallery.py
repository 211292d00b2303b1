"""Pictures of the largest lost nodules and the most probable false marks, for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from luna.ct.scan import Scan
from luna.data.luna16.member import read_member
from luna.evaluate.pages.worst import LONGEST_LIST, false_marks, lost_nodules, place_words
from luna.report.figures import LUNG_WINDOW, data_uri, windowed
from luna.score.evaluation import Evaluation

FIELD_MM = 60.0
FIELD_PER_DIAMETER = 2.5
"""A picture is 60 mm wide, or two and a half diameters of the nodule where that is more."""

PIXELS = 240

MARK_RING_MM = 12.0
"""Diameter of the ring round a mark; a mark has no size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spot:
    """A place to show: its scan, its centre, the diameter of its ring, and its caption."""

    series_uid: str
    center_xyz: NDArray[np.float64]
    ring_mm: float
    caption: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An axial plane in the lung window, the patient's right on the left; lengths in pixels.

    `image` is a data URI of a square; its centre is the spot.
    """

    image: str
    ring_radius: float
    scale_bar: float
    caption: tuple[str, ...]
    size: int = PIXELS


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """Pictures under one title."""

    title: str
    pictures: tuple[Picture, ...]


def galleries(evaluation: Evaluation, files: Mapping[str, Path]) -> tuple[Gallery, ...]:
    """Draw the largest lost nodules and the most probable false marks.

    Each scan is read once; of those without a result there is nothing to show. Raises InputError
    when one cannot be read any more.
    """
    titles = {
        "The largest lost nodules; the ring is the annotation": _lost_spots(evaluation),
        "The most probable false marks; the ring is no measurement": _false_spots(evaluation),
    }
    wanted = [spot for spots in titles.values() for spot in spots if spot.series_uid in files]
    taken: dict[int, Picture] = {}
    for uid in dict.fromkeys(spot.series_uid for spot in wanted):
        scan = read_member(files[uid], uid)
        taken |= {id(spot): _take(scan, spot) for spot in wanted if spot.series_uid == uid}
    return tuple(
        Gallery(title=title, pictures=tuple(taken[id(spot)] for spot in spots if id(spot) in taken))
        for title, spots in titles.items()
        if any(id(spot) in taken for spot in spots)
    )


def _lost_spots(evaluation: Evaluation) -> list[Spot]:
    nodules, fate = evaluation.matching.nodules, evaluation.fate
    spots = []
    for index in lost_nodules(evaluation)[:LONGEST_LIST]:
        center, diameter = nodules.center_xyz[index], float(nodules.diameter_mm[index])
        uid, where = place_words(evaluation, int(nodules.series[index]), center)
        p = fate.p_nodule[index]
        kind = "" if nodules.kind is None else f", {nodules.kind[index]}"
        surest = "" if np.isnan(p) else f", p = {p:.3f}"
        caption = (f"{diameter:.1f} mm{kind}: {fate.outcome[index]}{surest}", uid, where)
        spots.append(Spot(series_uid=uid, center_xyz=center, ring_mm=diameter, caption=caption))
    return spots


def _false_spots(evaluation: Evaluation) -> list[Spot]:
    marks = evaluation.matching.marks
    spots = []
    for mark in false_marks(evaluation)[:LONGEST_LIST]:
        center = marks.center_xyz[mark]
        uid, where = place_words(evaluation, int(marks.series[mark]), center)
        caption = (f"p = {marks.p_nodule[mark]:.4f}", uid, where)
        spots.append(Spot(series_uid=uid, center_xyz=center, ring_mm=MARK_RING_MM, caption=caption))
    return spots


def _take(scan: Scan, spot: Spot) -> Picture:
    field_mm = max(FIELD_MM, FIELD_PER_DIAMETER * spot.ring_mm)
    _, row_mm, column_mm = scan.geometry.spacing_irc
    # An odd number of voxels puts the centre voxel in the middle of the picture.
    rows, columns = (2 * max(1, round(field_mm / 2 / mm)) + 1 for mm in (row_mm, column_mm))
    hu = scan.crop(scan.geometry.irc_from_xyz(spot.center_xyz), (1, rows, columns))[0]
    scale = PIXELS / field_mm
    size = (max(1, round(columns * column_mm * scale)), max(1, round(rows * row_mm * scale)))
    frame = Image.new("L", (PIXELS, PIXELS))
    image = Image.fromarray(windowed(hu, LUNG_WINDOW)).resize(size, Image.Resampling.BICUBIC)
    frame.paste(image, ((PIXELS - size[0]) // 2, (PIXELS - size[1]) // 2))
    return Picture(
        image=data_uri(frame, "JPEG"),
        ring_radius=round(max(4.0, spot.ring_mm / 2 * scale), 1),
        scale_bar=round(10 * scale, 1),
        caption=spot.caption,
    )
