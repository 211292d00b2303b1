"""The page of an evaluation: one offline HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

import luna
from luna.evaluate.pages.events import write_events
from luna.evaluate.pages.gallery import Gallery
from luna.evaluate.pages.tables import Section
from luna.run.checked import Json
from luna.run.files import replace_file

PAGE = "evaluation.html"

SCHEMA = 1
"""Increased when the meaning of a key of metrics.json changes."""

PLOT_ALTS = {
    "froc.png": "FROC: sensitivity against false positives per scan, with its interval",
    "size_bands.png": "Sensitivity by diameter of the nodule",
    "roc.png": "ROC curve",
    "precision_recall.png": "Precision against recall",
    "calibration.png": "Share of positives against their probability",
}
"""Plots in the order in which the page shows those that are there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What a page shows, from top to bottom.

    `headline`: the name of a figure, the figure, and the rest of the sentence; `images`: PNG
    files by the names of PLOT_ALTS; `details`: tables of single scans, nodules and marks, which
    the terminal leaves out; `sources`: role, name and sha256 of each input. For programs
    there are `record`, the content of metrics.json, and `scalars`, the main figures.
    """

    title: str
    headline: tuple[str, str, str]
    footnote: str
    sections: tuple[Section, ...]
    images: Mapping[str, bytes]
    scalars: Mapping[str, float]
    record: Json
    warnings: tuple[str, ...] = ()
    details: tuple[Section, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    sources: tuple[Mapping[str, str], ...] = ()


def render(page: Page) -> str:
    """Return the HTML. The template engine escapes every string."""
    environment = Environment(
        loader=PackageLoader("luna.evaluate.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    images = [
        (alt, base64.b64encode(page.images[name]).decode())
        for name, alt in PLOT_ALTS.items()
        if name in page.images
    ]
    return environment.get_template(PAGE).render(page=page, images=images, version=luna.__version__)


def write_page(out: Path, page: Page) -> None:
    """Write metrics.json, the plots, TensorBoard's events and, last of all, the page.

    Where the page is, all of it is there.
    """
    record = {"schema": SCHEMA, "luna": luna.__version__, **page.record}
    write_bytes(out / "metrics.json", metrics_text(record).encode())
    for name, png in page.images.items():
        write_bytes(out / name, png)
    write_events(out, page.scalars, page.images)
    # The name of a source may be bytes that are no text.
    write_bytes(out / PAGE, render(page).encode(errors="backslashreplace"))


def sources_of(files: Iterable[tuple[str, Path]]) -> tuple[dict[str, str], ...]:
    """Return role, name and SHA-256 of each file."""
    return tuple(
        {"role": role, "name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for role, path in files
    )


def metrics_text(record: Json) -> str:
    """Return the record as strict JSON, which has no NaN and no infinity."""
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    with replace_file(path) as temporary:
        temporary.write_bytes(data)
