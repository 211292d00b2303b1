"""`luna evaluate`: killed and gone on with, one bad scan among many, tables that are refused."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from luna.ct.scan import Scan
from luna.nets.bundle import save_bundle
from luna.nets.models import Models
from luna.phantom.cohort import write_metaimage

from .conftest import Outcome, Strike, assert_refused, by_signal
from .test_machine import mount, small_disk  # noqa: F401 - a fixture

Evaluate = Callable[..., Outcome]
HEAD = "seriesuid,coordX,coordY,coordZ,"
SCANS = 5

POINTS = [
    ("scans/*.json", 2),
    ("froc.csv", 1),
    *(
        pytest.param(pattern, lines, marks=pytest.mark.slow)
        for pattern, lines in [
            ("run.json", 1),
            ("scans/*.json", 1),
            ("scans/*.json", 3),
            ("scans/*.json", 4),
            ("series.csv", 1),
            ("detections.csv", 1),
            ("metrics.json", 1),
            ("events/*", 1),
        ]
    ),
]
"""Where a run is killed: the files that are there by then, and their lines."""


def write_cohort(root: Path, scan: Scan, number: int) -> Path:
    """Chests with the same four balls, two of them annotated, no two voxel for voxel the same."""
    (root / "subset0").mkdir(parents=True)
    nodules = HEAD + "diameter_mm\n"
    for place in range(number):
        hu = scan.hu.copy()
        hu[0, 0, 0] += place
        write_metaimage(root / "subset0" / f"1.{place}.mhd", hu, scan.geometry)
        for irc, mm in [((12, 40, 34), 15), ((14, 50, 90), 15)]:
            xyz = scan.geometry.xyz_from_irc(np.array(irc, np.float64)).tolist()
            nodules += f"1.{place},{','.join(map(repr, xyz))},{mm}\n"
    (root / "annotations.csv").write_text(nodules)
    (root / "candidates_V2.csv").write_text(HEAD + "class\n")
    return root


@pytest.fixture(scope="module")
def marking(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that mark every ball."""
    folder = tmp_path_factory.mktemp("marking")
    for bundle in models.bundles():
        save_bundle(bundle, folder / bundle.card.name)
    return folder


@pytest.fixture
def evaluate(
    run_luna: Evaluate, nodule_chest: Scan, marking: Path, tmp_path: Path
) -> Callable[..., Outcome]:
    """`luna evaluate` of a few chests into `out`."""
    root = write_cohort(tmp_path / "data", nodule_chest, SCANS)

    def call(*more: object, **how: object) -> Outcome:
        given = ("--weights", marking, "--out", tmp_path / "out", "--set", "samples=100")
        return run_luna("evaluate", root, *given, *more, **how)

    return call


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    """What a run without interruption left, once there has been one."""
    return {}


@pytest.fixture
def uninterrupted(evaluate: Evaluate, tmp_path: Path, whole: dict[str, bytes]) -> dict[str, bytes]:
    if not whole:
        assert evaluate().code == 0
        whole |= {name: (tmp_path / "out" / name).read_bytes() for name in NUMBERS}
        shutil.rmtree(tmp_path / "out")
    return whole


NUMBERS = ("metrics.json", "detections.csv", "nodules.csv", "froc.csv")


def assert_same(out: Path, uninterrupted: dict[str, bytes]) -> None:
    assert {name: (out / name).read_bytes() for name in uninterrupted} == uninterrupted
    assert not list(out.rglob(".tmp*"))


@pytest.mark.parametrize(("pattern", "lines"), POINTS)
def test_a_killed_run_goes_on_to_the_same_bytes(
    evaluate: Evaluate,
    uninterrupted: dict[str, bytes],
    tmp_path: Path,
    pattern: str,
    lines: int,
) -> None:
    out = tmp_path / "out"
    assert evaluate(strike=Strike(signal.SIGKILL, out / pattern, lines)).code == -signal.SIGKILL
    kept = len(list((out / "scans").glob("1*.json")))
    assert not (out / "evaluation.html").exists()
    outcome = evaluate()
    assert outcome.code == 0, outcome.err
    assert outcome.err.count(": kept,") == kept
    assert_same(out, uninterrupted)


@by_signal
def test_a_stopped_run_says_so_and_goes_on(
    evaluate: Evaluate,
    uninterrupted: dict[str, bytes],
    tmp_path: Path,
    number: int,
    code: int,
    word: str,
) -> None:
    out = tmp_path / "out"
    assert_refused(evaluate(strike=Strike(number, out / "scans" / "*.json", 1)), code, word)
    assert evaluate().code == 0
    assert_same(out, uninterrupted)


@pytest.mark.parametrize("kib", [8, 64, 256])
def test_a_full_disk_keeps_the_scans_that_are_done(
    evaluate: Evaluate,
    uninterrupted: dict[str, bytes],
    small_disk: Path,  # noqa: F811
    kib: int,
) -> None:
    # Full among the scans, the tables, the plots.
    mount(small_disk, f"remount,size={kib}k")
    out = small_disk / "out"
    assert_refused(evaluate("--out", out), 4, "the disk is full", str(out), "free some space")
    assert not (out / "evaluation.html").exists()
    assert not list(out.rglob(".tmp*"))
    mount(small_disk, "remount,size=64m")
    assert evaluate("--out", out).code == 0
    assert_same(out, uninterrupted)


def test_one_bad_scan_in_twenty(
    run_luna: Evaluate, nodule_chest: Scan, marking: Path, tmp_path: Path
) -> None:
    root = write_cohort(tmp_path / "data", nodule_chest, 20)
    (root / "subset0" / "1.7.zraw").write_bytes(b"x")
    out = tmp_path / "out"
    given = ("--weights", marking, "--out", out, "--set", "samples=100")
    outcome = run_luna("evaluate", root, *given)
    assert outcome.code == 5
    assert "warning: no result for 1.7: 1.7.zraw: " in outcome.err
    assert "error: 1 of 20 scans have no result" in outcome.err
    assert len(list((out / "scans").glob("*.json"))) == 19
    assert "20 scans, 20 with nodules; 40 nodules" in outcome.out
    assert (out / "evaluation.html").exists()


def test_annotations_off_the_lungs_are_refused_before_computing(
    evaluate: Callable[..., Outcome], tmp_path: Path
) -> None:
    path = tmp_path / "data" / "annotations.csv"
    head, *rows = path.read_text().splitlines()
    cells = [row.split(",") for row in rows]
    moved = [",".join([a, b, str(float(y) - 60), *rest]) for a, b, y, *rest in cells]
    path.write_text("\n".join([head, *moved]) + "\n")
    assert_refused(evaluate(), 3, "annotations lie on no nodule", "LPS mm")
    assert not (tmp_path / "out").exists()


TABLES = {
    "series.csv": "seriesuid\n1.1\n1.2\n",
    "marks.csv": HEAD + "probability\n1.1,1,2,3,0.9\n1.2,1,2,3,0.4\n",
    "nodules.csv": HEAD + "diameter_mm\n1.1,1,2,4,8\n",
    "excluded.csv": HEAD + "diameter_mm\n1.2,9,9,9,-1\n",
}


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("marks.csv", "probability", "score", "line 1: no column probability"),
        ("marks.csv", "1.2,1,2", "1.3,1,2", "line 3: the scan is not in the list of series"),
        ("marks.csv", "1.2,1,2", "1.2,nan,2", "line 3: coordX is not a finite number"),
        ("marks.csv", "1.2,1,2,3", "1.1,1,2,3", "line 3: the mark is listed twice"),
        ("marks.csv", "0.4", "4", "line 3: probability is outside 0..1"),
        ("marks.csv", "0.4", "0.4,5", "line 3: 6 cells where the header has 5"),
        ("nodules.csv", "4,8", "4,0", "line 2: diameter_mm is not positive"),
        ("nodules.csv", "diameter_mm", "size", "line 1: no column diameter_mm"),
        ("series.csv", "1.2", "1.1", "line 3: the scan is listed twice"),
        ("excluded.csv", "9,-1", "inf,-1", "line 2: coordZ is not a finite number"),
    ],
)
def test_a_bad_table_is_named_by_file_and_line(
    run_luna: Evaluate, tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    for table, text in TABLES.items():
        assert old in text or table != name
        (tmp_path / table).write_text(text.replace(old, new) if table == name else text)
    outcome = run_luna(
        "score", "marks.csv", "--annotations", "nodules.csv", "--series",
        "series.csv", "--excluded", "excluded.csv", "--out", "out",
    )  # fmt: skip
    assert_refused(outcome, 3, f"{name}: {message}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("header", ["SeriesInstanceUID", "seriesuid ", "SERIESUID", "Series UID"])
def test_a_header_of_the_list_of_scans_is_no_scan(
    run_luna: Evaluate, tmp_path: Path, header: str
) -> None:
    write_tables(tmp_path, "series.csv", "seriesuid", header)
    outcome = score(run_luna)
    assert outcome.code == 0, outcome.err
    assert "2 scans, 1 with nodules" in outcome.out


def test_a_first_line_that_is_no_series_uid_is_not_scored_as_one(
    run_luna: Evaluate, tmp_path: Path
) -> None:
    write_tables(tmp_path, "series.csv", "seriesuid", "scan")
    assert_refused(score(run_luna), 3, "series.csv: line 1: not a series UID", "seriesuid")


EVIL = ("=HYPERLINK(1)", "+1+1", "-1+1", "@SUM(1)", "＝1")


def test_no_cell_of_a_written_table_is_a_formula(run_luna: Evaluate, tmp_path: Path) -> None:
    rows = [f"{uid},{k},0,0" for k, uid in enumerate(EVIL)]
    (tmp_path / "series.csv").write_text("\n".join(["seriesuid", *EVIL]) + "\n")
    (tmp_path / "marks.csv").write_text(HEAD + "probability\n" + ",0.5\n".join([*rows, ""]))
    (tmp_path / "nodules.csv").write_text(
        HEAD + "diameter_mm,kind\n" + ",8,@kind\n".join([*rows, ""])
    )
    (tmp_path / "excluded.csv").write_text(HEAD + "diameter_mm\n")
    assert score(run_luna).code == 0
    tables = list((tmp_path / "out").glob("*.csv"))
    assert len(tables) >= 2
    seen = ""
    for path in tables:
        seen += path.read_text()
        with path.open(newline="") as stream:
            for cell in (cell for row in csv.reader(stream) for cell in row):
                assert not cell.startswith(("=", "@", "＝")), (path.name, cell)
                assert not cell.startswith(("+", "-")) or float(cell) is not None
    assert "'=HYPERLINK(1)" in seen


def write_tables(folder: Path, name: str, old: str, new: str) -> None:
    """Write the good tables with a change of one."""
    for table, text in TABLES.items():
        (folder / table).write_text(text.replace(old, new) if table == name else text)


def score(run_luna: Evaluate) -> Outcome:
    return run_luna(
        "score", "marks.csv", "--annotations", "nodules.csv", "--series", "series.csv",
        "--excluded", "excluded.csv", "--out", "out", "--set", "samples=100",
    )  # fmt: skip


def test_plots_obey_neither_the_working_folder_nor_the_environment(tmp_path: Path) -> None:
    for table, text in TABLES.items():
        (tmp_path / table).write_text(text)
    (tmp_path / "matplotlibrc").write_bytes(b"text.usetex: True\nsavefig.dpi: 20000\nx: \xff\n")
    tables = ("marks.csv", "--annotations", "nodules.csv", "--series", "series.csv")
    # A process of its own: matplotlib reads both once, when it is imported.
    done = subprocess.run(
        [sys.executable, "-m", "luna", "score", *tables, "--out", "out", "--set", "samples=100"],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "nonsense"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "froc.png") as picture:
        assert picture.width < 1000
