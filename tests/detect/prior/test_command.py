"""`luna diagnose --prior`, from two files to the terminal, the tables and the page."""

import csv
import io
import json
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from luna.cli import app
from luna.ct.scan import Scan
from luna.nets.bundle import save_bundle
from luna.nets.models import Models
from luna.report.growth import ReportedChange
from luna.report.words import signed
from luna.run.checked import read_checked, write_checked

from .conftest import (
    BALLS_NOW,
    BEFORE,
    GONE,
    GROWN,
    NEW,
    NOW,
    SMALLER,
    STABLE,
    Position,
)

PLACES = {"grown": GROWN, "stable": STABLE, "smaller": SMALLER, "new": NEW}


def written(scan: Scan, path: Path) -> Path:
    image = sitk.GetImageFromArray(scan.hu)
    image.SetOrigin(scan.geometry.origin_xyz)
    image.SetSpacing(scan.geometry.spacing_xyz)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="module")
def files(
    now: Scan,
    before: Scan,
    visit: Callable[..., Scan],
    models: Models,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("visits")
    written(now, folder / "now.mha")
    written(before, folder / "before.mha")
    written(visit(2, BEFORE, noise=3), folder / "stranger.mha")
    for bundle in models.bundles():
        save_bundle(bundle, folder / "weights" / bundle.card.name)
    return folder


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, run in this process."""
    handler = signal.getsignal(signal.SIGTERM)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = app.run([str(argument) for argument in arguments])
    signal.signal(signal.SIGTERM, handler)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def told(files: Path) -> tuple[str, Path]:
    """What the command printed, and the folder of its report."""
    out = files / "report"
    code, text, err = run(
        *("diagnose", files / "now.mha", "--prior", files / "before.mha", "--interval", 365),
        *("--weights", files / "weights", "--out", out, "--guideline", "lung-rads"),
        # The network of the tests marks all soft tissue: the crude chest's wall holds balls too.
        *("--set", "balls=false"),
    )
    assert code == 0, err
    assert "places in them found again" in err
    return text, out


def test_the_terminal_has_a_line_for_each_nodule(told: tuple[str, Path]) -> None:
    lines = [line.split("\t") for line in told[0].splitlines()]
    header = next(k for k, line in enumerate(lines) if line[0] == "change")
    rows = lines[header + 1 : header + 6]
    assert sorted(row[0] for row in rows) == ["gone", "grown", "new", "smaller", "stable"]
    grown = next(row for row in rows if row[0] == "grown")
    assert 300 < float(grown[-1]) < 450
    assert "by finding" not in told[0]
    assert "new or growing" in told[0]  # the row of Lung-RADS that decides: 12 mm and new


def test_report_json_has_places_volumes_and_limits(told: tuple[str, Path]) -> None:
    report = json.loads((told[1] / "report.json").read_text())
    prior = report["prior"]
    assert prior["days"] == 365
    assert prior["series_uid"] == "before"
    by_verdict = {change["verdict"]: change for change in prior["changes"]}
    for verdict, place in PLACES.items():
        change = by_verdict[verdict]
        assert np.linalg.norm(np.array(change["center_lps_mm"]) - NOW.placed(place)) < 3
        assert np.linalg.norm(np.array(change["prior_center_lps_mm"]) - place) < 3
    grown = by_verdict["grown"]
    assert grown["volume_change_low"] < grown["volume_change"] < grown["volume_change_high"]
    assert by_verdict["new"]["prior_volume_mm3"] is None
    assert len({change["tracking_id"] for change in prior["changes"]}) == 5
    gone = by_verdict["gone"]
    assert gone["finding"] is None
    assert np.linalg.norm(np.array(gone["prior_center_lps_mm"]) - GONE) < 3
    facts = {fact["name"]: fact["value"] for fact in report["guidelines"]["statements"][0]["facts"]}
    assert facts["change"] in {"new", "growing"}


def test_growth_csv_has_the_same_values(told: tuple[str, Path]) -> None:
    text = (told[1] / "growth.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    changes = json.loads((told[1] / "report.json").read_text())["prior"]["changes"]
    assert len(rows) == len(changes)
    for row, change in zip(rows, changes, strict=True):
        assert row["days"] == "365"
        assert row["verdict"] == change["verdict"]
        assert float(row["center_lps_mm_x"]) == change["center_lps_mm"][0]
        volume = change["volume_mm3"]
        assert row["volume_mm3"] == ("" if volume is None else str(volume))
    names = {item.name for item in fields(ReportedChange)}
    assert names <= {name.removesuffix("_x") for name in rows[0]}


def test_the_page_shows_both_scans_side_by_side(told: tuple[str, Path]) -> None:
    page = (told[1] / "report.html").read_text(encoding="utf-8")
    assert "Change since the prior scan" in page
    assert page.count('<article class="finding growth">') == 5
    assert page.count("coronal image, before") == 5
    assert "365 days before" in page
    rows = re.findall(r'data-label="Since prior, volume"><strong>(\w+)</strong>([^<]*)<', page)
    assert sorted(verdict for verdict, _ in rows) == ["grown", "new", "smaller", "stable"]
    changes = json.loads((told[1] / "report.json").read_text())["prior"]["changes"]
    grown = next(c for c in changes if c["verdict"] == "grown")
    assert ("grown", f" {signed(grown['volume_change'])} %") in rows


def earlier_reports(files: Path, report: Path) -> None:
    """Reports whose scan cannot be read again, for one reason each."""
    values = read_checked(report / "source.json")
    sources = {
        "empty": None,
        "edited": json.dumps({**values, "sha256": "0" * 64}),
        "moved": {**values, "path": str(files / "away.mha")},
        "changed": {**values, "path": str(files / "stranger.mha"), "series_uid": "stranger"},
    }
    for name, source in sources.items():
        (files / name).mkdir(exist_ok=True)
        (files / name / "report.json").write_text("{}")
        if isinstance(source, str):
            (files / name / "source.json").write_text(source)
        elif source:
            write_checked(files / name / "source.json", source)


def test_a_report_stands_for_its_scan_and_nodules_keep_their_names(
    files: Path, told: tuple[str, Path], visit: Callable[..., Scan]
) -> None:
    """Three scans, each compared with the one before: a nodule is one nodule in all of them."""
    later = visit(1, Position(shift_xyz=(-3.0, 2.0, 1.0)), BALLS_NOW, noise=7)
    written(later, files / "later.mha")
    code, _, err = run(
        *("diagnose", files / "later.mha", "--prior", told[1], "--out", files / "third"),
        *("--weights", files / "weights", "--set", "balls=false"),
    )
    assert code == 0, err
    assert f"prior: {files / 'now.mha'}, the scan of the report" in err
    assert str(files) not in (files / "third" / "report.html").read_text()
    first, second = (
        json.loads((folder / "report.json").read_text())["prior"]["changes"]
        for folder in (told[1], files / "third")
    )
    seen = {change["tracking_id"] for change in first if change["volume_mm3"] is not None}
    assert len(seen) == 4
    assert {c["tracking_id"] for c in second if c["verdict"] == "stable"} == seen
    again = read_checked(files / "third" / "source.json")
    assert {one["tracking_id"] for one in again["nodules"]} >= seen


def test_a_report_is_not_written_over_itself_or_its_scan(
    files: Path, told: tuple[str, Path]
) -> None:
    code, _, err = run(
        *("diagnose", files / "now.mha", "--prior", told[1], "--out", told[1], "--force")
    )
    assert code == 2
    assert "report" in err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--prior", "stranger.mha"], 3, "the prior does not fit the scan"),
        (["--prior", "now.mha"], 2, "the prior is the scan itself"),
        (["--prior", "nowhere"], 2, "no such file or folder"),
        (["--prior", "empty"], 2, "this report does not say where its scan lies"),
        (["--prior", "edited"], 3, "this is not a file of luna, or it is damaged"),
        (["--prior", "moved"], 2, "the scan of this report is not where it was"),
        (["--prior", "changed"], 3, "this is not the scan of the report any more"),
        (["--interval", "90"], 2, "--interval is the time since a prior scan, and there is none"),
        (["before.mha", "--prior", "stranger.mha"], 2, "--prior works with one scan"),
    ],
)
def test_a_prior_that_cannot_serve_is_refused_before_the_networks_run(
    files: Path, told: tuple[str, Path], more: list[str], code: int, message: str
) -> None:
    earlier_reports(files, told[1])
    paths = [files / word if word[0].isalpha() else word for word in more]
    weights = ("--weights", files / "weights", "--out", files / "other")
    found, out, err = run("diagnose", files / "now.mha", *paths, *weights)
    assert (found, out) == (code, "")
    assert message in " ".join(err.split())
    assert "segment" not in err
    assert not (files / "other").exists()


def test_without_a_prior_nothing_of_it_stays(files: Path, told: tuple[str, Path]) -> None:
    """A report without a prior takes the place of one with it."""
    folder = files / "again"
    shutil.copytree(told[1], folder)
    weights = ("--weights", files / "weights", "--out", folder, "--force")
    code, out, err = run("diagnose", files / "now.mha", *weights)
    assert code == 0, err
    assert not (folder / "growth.csv").exists()
    assert "prior" not in json.loads((folder / "report.json").read_text())
    assert "change\tno" not in out
