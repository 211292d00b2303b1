"""`report.html`: one offline file for a radiologist."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from luna.clinical.size import axes_words, to_tenth_mm
from luna.ct.scan import Scan
from luna.detect.findings import Finding, Findings, Opacity
from luna.detect.prior.changes import Comparison
from luna.report.document import Document, ReportedFinding
from luna.report.figures import KeyImage, key_images
from luna.report.pairs import Pair, pair_images
from luna.report.stack import MARGIN_MM, pack
from luna.report.viewer import Named, viewer_data
from luna.report.words import change_words, probability_words, signed, volume_words, whole

TEMPLATES = files("luna.report") / "templates"

STYLES = ("page.css", "report.css", "viewer.css", "growth.css")
SCRIPTS = tuple(
    f"script/{name}.js" for name in ("stack", "pane", "hands", "keys", "viewer", "page")
)

PICTURED_MAX = 30
"""Findings and opacities with key images: a page of more is too large to open or to mail."""

ROWS_MAX = 500
"""Rows of the table of findings; `nodules.csv` holds them all."""


def page_environment() -> Environment:
    """The templates of luna's pages; every string that they are given is escaped."""
    environment = Environment(
        loader=PackageLoader("luna.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (axes_words, change_words, probability_words, signed, to_tenth_mm, volume_words, whole)
    environment.globals.update({word.__name__: word for word in words})
    return environment


def template_text(*names: str) -> str:
    """Style sheets or scripts, one after the other; `page.css` is what all pages share."""
    return "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def render(
    scan: Scan,
    findings: Findings,
    content: Document,
    count: Callable[[int, int], None] = lambda done, total: None,
    comparison: Comparison | None = None,
) -> str:
    """Render the HTML of a report.

    Every string is escaped by the template engine. The policy in the page's head allows its own
    script by hash, images from data URIs, and nothing else. `count` is called with the number of
    drawn pictures and their total.
    """
    # A block, so that its names meet no others.
    script = f'"use strict";\n{{\n{template_text(*SCRIPTS)}}}\n'
    opacities = findings.opacities[: len(content.opacities)]
    rows = by_concern(content)[:ROWS_MAX]
    found = [findings.findings[row.number - 1] for row in rows]
    pictured = found[: max(PICTURED_MAX - len(opacities), 0)]
    pictures = _pictures(scan, [*opacities, *pictured], count)
    stack = pack(scan, findings)
    named = _named(content, rows, [*opacities, *found])
    template = page_environment().get_template("report.html")
    return template.render(
        content=content,
        rows=rows,
        rows_max=ROWS_MAX,
        pairs=_pairs(scan, comparison),
        categories=content.categories,
        opacity_images=pictures[: len(opacities)],
        images=pictures[len(opacities) :],
        stack=stack,
        margin_mm=MARGIN_MM,
        viewer=viewer_data(scan, stack, named, len(pictures)),
        style=template_text(*STYLES),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def by_concern(content: Document) -> list[ReportedFinding]:
    """Return the findings in order of concern.

    By the category that a guideline gives them, where one is asked for, then by size.
    """
    categories = content.categories
    return sorted(
        content.findings,
        key=lambda f: (categories.get(f.number, ""), f.diameter_mm, f.p_nodule),
        reverse=True,
    )


def _named(
    content: Document, rows: Sequence[ReportedFinding], found: Sequence[Finding | Opacity]
) -> list[Named]:
    names = [(o.letter, f"opacity {o.letter}") for o in content.opacities]
    names += [(str(row.number), f"finding {row.number}") for row in rows]
    return [(*name, one) for name, one in zip(names, found, strict=True)]


def _pictures(
    scan: Scan, found: Sequence[Finding | Opacity], count: Callable[[int, int], None]
) -> list[list[KeyImage]]:
    pictures = []
    for done, one in enumerate(found):
        count(done, len(found) + 1)  # the slices of the scan are one more
        pictures.append(key_images(scan, one))
    count(len(found), len(found) + 1)
    return pictures


def _pairs(scan: Scan, comparison: Comparison | None) -> list[list[Pair]]:
    """Images of the first nodules beside the prior scan; none without one."""
    if comparison is None:
        return []
    return [pair_images(scan, comparison, c) for c in comparison.changes[:PICTURED_MAX]]
