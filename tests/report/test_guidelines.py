"""What a report states of guidelines, from findings to the files."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luna.cli.diagnose.command import show
from luna.clinical.patient import Patient
from luna.ct.geometry import Geometry
from luna.ct.mask import BoxMask
from luna.ct.scan import Provenance, Scan
from luna.detect.findings import Candidates, Finding, Findings, Measurement, Opacity
from luna.detect.prior.changes import Change, Comparison, Sighting
from luna.report.guidelines import Guidance, guideline_section, with_tags
from luna.report.write import write_report

from .described import described


def scan_with(**tags: str) -> Scan:
    return Scan(
        hu=np.full((8, 8, 8), -850, np.int16),
        geometry=Geometry((0, 0, 0), (1.0, 1.0, 1.0)),
        series_uid="1.2",
        provenance=Provenance(source="x", format="DICOM", phi=tags),
    )


def finding(number: int, mm: float, **look: Any) -> Finding:
    size = Measurement.__dataclass_fields__
    values: dict[str, Any] = {
        "long_axis_mm": mm,
        "short_axis_mm": mm,
        "diameter_mm": mm,
        "volume_mm3": mm**3 / 2,
        "hu_mean": 0.0,
        "hu_min": 0,
        "hu_max": 0,
        "plane": "axial",
        "cut_by_scan": False,
    }
    return Finding(
        number=number,
        center_irc=(4.0, 4.0, 4.0),
        center_xyz=(4.0, 4.0, 4.0),
        p_nodule=0.9,
        p_malignant=None,
        measurement=Measurement(**{name: values.get(name, 4) for name in size}),
        description=described(**look),
        side="left",
        mask=BoxMask((3, 3, 3), np.ones((2, 2, 2), np.bool_)),
    )


def findings_of(*found: Finding, **changes: Any) -> Findings:
    none = np.zeros((0, 3))
    empty = Findings(
        series_uid="1.2",
        scan_fingerprint="ab" * 32,
        findings=found,
        candidates=Candidates(
            center_irc=none, center_xyz=none, p_nodule=np.zeros(0), nodule=np.zeros(0, np.int64)
        ),
        threshold=0.5,
        models={"nodule": "n"},
        weights_sha256={"nodule": "ab" * 32},
        config={},
        device="cpu",
        lung_volume_ml=(2000.0, 2000.0),
    )
    return replace(empty, **changes)


def section(findings: Findings, guideline: Any = "both", scan: Scan | None = None, **facts: Any):
    return guideline_section(scan or scan_with(), findings, Guidance(guideline, Patient(**facts)))


def test_each_guideline_is_stated_where_it_is_asked_for() -> None:
    found = findings_of(finding(1, 5), finding(2, 9))
    for choice, names in (
        ("lung-rads", ["Lung-RADS v2022"]),
        ("fleischner", ["Fleischner Society 2017"]),
        ("both", ["Lung-RADS v2022", "Fleischner Society 2017"]),
    ):
        statements = section(found, choice)["statements"]
        assert [s["guideline"] for s in statements] == names
        assert all(s["nodule"] == 2 for s in statements)


def test_a_scan_that_does_not_show_all_of_the_lungs_gets_no_category() -> None:
    told = section(findings_of(finding(1, 9), limits=("Partial scan.",)), age=60)
    assert [s["category"] for s in told["statements"]] == [None, None]
    assert all("limited" in s["withheld"] for s in told["statements"])
    assert told["probabilities"] == []


def test_an_opacity_beyond_the_networks_range_leaves_no_category() -> None:
    small = finding(1, 9)
    mass = Opacity(
        center_irc=small.center_irc,
        center_xyz=small.center_xyz,
        measurement=small.measurement,
        side="left",
        mask=small.mask,
    )
    for found in ((small,), ()):
        told = section(findings_of(*found, opacities=(mass,)), age=60)
        assert [s["category"] for s in told["statements"]] == [None, None]
        assert all("beyond the networks' range" in s["withheld"] for s in told["statements"])
        assert told["probabilities"] == []


def test_no_findings_is_category_1() -> None:
    told = section(findings_of(), "lung-rads")
    assert told["statements"][0]["category"] == "1"
    assert told["probabilities"] == []


@pytest.mark.parametrize(
    ("look", "category"),
    [
        ({}, "4A"),
        ({"kind": "ground-glass"}, "2"),
        ({"kind": "part-solid", "solid_mm": 5.0}, "3"),
        ({"kind": "part-solid", "solid_mm": 50.0}, "4B"),
        ({"kind": None}, "4A"),
        ({"calcification": "complete"}, "1"),
        ({"calcification": "other"}, "4A"),
        ({"fat": True}, "1"),
        ({"juxtapleural": True, "pleural_contact": 0.4}, "4A"),
        ({"strands": 30}, "4A"),
    ],
)
def test_what_was_measured_decides_the_category(look: dict[str, Any], category: str) -> None:
    told = section(findings_of(finding(1, 9, **look)), "lung-rads")["statements"][0]
    assert told["category"] == category
    for words in ("juxtapleural shape", "spiculation"):
        assert words in told["not_assessed"]
    unknown = look == {"kind": None}
    assert any("taken as solid" in w for w in told["not_assessed"]) == unknown
    assert ("kind unknown" in told["row"]) == unknown
    assert any("halo" in w for w in told["not_assessed"]) == (look.get("kind") == "part-solid")


def test_a_row_of_an_unknown_kind_is_named_on_the_page(tmp_path: Path) -> None:
    found = findings_of(finding(1, 7, kind=None))
    write_report(scan_with(), found, tmp_path, guidance=Guidance("both", Patient(age=60)))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "kind: unknown, taken as solid" in page
    assert "kind: unknown, taken as part-solid" in page
    assert page.count("(kind unknown)") == 2


def test_what_the_scan_cuts_is_a_lower_bound_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = finding(1, 9)
    cut = replace(one, measurement=replace(one.measurement, cut_by_scan=True))
    found, guidance = findings_of(cut), Guidance("both", Patient(age=60))
    write_report(scan_with(), found, tmp_path, guidance=guidance)
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert told["findings"][0]["cut_by_scan"] is True
    fact = {"name": "cut by the edge of the scan", "value": True, "unit": ""}
    for statement in told["guidelines"]["statements"]:
        assert fact in statement["facts"]
    for statement in (*told["guidelines"]["statements"], *told["guidelines"]["probabilities"]):
        assert any("size of nodule 1: the edge of" in words for words in statement["not_assessed"])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "≥\u202f9.0 × 9.0 (9.0)" in page
    assert "its size is a lower bound" in page
    row = next(csv.DictReader(io.StringIO((tmp_path / "nodules.csv").read_text("utf-8"))))
    assert row["cut_by_scan"] == "True"
    assert float(row["equal_volume_mm"]) == pytest.approx((6 / np.pi * 364.5) ** (1 / 3), abs=0.01)
    show(found, tmp_path, as_json=False)
    terminal = capsys.readouterr().out
    assert "≥9.0×9.0\t≥9.0\t≥365" in terminal
    assert "its size is a lower bound" in terminal


def test_a_cut_nodule_that_does_not_decide_is_named_too() -> None:
    small, large = finding(1, 4), finding(2, 9)
    cut = replace(small, measurement=replace(small.measurement, cut_by_scan=True))
    for statement in section(findings_of(cut, large))["statements"]:
        assert statement["nodule"] == 2
        assert any("size of nodule 1" in words for words in statement["not_assessed"])
        assert not any(fact["name"].startswith("cut") for fact in statement["facts"])
    for statement in section(findings_of(small, large))["statements"]:
        assert not any("edge of the scan" in words for words in statement["not_assessed"])


def test_what_is_dense_throughout_is_flagged_as_bone_or_calcium(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = findings_of(finding(1, 9, calcification="central"), finding(2, 5))
    dense = findings_of(finding(1, 9), finding(2, 5, calcification="complete"))
    for findings, flagged in ((found, False), (dense, True)):
        write_report(scan_with(), findings, tmp_path)
        show(findings, tmp_path, as_json=False)
        words = "Bone, calcium or contrast agent, dense throughout: 2."
        assert (words in capsys.readouterr().out) == flagged
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert ("solid, bone or calcified throughout" in page) == flagged
        assert ("solid, calcified (central)" in page) == (not flagged)


def test_contrast_agent_is_not_taken_for_calcium() -> None:
    found = findings_of(finding(1, 9, calcification="complete"))
    told = section(found, "lung-rads", scan_with(ContrastBolusAgent="X"))["statements"][0]
    assert told["category"] == "4A"
    assert "calcification: the scan has contrast agent" in told["not_assessed"]
    assert "calcification" not in told["not_assessed"]


@pytest.mark.parametrize(
    ("tags", "age", "sex"),
    [
        ({"PatientAge": "065Y", "PatientSex": "F"}, 65, "F"),
        ({"PatientAge": "018M", "PatientSex": "M"}, 1, "M"),
        ({"PatientAge": "65", "PatientSex": "O"}, None, None),
        ({"PatientAge": "999Y"}, None, None),
        ({}, None, None),
    ],
)
def test_age_and_sex_come_from_the_file(tags: dict[str, str], age: int | None, sex: Any) -> None:
    assert with_tags(Patient(), tags) == Patient(age=age, sex=sex)
    assert with_tags(Patient(age=70, sex="M"), tags) == Patient(age=70, sex="M")


def test_models_judge_with_what_is_known() -> None:
    one = section(findings_of(finding(1, 9)), scan=scan_with(PatientAge="065Y"), sex="F")
    assert [p["model"] for p in one["probabilities"]] == ["Brock 2a", "Mayo"]
    assert 0 < one["probabilities"][0]["lowest"] < one["probabilities"][0]["highest"] < 1
    two = section(findings_of(finding(1, 9), finding(2, 5)))
    assert [(p["model"], p["nodule"]) for p in two["probabilities"]] == [
        ("Brock 1a", 1),
        ("Brock 1a", 2),
    ]


def test_the_files_of_a_report_hold_kinds_and_statements(tmp_path: Path) -> None:
    found = findings_of(finding(1, 9, kind="part-solid", solid_mm=6.51))
    guidance = Guidance("both", Patient(age=65, risk="high"))
    write_report(scan_with(PatientName="DOE^JANE"), found, tmp_path, guidance=guidance)
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert told["findings"][0]["kind"] == "part-solid"
    assert told["guidelines"]["statements"][0]["category"] == "4A"
    table = io.StringIO((tmp_path / "nodules.csv").read_text(encoding="utf-8"))
    row = next(csv.DictReader(table))
    assert (row["kind"], row["solid_mm"], row["third"]) == ("part-solid", "6.51", "upper")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in ("Lung-RADS v2022: 4A", "part-solid, solid part 6.5 mm", "Brock 2a", "Mayo"):
        assert words in page
    assert "DOE" not in page


def test_without_guidance_a_report_states_nothing(tmp_path: Path) -> None:
    write_report(scan_with(PatientAge="065Y"), findings_of(finding(1, 9)), tmp_path)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "guidelines" not in json.loads(text)
    assert "Lung-RADS" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "065Y" not in text


def test_a_withheld_category_is_told_on_the_page(tmp_path: Path) -> None:
    found = findings_of(finding(1, 9), limits=("Partial scan.",))
    write_report(scan_with(), found, tmp_path, guidance=Guidance("both", Patient()))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("no category") == 2
    assert "The report is limited" in page


def sighting(mm: float, name: str | None) -> Sighting:
    one = finding(1, mm)
    return Sighting(
        name=name, center_irc=one.center_irc, center_xyz=one.center_xyz, kind="solid",
        measurement=one.measurement, solid_mm=None, mask=one.mask,
    )  # fmt: skip


def compared(before_mm: float | None, now_mm: float, days: int | None, shown: bool = True) -> Any:
    """A comparison of one nodule, as far as guidelines look at it."""
    place = (4.0, 4.0, 4.0)
    before = None if before_mm is None else sighting(before_mm, "3")
    change = Change(
        now=sighting(now_mm, "1"), prior=before, now_xyz=place, prior_xyz=place,
        shown=shown, fit=1.0, days=days, tracking_id="1.2",
    )  # fmt: skip
    return Comparison(prior=None, findings=None, changes=(change,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before_mm", "now_mm", "days", "category", "row"),
    [
        (None, 5.0, 200, "3", "new"),
        (5.0, 5.5, 200, "2", "baseline"),
        (5.0, 7.0, 200, "4A", "growing"),
        (5.0, 7.0, 500, "3", "baseline"),
        (5.0, 7.0, None, "4A", "growing"),
        (7.0, 9.0, 200, "4B", "new or growing"),
    ],
)
def test_lung_rads_takes_what_became_of_a_nodule(
    before_mm: float | None, now_mm: float, days: int | None, category: str, row: str
) -> None:
    found = findings_of(finding(1, now_mm))
    guidance = Guidance("lung-rads", Patient())
    alone = guideline_section(scan_with(), found, guidance)["statements"][0]
    assert any("no prior scan" in text for text in alone["not_assessed"])
    comparison = compared(before_mm, now_mm, days)
    (statement,) = guideline_section(scan_with(), found, guidance, comparison)["statements"]
    assert statement["category"] == category
    assert row in statement["row"]
    assert not any("no prior scan" in text for text in statement["not_assessed"])
    open_time = any("within 12 months" in text for text in statement["not_assessed"])
    assert open_time == (days is None)


def test_a_place_that_the_prior_does_not_show_is_no_new_nodule() -> None:
    comparison = compared(None, 5.0, 200, shown=False)
    section = guideline_section(
        scan_with(), findings_of(finding(1, 5.0)), Guidance("lung-rads", Patient()), comparison
    )
    (statement,) = section["statements"]
    assert statement["category"] == "2"
    assert any("does not show the place" in text for text in statement["not_assessed"])


def test_the_lobe_that_the_user_gave_narrows_the_probability() -> None:
    guidance = Guidance("lung-rads", Patient(age=62, sex="M", family_history=False))
    ranges = {}
    for lobe in (None, "right upper", "right middle"):
        found = findings_of(finding(1, 8.0, lobe=lobe))
        first = guideline_section(scan_with(), found, guidance)["probabilities"][0]
        ranges[lobe] = first["lowest"], first["highest"]
        assert ("upper lobe" in first["not_assessed"]) == (lobe is None)
    assert ranges["right upper"][0] > ranges["right middle"][0]
    assert ranges["right middle"][0] == pytest.approx(ranges[None][0])
    assert ranges["right upper"][1] == pytest.approx(ranges[None][1])
