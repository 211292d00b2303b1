"""A cohort of real scans with inserted nodules, through the real command."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from luna.cli import app
from luna.ct.read import read_scan
from luna.data.luna16.folder import read_luna16
from luna.phantom.cohort import write_metaimage

from .conftest import PER_SCAN

SMALL = ("--set", "diameter_median_mm=8", "--set", "diameter_sigma=0.2")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def scans(background, tmp_path_factory):
    """Two scans, one with a known nodule, and a file that is no scan."""
    folder = tmp_path_factory.mktemp("scans")
    write_metaimage(folder / "JANE-DOE-1.mhd", background.hu, background.geometry)
    moved = replace(background, hu=np.ascontiguousarray(background.hu[2:]))
    write_metaimage(folder / "second.mhd", moved.hu, moved.geometry)
    x, y, z = background.geometry.xyz_from_irc(np.array(background.shape_irc) / 2).tolist()
    known = f"seriesuid,coordX,coordY,coordZ,diameter_mm\nJANE-DOE-1,{x},{y},{z},7.5\n"
    (folder / "known.csv").write_text(known)
    return folder


@pytest.fixture(scope="module")
def cohort(scans, tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort") / "out"
    code = app.run(
        ["phantom", "--into", str(scans), str(out), "--per-scan", "3", "--seed", "4", "--quiet",
         "--annotations", str(scans / "known.csv"), *SMALL]
    )  # fmt: skip
    assert code == 0
    return out


def test_it_is_a_cohort_that_prep_reads(cohort):
    read = read_luna16(cohort)
    assert len(read.files) == 2
    assert len(read.nodules) == len(rows_of(cohort / "annotations.csv"))
    assert not read.has_candidates
    assert len(set(read.patient_of.values())) == 2
    assert set(read.patient_of) == set(read.files)
    for uid, path in read.files.items():
        scan = read_scan(path)
        for center in read.nodules.center_xyz[read.nodules_of(uid)]:
            irc = scan.geometry.irc_from_xyz(center)
            assert ((irc >= 0) & (irc < scan.shape_irc)).all()


def test_known_nodules_come_along_and_inserted_ones_have_a_kind(cohort):
    every = rows_of(cohort / "annotations.csv")
    inserted = rows_of(cohort / "annotations_kind.csv")
    assert len(every) == len(inserted) + 1
    assert [row["diameter_mm"] for row in every].count("7.5") == 1
    assert len(inserted) <= 2 * PER_SCAN
    verdicts = rows_of(cohort / "annotations_with_malignancy.csv")
    assert [r["coordX"] for r in verdicts] == [r["coordX"] for r in inserted]


def test_no_file_names_the_patient(cohort):
    for name, content in files_of(cohort).items():
        assert "JANE" not in name
        assert b"JANE" not in content


def test_any_number_of_workers_writes_the_same_bytes(cohort, scans, tmp_path):
    code = app.run(
        ["phantom", "--into", str(scans), str(tmp_path / "b"), "--per-scan", "3", "--seed", "4",
         "--quiet", "--annotations", str(scans / "known.csv"), "--workers", "2", *SMALL]
    )  # fmt: skip
    assert code == 0
    assert files_of(tmp_path / "b") == files_of(cohort)


def test_a_bad_scan_stops_no_other(scans, tmp_path, capsys):
    bad = tmp_path / "bad.mhd"
    bad.write_text("no image")
    out = tmp_path / "out"
    code = app.run(
        ["phantom", "--into", str(bad), str(scans / "second.mhd"), str(out), "--per-scan", "1"]
    )
    assert code == 5
    assert "1 of 2 scans could not be used" in capsys.readouterr().err
    assert len(rows_of(out / "annotations_kind.csv")) == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--into", "out"], "belong together"),
        (["scan.mhd", "out"], "belong together"),
        (["--into", "missing.mhd", "out"], "no such file"),
        (["--into", ".", "out", "--annotations", "missing.csv"], "no such file"),
    ],
)
def test_wrong_usage_is_refused(arguments, word, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert app.run(["phantom", *arguments]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_scan_without_lungs_is_an_input_error(tmp_path, capsys, background):
    write_metaimage(tmp_path / "a.mhd", np.full((20, 64, 64), 40, np.int16), background.geometry)
    code = app.run(["phantom", "--into", str(tmp_path / "a.mhd"), str(tmp_path / "out")])
    assert code == 3
    assert "no scan could take a nodule" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.csv"))
