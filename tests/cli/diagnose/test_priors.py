"""`luna diagnose --priors auto`: visits in one archive, each compared with the one before it."""

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from luna.cli import app
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.phantom.cohort import write_metaimage

from ...dicom_chest import write_series

Luna = Callable[..., Any]
FIRST, SECOND, THIRD = "1.1.3", "1.1.1", "1.1.2"
"""The visits of one patient: their names do not sort by date."""

WRONG = "1.1.4"
"""The latest scan with the same ID, though the lungs are another patient's."""

NOBODY = "1.3.1"
PRIORS = {SECOND: FIRST, THIRD: SECOND, WRONG: THIRD}


def visited(root: Path, uid: str, scan: Scan, date: str, patient: str = "P1") -> None:
    write_series(
        root / uid, scan, uid, StudyDate=date, PatientID=patient, FrameOfReferenceUID=f"{uid}.9"
    )


def changed(scan: Scan, by_hu: int) -> Scan:
    """The same chest with another voxel outside the body, so that it is another scan."""
    hu = scan.hu.copy()
    hu[0, 0, 0] += by_hu
    return replace(scan, hu=hu)


@pytest.fixture(scope="module")
def archive(
    chest: Callable[..., Scan], nodule_chest: Scan, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Three visits of a patient, one with the same ID in error, and two scans that are nobody's."""
    root = tmp_path_factory.mktemp("visits")
    visited(root, FIRST, chest(), "20240102")
    visited(root, SECOND, nodule_chest, "20250101")
    visited(root, THIRD, changed(nodule_chest, 1), "20250702")
    visited(root, WRONG, chest(slices=12), "20260101")  # lungs of half the height
    visited(root, NOBODY, nodule_chest, "20260101", patient="Anonymous")
    write_metaimage(root / "volume.mhd", nodule_chest.hu, nodule_chest.geometry)
    return root


def command(scans: Path, weights: Path, out: Path, *more: object) -> list[str]:
    words = ("diagnose", scans, "--weights", weights / "weights", "--out", out, *more)
    return [
        *map(str, words),
        *["--priors", "auto", "--json", "--dicom", "none", "--set", "balls=false"],
    ]


@pytest.fixture(scope="module")
def told(
    archive: Path, original: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str, Path]:
    """What the command printed, and the folder of its reports. Not to be changed: copy it first."""
    out, printed, err = tmp_path_factory.mktemp("reports") / "out", io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(err):
        assert app.run(command(archive, original, out)) == 0, err.getvalue()
    return printed.getvalue(), err.getvalue(), out


def report_of(out: Path, name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((out / name / "report.json").read_text())
    return report


def outcomes(text: str) -> dict[str, str]:
    return {(line := json.loads(row))["scan"]: line["outcome"] for row in text.splitlines()}


def test_each_visit_is_compared_with_the_one_before_it(told: tuple[str, str, Path]) -> None:
    _, _, out = told
    for name, prior, days in ((SECOND, FIRST, 365), (THIRD, SECOND, 182)):
        section = report_of(out, name)["prior"]
        assert (section["series_uid"], section["days"]) == (prior, days)
        assert (out / name / "growth.csv").exists()
    verdicts = [change["verdict"] for change in report_of(out, SECOND)["prior"]["changes"]]
    assert verdicts == ["new"] * 4
    for name in (FIRST, NOBODY, "volume", WRONG):
        assert "prior" not in report_of(out, name)


def test_nodules_keep_their_names_over_three_visits(told: tuple[str, str, Path]) -> None:
    first, second = (report_of(told[2], name)["prior"]["changes"] for name in (SECOND, THIRD))
    seen = {change["tracking_id"] for change in first if change["volume_mm3"] is not None}
    assert len(seen) == 4
    assert [change["verdict"] for change in second] == ["stable"] * 4
    assert {change["tracking_id"] for change in second if change["verdict"] == "stable"} == seen


def test_a_prior_that_does_not_fit_is_said_wherever_the_scan_is_listed(
    told: tuple[str, str, Path],
) -> None:
    text, err, out = told
    reason = "the prior does not fit the scan"
    assert f"{WRONG} is not compared with its prior {THIRD}" in " ".join(err.split())
    warnings = report_of(out, WRONG)["warnings"]
    assert [text for text in warnings if f"Not compared with {THIRD}: {reason}" in text]
    with (out / "summary.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["folder"]: row for row in csv.DictReader(stream)}
    assert {name: row["prior"] for name, row in rows.items() if row["prior"]} == PRIORS
    assert reason in rows[WRONG]["prior_refused"]
    assert rows[SECOND]["prior_refused"] == ""
    assert rows[SECOND]["changes"] == "4 new"
    page = (out / "index.html").read_text()
    assert f"Not compared with {THIRD}: {reason}" in page
    assert f"Since {FIRST}: 4 new" in page
    lines = {line["scan"]: line for line in map(json.loads, text.splitlines())}
    assert reason in lines[WRONG]["prior_refused"]


def test_the_rule_and_those_without_a_prior_are_said_once_and_nobody_is_named(
    told: tuple[str, str, Path],
) -> None:
    _, err, out = told
    said = " ".join(err.split())
    page = " ".join((out / "index.html").read_text().split())
    summary = " ".join(json.loads((out / "summary.json").read_text())["priors"])
    for text in (said, page, summary):
        assert text.count("latest earlier study of its patient") == 1
        assert "1 with a patient ID that stands for nobody" in text
        assert "1 not DICOM" in text
        assert "1 without an earlier study" in text
    assert "Anonymous" not in page
    assert "DOE" not in page


def test_a_second_run_keeps_all_also_where_a_prior_was_refused(
    luna: Luna, archive: Path, original: Path, told: tuple[str, str, Path], tmp_path: Path
) -> None:
    shutil.copytree(told[2], tmp_path / "out")
    again = luna(*command(archive, original, tmp_path / "out"))
    assert again.code == 0, again.err
    assert set(outcomes(again.out).values()) == {"kept"}
    assert f"{WRONG} is not compared with its prior {THIRD}" in " ".join(again.err.split())


@pytest.mark.slow
def test_a_scan_is_done_again_when_its_prior_changed(
    luna: Luna, archive: Path, original: Path, told: tuple[str, str, Path], tmp_path: Path
) -> None:
    """A file that is only newer changes nothing; other voxels, or no prior at all, do."""
    scans, out = tmp_path / "archive", tmp_path / "out"
    for name in (FIRST, SECOND):
        shutil.copytree(archive / name, scans / name)
        shutil.copytree(told[2] / name, out / name)
    shutil.copy(told[2] / "batch.json", out)

    def made() -> dict[str, str]:
        return outcomes(luna(*command(scans, original, out)).out)

    os.utime(next((scans / FIRST).iterdir()))
    assert made() == {FIRST: "kept", SECOND: "kept"}
    before = read_scan(scans / FIRST)
    visited(scans, FIRST, changed(before, 1), "20240102")
    assert made() == {FIRST: "done", SECOND: "done"}
    shutil.rmtree(scans / FIRST)
    assert made() == {SECOND: "done"}
    assert "prior" not in report_of(out, SECOND)


@pytest.mark.slow
def test_shares_hold_whole_patients_and_leave_what_one_run_leaves(
    luna: Luna, archive: Path, original: Path, told: tuple[str, str, Path], tmp_path: Path
) -> None:
    seen: dict[str, str] = {}
    for number in (1, 2):
        ran = luna(*command(archive, original, tmp_path / "out", "--shard", f"{number}/2"))
        assert ran.code == 0, ran.err
        share = outcomes(ran.out)
        assert set(PRIORS) <= set(share) or not set(PRIORS) & set(share)
        seen |= share
    assert seen == dict.fromkeys([*PRIORS, FIRST, NOBODY, "volume"], "done")
    whole = luna(*command(archive, original, tmp_path / "out"))
    assert set(outcomes(whole.out).values()) == {"kept"}
    assert tables_of(tmp_path / "out") == tables_of(told[2])


@pytest.mark.slow
def test_workers_of_a_cluster_leave_what_one_process_leaves(
    luna: Luna, archive: Path, original: Path, told: tuple[str, str, Path], tmp_path: Path
) -> None:
    ran = luna(*command(archive, original, tmp_path / "out", "--cluster", "local:2"))
    assert ran.code == 0, ran.err
    assert set(outcomes(ran.out).values()) == {"done"}
    assert tables_of(tmp_path / "out") == tables_of(told[2])


def tables_of(out: Path) -> dict[str, bytes]:
    """Return the files of the reports that have no times in them."""
    names = ("growth.csv", "nodules.csv", "detections.csv", "source.json")
    files = [path for name in names for path in out.glob(f"*/{name}")]
    assert len(files) > 3 * len(PRIORS)
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_a_plan_names_the_priors_and_two_ways_to_name_one_are_refused(
    luna: Luna, archive: Path, original: Path, tmp_path: Path
) -> None:
    planned = luna(*command(archive, original, tmp_path / "out", "--dry-run"))
    assert planned.code == 0, planned.err
    assert f"would diagnose {THIRD}, after its prior {SECOND}\n" in planned.out
    assert f"would diagnose {FIRST}\n" in planned.out
    assert not (tmp_path / "out").exists()
    refused = luna(*command(archive, original, tmp_path / "out", "--prior", archive / FIRST))
    assert (refused.code, "give one of them" in refused.err) == (2, True)
