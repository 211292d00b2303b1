"""`report.html`: one file, without network, for the eyes of a radiologist."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from luna.clinical.size import axes_words
from luna.ct.scan import Scan
from luna.detect.findings import Finding, Findings, Opacity
from luna.report.document import Document
from luna.report.figures import KeyImage, SliceView, key_images, slice_view

TEMPLATES = files("luna.report") / "templates"


PICTURED_MAX = 30
"""Findings and opacities with key images: a page of more is too large to open or to mail."""

ROWS_MAX = 500
"""Rows of the table of findings; `nodules.csv` holds them all."""


def page_environment() -> Environment:
    """The templates of luna's pages; every string that they are given is escaped."""
    environment = Environment(
        loader=PackageLoader("luna.report"), autoescape=True, undefined=StrictUndefined
    )
    environment.globals["axes_words"] = axes_words
    return environment


def template_text(*names: str) -> str:
    """Style sheets or scripts, one after the other; `page.css` is what all pages share."""
    return "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def render(
    scan: Scan,
    findings: Findings,
    content: Document,
    count: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Render the HTML of a report.

    Every string is escaped by the template engine. The policy in the page's head allows its
    own script by hash, images from data URIs, and nothing else. `count` is told how many pictures
    of how many are drawn.
    """
    script = template_text("report.js")
    opacities = findings.opacities[: len(content.opacities)]
    pictured = findings.findings[: max(PICTURED_MAX - len(opacities), 0)]
    pictures = _pictures(scan, [*opacities, *pictured], count)
    view = slice_view(scan)
    template = page_environment().get_template("report.html")
    return template.render(
        content=content,
        opacity_images=pictures[: len(opacities)],
        images=pictures[len(opacities) :],
        rows=content.findings[:ROWS_MAX],
        view=view,
        viewer=_viewer(scan, findings, content, view),
        style=template_text("page.css", "report.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _pictures(
    scan: Scan, found: Sequence[Finding | Opacity], count: Callable[[int, int], None]
) -> list[list[KeyImage]]:
    pictures = []
    for done, one in enumerate(found):
        count(done, len(found) + 1)  # the slices of the scan are one more
        pictures.append(key_images(scan, one))
    count(len(found), len(found) + 1)
    return pictures


def _viewer(scan: Scan, findings: Findings, content: Document, view: SliceView) -> dict[str, Any]:
    """What the script needs: slice positions, and where the findings are on them."""
    slices, rows, columns = scan.shape_irc
    middle = (rows / 2, columns / 2)
    z = scan.geometry.xyz_from_irc([(k, *middle) for k in range(slices)])[:, 2]
    named: list[tuple[str, Finding | Opacity]] = [
        (reported.letter, opacity)
        for reported, opacity in zip(content.opacities, findings.opacities, strict=False)
    ]
    named += [(str(finding.number), finding) for finding in findings.findings[:ROWS_MAX]]
    return {
        "step": view.step,
        "slices": slices,
        "z": [round(float(v), 1) for v in z],
        "images": view.images,
        "findings": [_ring(scan, name, found, view) for name, found in named],
    }


def _ring(scan: Scan, name: str, found: Finding | Opacity, view: SliceView) -> dict[str, Any]:
    """The ring round a finding in the scrollable view, in the view's pixels."""
    _, rows, columns = scan.shape_irc
    first = found.mask.start_irc[0]
    return {
        "name": name,
        "index": round(found.center_irc[0]),
        "first": first,
        "last": first + found.mask.voxels.shape[0] - 1,
        # Pixel centres are at half steps of the drawing.
        "x": round((found.center_irc[2] + 0.5) / columns * view.width, 1),
        "y": round((found.center_irc[1] + 0.5) / rows * view.height, 1),
        "r": round(_radius(scan, found.measurement.long_axis_mm, view), 1),
    }


def _radius(scan: Scan, long_axis_mm: float, view: SliceView) -> float:
    """The radius of the ring round a finding: clear of it, and large enough to be seen."""
    pixels_per_mm = view.width / (scan.shape_irc[2] * scan.geometry.spacing_irc[2])
    return max(10.0, 0.8 * long_axis_mm * pixels_per_mm)
