"""One rounding everywhere: the terminal, the page, the paper, the tables and the SR agree."""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from luna.cli.diagnose.command import show
from luna.clinical.size import axes_words
from luna.report.words import probability_words, volume_words, whole
from luna.report.write import write_report

from .conftest import Case
from .test_objects import groups_of, numbers

HALVES = {
    "long_axis_mm": 9.45,
    "short_axis_mm": 6.25,
    "diameter_mm": 7.85,
    "volume_mm3": 106.5,
    "hu_mean": -640.5,
}
"""Each ends in a 5 that some ways of rounding take up and others down."""


@pytest.fixture(scope="module")
def folder(
    written: Callable[[str], tuple[Case, Path]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Case, Path]:
    case, _ = written("axial")
    first, second = case.findings.findings
    odd = replace(first, measurement=replace(first.measurement, **HALVES), p_nodule=0.99951)
    findings = replace(case.findings, findings=(odd, replace(second, p_nodule=0.0625)))
    out = tmp_path_factory.mktemp("rounding")
    write_report(case.scan, findings, out, dicom=case.results)
    return replace(case, findings=findings), out


def finding(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "report.json").read_text())["findings"][0])


def words_of(one: dict[str, Any]) -> list[str]:
    """What every reader must see of a finding."""
    axes = axes_words(one["long_axis_mm"], one["short_axis_mm"])
    return [*axes, whole(one["volume_mm3"]), probability_words(one["p_nodule"])]


def test_the_words_are_what_they_should_be(folder: tuple[Case, Path]) -> None:
    assert words_of(finding(folder[1])) == ["9.5", "6.3", "7.9", "107", ">0.999"]


def test_the_terminal_says_what_the_report_says(
    folder: tuple[Case, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    case, out = folder
    show(case.findings, out, as_json=False)
    row = next(line for line in capsys.readouterr().out.splitlines() if ">0.999" in line)
    long_mm, short_mm, mean, volume, p = words_of(finding(out))
    assert row.split("\t")[1] == p
    assert row.split("\t")[-4:] == [f"{long_mm}×{short_mm}", mean, volume, "-641"]


def test_the_page_says_it_too(folder: tuple[Case, Path]) -> None:
    text = html.unescape((folder[1] / "report.html").read_text())
    cells = re.findall(r'<td role="cell"[^>]*>([^<]*)</td>', text)
    one = finding(folder[1])
    long_mm, short_mm, mean, _, p = words_of(one)
    assert f"{long_mm} × {short_mm} ({mean})" in cells
    assert volume_words(one["volume_mm3"]) in cells
    assert p in cells
    assert "-641 HU" in text


def test_the_paper_of_the_archive_says_it_too(
    folder: tuple[Case, Path], run_tool: Callable[..., str], tmp_path: Path
) -> None:
    wrapped = pydicom.dcmread(folder[1] / "report.pdf.dcm")
    pdf = tmp_path / "report.pdf"
    pdf.write_bytes(wrapped.EncapsulatedDocument[: wrapped.EncapsulatedDocumentLength])
    text = " ".join(run_tool("pdftotext", "-layout", pdf, "-").split())
    long_mm, short_mm, mean, volume, p = words_of(finding(folder[1]))
    assert f"{long_mm} × {short_mm} mm (mean {mean}), {volume} mm³" in text
    assert f"probability {p}" in text


def test_the_table_and_the_sr_have_the_numbers_of_the_json(folder: tuple[Case, Path]) -> None:
    one = finding(folder[1])
    table = (folder[1] / "nodules.csv").read_text(encoding="utf-8")
    row = next(csv.DictReader(table.splitlines()))
    for name in ("p_nodule", *HALVES):
        assert float(row[name]) == one[name], name
    said = numbers(groups_of(folder[1])["Finding 1"])
    for name, field in (
        ("Volume", "volume_mm3"),
        ("Diameter", "diameter_mm"),
        ("Long Axis", "long_axis_mm"),
        ("Short Axis", "short_axis_mm"),
        ("Mean Attenuation Coefficient", "hu_mean"),
    ):
        assert said[name] == one[field], name
    assert said["Certainty of Finding"] == pytest.approx(100 * one["p_nodule"], abs=1e-9)
