"""The report as a PDF on A4: the same numbers as `report.json`, with key images.

Matplotlib draws it, which every run of `luna evaluate` needs anyhow; a browser, or a library for
PDF, would be one more thing to install and to trust.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages

from luna.clinical.size import axes_words
from luna.ct.scan import Scan
from luna.detect.findings import Finding, Findings, Opacity, Status
from luna.report.dicom.pages import LARGE, Pages
from luna.report.dicom.pictures import draw_planes
from luna.report.document import Document, ReportedFinding, ReportedOpacity
from luna.report.html import PICTURED_MAX
from luna.report.words import probability_words, volume_words

PICTURE = 0.19
"""The height of three planes, of the page's."""

DECIMALS = 6
"""Of a number, as many as `report.json` has of any that was measured."""

LABELS = {
    "number": "Number",
    "letter": "Letter",
    "p_nodule": "Probability of a nodule (network)",
    "p_malignant": "Probability of malignancy (network)",
    "side": "Lung",
    "third": "Third of the lung by height",
    "lobe": "Lobe",
    "slice_number": "Slice, from 1 at the feet",
    "slice_index": "Slice, from 0",
    "image_number": "DICOM instance number of that slice",
    "center_irc": "Centre, voxels (slice, row, column)",
    "center_lps_mm": "Centre, LPS mm",
    "center_ras_mm": "Centre, RAS mm",
    "long_axis_mm": "Long axis, mm",
    "short_axis_mm": "Short axis, mm",
    "diameter_mm": "Mean diameter, mm",
    "axes_plane": "Plane of the axes",
    "axes_index": "Slice, row or column of that plane, from 0",
    "volume_mm3": "Volume, mm³",
    "equal_volume_mm": "Diameter of a ball of that volume, mm",
    "cut_by_scan": "Cut by the edge of the scan",
    "hu_mean": "Mean attenuation, HU",
    "hu_min": "Lowest attenuation, HU",
    "hu_max": "Highest attenuation, HU",
    "kind": "Kind",
    "solid_mm": "Solid part, mean diameter, mm",
    "calcification": "Calcification",
    "calcified_share": "Share of the core above 200 HU",
    "fat": "Fat",
    "fat_share": "Share of the core with -120 to -30 HU",
    "pleural_contact": "Share of the surface on the pleura",
    "strands": "Strands that leave it",
}
"""What each number of a finding or opacity is called; a number without a name is shown as is."""

STATUSES: Mapping[Status, str] = {
    "clear": "Looked at both lungs, and found nothing",
    "findings": "Findings",
    "opacity": "An opacity larger than the networks' range: a radiologist must look",
    "limited": "Limited: luna could not judge all of this scan. In what it could judge it found "
    "nothing",
}

FACTS = ("prior", "scan", "looked_at", "trained_for", "models", "patient")
"""The parts of the report that stand at its end, name by name."""


def report_pdf(scan: Scan, findings: Findings, content: Document) -> bytes:
    """Draw the report as a PDF whose text can be searched and copied."""
    stream = io.BytesIO()
    version = content.run["versions"]["luna"]
    foot = f"luna {version}, series {content.scan.series_uid}"
    # TrueType: PACS and printers want fonts embedded, and text must be found in them again.
    with mpl.rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks, in names from the file
        with PdfPages(stream, metadata={"Title": "Chest CT nodule report"}) as pdf:
            pages = Pages(pdf, foot)
            _summary(pages, content)
            _lesions(pages, scan, findings, content)
            _facts(pages, content)
            pages.finish()
    return stream.getvalue()


def _summary(pages: Pages, content: Document) -> None:
    pages.line("Chest CT nodule report", size=LARGE, bold=True)
    pages.line(f"Series {content.scan.series_uid}, made {content.created}")
    for notice in (content.notice, *content.model_notices):
        pages.line(notice, bold=True)
    pages.line()
    pages.line(STATUSES[content.status], size=LARGE, bold=True)
    threshold = content.looked_at.threshold
    pages.line(
        f"Opacities: {len(content.opacities)}. Findings at or above a nodule probability of "
        f"{threshold:g}: {len(content.findings)}."
    )
    pages.lines(f"• {sentence}" for sentence in content.warnings)
    pages.line()
    pages.lines(map(_one_line, content.opacities))
    pages.lines(map(_one_line, content.findings))
    if content.guidelines is not None:
        pages.line()
        pages.line("Guidelines", size=LARGE, bold=True)
        for one in (*content.guidelines["statements"], *content.guidelines["probabilities"]):
            pages.line()
            pages.columns(_rows(one))


def _name(one: ReportedFinding | ReportedOpacity) -> str:
    return f"Finding {one.number}" if isinstance(one, ReportedFinding) else f"Opacity {one.letter}"


def _one_line(one: ReportedFinding | ReportedOpacity) -> str:
    long_mm, short_mm, mean_mm = axes_words(one.long_axis_mm, one.short_axis_mm)
    size = f"{long_mm} × {short_mm} mm (mean {mean_mm}), {volume_words(one.volume_mm3)}"
    if one.cut_by_scan:
        size = f"at least {size} (the edge of the scan cuts it)"
    head = f"{_name(one)}: {one.side} lung, slice {one.slice_number}, {size}"
    if isinstance(one, ReportedOpacity):
        return f"{head}. No network judged it."
    malignant = (
        "" if one.p_malignant is None else f", of malignancy {probability_words(one.p_malignant)}"
    )
    p = probability_words(one.p_nodule)
    return f"{head}, {one.kind or 'kind unknown'}, probability {p}{malignant}"


def _lesions(pages: Pages, scan: Scan, findings: Findings, content: Document) -> None:
    """Every lesion with all of its numbers; the first ones with pictures."""
    reported: list[ReportedOpacity | ReportedFinding] = [*content.opacities, *content.findings]
    found: list[Opacity | Finding] = [
        *findings.opacities[: len(content.opacities)],
        *findings.findings,
    ]
    for k, (one, lesion) in enumerate(zip(reported, found, strict=True)):
        pages.line()
        pages.need(PICTURE + 0.1)
        pages.line(_name(one), size=LARGE, bold=True)
        if k < PICTURED_MAX:
            draw_planes(pages.pictures(3, PICTURE), scan, lesion)
        pages.columns(_rows({LABELS.get(n, n): v for n, v in asdict(one).items()}))


def _facts(pages: Pages, content: Document) -> None:
    values = content.json_values()
    for name in FACTS:
        if name in values:
            pages.line()
            pages.line(name.replace("_", " ").capitalize(), size=LARGE, bold=True)
            pages.columns(_rows(values[name]))


def _rows(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Return nested values as names and texts, in their order."""
    if isinstance(values, Mapping) and values.keys() == {"name", "value", "unit"}:
        yield f"  {values['name']}", f"{_text(values['value'])} {values['unit']}".strip()
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _rows(value, f"{name} {key}".strip())
    elif isinstance(values, Sequence) and any(isinstance(v, Mapping) for v in values):
        for value in values:
            yield from _rows(value, name)
    elif isinstance(values, Sequence) and not isinstance(values, str):
        yield from [(name, ", ".join(map(_text, values)))] if values else []
    elif values != "":
        yield name, _text(values)


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{DECIMALS}f}".rstrip("0").removesuffix(".")
    return str(value)
