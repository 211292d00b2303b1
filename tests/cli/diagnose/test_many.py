"""`luna diagnose` of many scans: a report for each, one list, and nothing done twice."""

import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luna.cli import app
from luna.ct.scan import Scan
from luna.phantom.cohort import write_metaimage
from luna.report.batch.scan import RESULT

from ...dicom_chest import slice_of, write_series

Luna = Callable[..., Any]
UIDS = ("1.2.1", "1.2.2", "1.2.3")
ODD = "<i>=1+1.mhd"


@pytest.fixture(scope="module")
def tree(
    chest: Callable[..., Scan], nodule_chest: Scan, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An archive: two patients in one folder, one in its own, a volume, and much that is no scan.

    In the flat folder a file is cut off; elsewhere a volume is broken.
    """
    root = tmp_path_factory.mktemp("archive")
    write_series(root / "flat", chest(), UIDS[0])
    write_series(root / "flat", nodule_chest, UIDS[1])
    whole = (root / "flat" / f"{UIDS[1]}-003.dcm").read_bytes()
    (root / "flat" / "cut.dcm").write_bytes(whole[:200])
    (root / "flat" / "README").write_text("hello")
    own = write_series(root / "patient" / "study", nodule_chest, UIDS[2])
    scout = slice_of(nodule_chest, nodule_chest.hu[0], "1.2.9", 0)
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.save_as(own / "scout.dcm")
    scout.ImageType, scout.Modality = ["ORIGINAL", "PRIMARY"], "PT"
    scout.save_as(own / "pet.dcm")
    (root / "volumes").mkdir()
    write_metaimage(root / "volumes" / "chest.mhd", nodule_chest.hu, nodule_chest.geometry)
    (root / "volumes" / ODD).write_text("ObjectType = Image\n")
    return root


@pytest.fixture(scope="module")
def weights(original: Path) -> Path:
    return original / "weights"


@pytest.fixture(scope="module")
def reports(tree: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `luna diagnose` makes of the archive. Not to be changed: copy it first."""
    out = tmp_path_factory.mktemp("many") / "reports"
    assert app.run(["diagnose", str(tree), "--weights", str(weights), "--out", str(out)]) == 5
    return out


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "summary.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_scan_of_an_archive_has_a_report(reports: Path) -> None:
    folders = {path.name for path in reports.iterdir() if path.is_dir()}
    assert folders == {*UIDS, "chest"}
    for name in folders:
        report = json.loads((reports / name / "report.json").read_text())
        assert report["scan"]["series_uid"] == name
        assert (reports / name / "report.html").is_file()
        assert (reports / name / "nodules.nii.gz").is_file()


def test_the_summary_says_what_was_found_what_failed_and_what_was_left_out(reports: Path) -> None:
    summary = json.loads((reports / "summary.json").read_text())
    assert {scan["folder"] for scan in summary["scans"]} == {*UIDS, "chest"}
    worst_first = [scan["worst"]["long_axis_mm"] for scan in summary["scans"] if scan["worst"]]
    assert worst_first == sorted(worst_first, reverse=True)
    assert len(summary["failures"]) == 1
    assert [damaged["file"] for damaged in summary["damaged"]] == ["cut.dcm"]
    assert summary["counts"]["failed"] == 2
    assert summary["left_out"] == {"localizer": 1, "modality PT, not CT": 1, "not DICOM": 1}
    assert "thinnest slices" in summary["rule"]
    assert summary["studies"] == 5
    for scan in summary["scans"]:
        report = json.loads((reports / scan["folder"] / "report.json").read_text())
        assert scan["status"] == report["status"]
        assert scan["findings"] == len(report["findings"])


def test_the_table_has_a_row_for_each_and_no_formula(reports: Path) -> None:
    rows = rows_of(reports)
    assert [row["status"] for row in rows].count("failed") == 2
    assert {row["folder"] for row in rows} >= {*UIDS, "chest", "cut.dcm"}
    assert all(row["reason"] for row in rows if row["status"] == "failed")
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())


def test_the_list_escapes_names_and_links_each_report(reports: Path) -> None:
    page = (reports / "index.html").read_text(encoding="utf-8")
    assert "<i>" not in page
    assert "could not be read or judged" in page
    for name in (*UIDS, "chest"):
        assert f'href="{name}/report.html"' in page
    assert "data:image/jpeg;base64," in page
    assert "DOE" not in page
    assert "DOE" not in (reports / "summary.json").read_text()


def test_the_series_beside_a_damaged_file_says_so(reports: Path) -> None:
    report = json.loads((reports / UIDS[0] / "report.json").read_text())
    assert "1 files in this folder were not read: 1 damaged." in " ".join(report["warnings"])


@pytest.fixture
def again(luna: Luna, tree: Path, weights: Path, reports: Path, tmp_path: Path) -> Luna:
    """Run the command again on a copy of the reports."""
    shutil.copytree(reports, tmp_path / "reports")
    return lambda *more: luna(
        "diagnose", tree, "--weights", weights, "--out", tmp_path / "reports", *more
    )


def outcomes(text: str) -> dict[str, str]:
    lines = [json.loads(line) for line in text.splitlines()]
    return {line.get("scan") or Path(line["file"]).name: line["outcome"] for line in lines}


def test_a_second_run_looks_at_nothing_again(again: Luna, tmp_path: Path) -> None:
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("reports/*/*")}
    outcome = again("--json", "--quiet")
    assert outcome.code == 5
    kept = outcomes(outcome.out)
    assert [kept[name] for name in (*UIDS, "chest")] == ["kept"] * 4
    assert sorted(kept.values()) == ["failed", "failed", *["kept"] * 4]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("reports/*/*")} == times
    assert "2 scans or files have no result" in outcome.err


def test_what_was_changed_is_done_again_and_nothing_else(
    again: Luna, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "reports" / UIDS[0] / "nodules.csv").unlink()
    result = tmp_path / "reports" / UIDS[1] / RESULT
    result.write_text(result.read_text().replace('"findings": ', '"findings": 1'))
    os.utime(tree / "volumes" / "chest.mhd")  # of the same content as before
    outcome = again("--json")
    made = outcomes(outcome.out)
    assert [made[name] for name in (*UIDS, "chest")] == ["done", "done", "kept", "kept"]
    assert f"{UIDS[1]} was damaged (its checksum differs" in outcome.err
    assert all("left" in line for line in outcome.err.splitlines() if "scan 1/" in line)


@pytest.mark.slow
def test_another_threshold_is_another_report(again: Luna) -> None:
    made = outcomes(again("--json", "--set", "threshold=0.9").out)
    assert "kept" not in made.values()


def test_a_scan_that_exhausts_the_memory_stops_no_other(
    luna: Luna, tree: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from luna.report.batch import scan as room

    whole = room.diagnose

    def exhausted(scan: Scan, *rest: Any, **more: Any) -> Any:
        if scan.series_uid == UIDS[0]:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return whole(scan, *rest, **more)

    monkeypatch.setattr(room, "diagnose", exhausted)
    paths = (tree / "flat", tree / "volumes" / "chest.mhd")
    outcome = luna("diagnose", *paths, "--weights", weights, "--out", tmp_path / "out")
    assert outcome.code == 5
    assert f"no result for {UIDS[0]}: out of memory" in outcome.err
    assert "1 failed" in outcome.err
    assert {row["folder"]: row["status"] for row in rows_of(tmp_path / "out")} == {
        UIDS[0]: "failed",
        UIDS[1]: "findings",
        "chest": "findings",
        "cut.dcm": "failed",
    }


def test_a_table_names_scans_and_series(
    luna: Luna, tree: Path, weights: Path, tmp_path: Path
) -> None:
    table = tmp_path / "scans.csv"
    paths = [(tree / "flat", UIDS[0]), (tree / "volumes" / "chest.mhd", ""), ("nowhere.mhd", "")]
    table.write_text("path,series\n" + "".join(f"{path},{uid}\n" for path, uid in paths))
    out = tmp_path / "out"
    planned = luna("diagnose", "--list", table, "--weights", weights, "--out", out, "--dry-run")
    assert planned.code == 0
    assert f"would diagnose {UIDS[0]}\n" in planned.out
    assert not out.exists()
    outcome = luna("diagnose", "--list", table, "--weights", weights, "--out", out)
    assert outcome.code == 5
    assert "nowhere.mhd: no such file or folder" in outcome.err
    assert {path.name for path in out.iterdir() if path.is_dir()} == {UIDS[0], "chest"}


def test_the_series_of_a_study_are_chosen_and_one_scan_is_no_list(
    luna: Luna, chest: Callable[..., Scan], weights: Path, tmp_path: Path
) -> None:
    study = {"StudyInstanceUID": "1.5"}
    write_series(tmp_path / "study", chest(), "1.5.1", SeriesNumber=1, **study)
    write_series(tmp_path / "study", chest(slices=26), "1.5.2", SeriesNumber=2, **study)
    command = ("diagnose", tmp_path / "study", "--weights", weights, "--out", tmp_path / "out")
    refused = luna(*command)
    assert (refused.code, "2 CT series here" in refused.err) == (2, True)
    taken = luna(*command, "--series", "2", "--dry-run")
    assert "would diagnose series 1.5.2" in taken.out
    taken = luna(*command, "--choose", "largest")
    assert taken.code == 0, taken.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["scan"]["series_uid"] == "1.5.2"
    assert not (tmp_path / "out" / "index.html").exists()
    every = luna(*command[:-1], tmp_path / "all", "--choose", "all", "--dry-run")
    assert "2 scans of 1 studies: every CT series" in every.out


def test_no_scan_named_and_no_scan_found(luna: Luna, tmp_path: Path) -> None:
    nothing = luna("diagnose", "--out", tmp_path / "out")
    assert (nothing.code, "no scan is named" in nothing.err) == (2, True)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("hello")
    empty = luna("diagnose", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out")
    assert (empty.code, "1 not DICOM" in empty.err) == (3, True)


def waited_for(path: Path, process: Any) -> None:
    end = time.monotonic() + 900  # only a process that hangs: a busy machine may take minutes
    while not list(path.parent.glob(path.name)) and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(
    spawn: Callable[..., Any], luna: Luna, tree: Path, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("diagnose", tree / "flat", tree / "patient", "--weights", weights, "--out", out)
    process = spawn(*command)
    waited_for(out / "*", process)
    waited_for(out / UIDS[0] / RESULT, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = {path.parent.name for path in out.glob(f"*/{RESULT}")}
    assert UIDS[0] in whole
    outcome = luna(*command, "--json")
    made = outcomes(outcome.out)
    assert {name for name, word in made.items() if word == "kept"} == whole
    assert {path.parent.name for path in out.glob(f"*/{RESULT}")} == set(UIDS), outcome.err


def test_ctrl_c_is_answered_at_once_and_the_list_says_what_is_left(
    spawn: Callable[..., Any], tree: Path, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = spawn("diagnose", tree, "--weights", weights, "--out", out)
    waited_for(out / f"{UIDS[0]}", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "stopping after this step" in err
    summary = json.loads((out / "summary.json").read_text())
    assert summary["left"]
    assert "Not looked at yet" in (out / "index.html").read_text()
    assert len(summary["scans"]) + len(summary["failures"]) + len(summary["left"]) == 5
