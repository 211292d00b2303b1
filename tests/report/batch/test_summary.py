"""What the list of many scans says: the worst of each, and no word too much."""

import csv
import json
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.ct.listing.find import Listing
from luna.ct.listing.source import Source
from luna.detect.findings import Opacity
from luna.detect.pipeline import diagnose
from luna.report.batch.entry import Entry, Worst, entry_from, entry_of, thumbnail_of, worst_of
from luna.report.batch.page import write_page
from luna.report.batch.summary import HEADER, Summary, write_csv, write_json

WORST = Worst(
    name="finding 1", p_nodule=0.9, p_malignant=0.4, long_axis_mm=12.3, short_axis_mm=8.0,
    side="left", slice_number=14,
)  # fmt: skip
ENTRY = Entry(
    folder="1.2", series_uid="1.2", status="findings", findings=1, opacities=0, slices=24,
    slice_mm=2.5, worst=WORST, limits=(), warnings=0, seconds=1.0,
)  # fmt: skip


def summary_of(*entries: Entry, **more: object) -> Summary:
    sources = {entry.folder: Source(Path("somewhere", entry.folder)) for entry in entries}
    return Summary(
        listing=Listing(sources=sources, damaged={"/home/doe/<b>.dcm": "cut off"}, studies=3),
        entries={entry.folder: entry for entry in entries},
        failures={"=1+1": "a <script>bad</script> file"},
        **more,
    )


@pytest.fixture(scope="module")
def findings(nodule_chest, models):
    return diagnose(nodule_chest, models, device="cpu")


def test_the_worst_is_the_largest_and_an_opacity_before_all(findings, nodule_chest) -> None:
    found = findings.findings
    sizes = [finding.measurement.diameter_mm for finding in found]
    assert worst_of(findings).measurement.diameter_mm == max(sizes) > min(sizes)
    smallest = found[sizes.index(min(sizes))]
    opacity = Opacity(
        center_irc=smallest.center_irc,
        center_xyz=smallest.center_xyz,
        measurement=smallest.measurement,
        side=smallest.side,
        mask=smallest.mask,
    )
    with_opacity = replace(findings, opacities=(opacity,))
    assert worst_of(with_opacity) is opacity
    described = entry_of(nodule_chest, with_opacity, "1.2").worst
    assert (described.name, described.p_nodule) == ("opacity A", None)
    nothing = replace(findings, findings=())
    assert worst_of(nothing) is None
    assert thumbnail_of(nodule_chest, nothing) == ""
    assert thumbnail_of(nodule_chest, findings).startswith("data:image/jpeg;base64,")


def test_an_entry_comes_back_from_json(findings, nodule_chest) -> None:
    entry = entry_of(nodule_chest, findings, "1.2")
    assert entry_from(json.loads(json.dumps(asdict(entry)))) == entry
    empty = replace(entry, worst=None, limits=("a part only",))
    assert entry_from(json.loads(json.dumps(asdict(empty)))) == empty


STATUSES = st.sampled_from(["opacity", "findings", "limited", "clear"])


@given(st.lists(st.tuples(STATUSES, st.floats(3, 60)), min_size=1, max_size=6))
def test_worse_scans_come_first(values: list[tuple[str, float]]) -> None:
    entries = [
        replace(ENTRY, folder=str(k), status=status, worst=replace(WORST, long_axis_mm=long_mm))
        for k, (status, long_mm) in enumerate(values)
    ]
    ordered = summary_of(*entries).ordered()
    assert [e.status for e in ordered] == sorted(
        (e.status for e in ordered), key=["opacity", "findings", "limited", "clear"].index
    )
    for first, second in pairwise(ordered):
        if first.status == second.status:
            assert first.worst.long_axis_mm >= second.worst.long_axis_mm


def test_tables_hold_no_formula_and_no_path(tmp_path: Path) -> None:
    summary = summary_of(ENTRY, replace(ENTRY, folder="1.3", worst=None), left=("1.4",))
    write_csv(summary, tmp_path / "summary.csv")
    with (tmp_path / "summary.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert tuple(header) == HEADER
    assert [row[0] for row in rows] == ["1.2", "1.3", "'=1+1", "<b>.dcm"]
    assert dict(zip(header, rows[0], strict=True))["worst_long_axis_mm"] == "12.3"
    assert dict(zip(header, rows[1], strict=True))["worst_p_nodule"] == ""
    write_json(summary, tmp_path / "summary.json")
    values = json.loads((tmp_path / "summary.json").read_text())
    assert values["counts"] == {"findings": 2, "failed": 2, "left": 1}
    assert values["left"] == ["1.4"]
    for name in ("summary.csv", "summary.json"):
        assert "/home/doe" not in (tmp_path / name).read_text()


def test_the_page_escapes_and_says_that_a_failure_is_no_finding(tmp_path: Path) -> None:
    limited = replace(ENTRY, folder="1.3", status="limited", limits=('thin "slices" <only>',))
    write_page(summary_of(ENTRY, limited), tmp_path / "index.html", ("not for <patients>",))
    page = (tmp_path / "index.html").read_text()
    assert "<script>bad" not in page
    assert "&lt;script&gt;bad" in page
    assert "not for &lt;patients&gt;" in page
    assert "so nothing is known about what they show." in page
    assert "thin &#34;slices&#34; &lt;only&gt;" in page
    assert "/home/doe" not in page
    assert page.count("<tr>") == 2 + 2 + 2  # two heads, two scans, two without a result
