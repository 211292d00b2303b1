"""Scans in files and folders of anything: each is found once and has a name of its own."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from luna.ct.listing.find import Listing, find_scans, read_or_list
from luna.ct.listing.source import Source
from luna.ct.scan import Scan
from luna.phantom.cohort import write_metaimage
from luna.run.errors import InputError, UsageError


@pytest.fixture
def volume(chest: Callable[..., Scan], tmp_path: Path) -> Callable[[str], Path]:
    """Write a small chest to a place below the test's folder."""
    scan = chest(slices=8, rows=32, columns=32)

    def write(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_metaimage(path, scan.hu, scan.geometry)
        return path

    return write


def test_files_of_one_name_get_names_that_no_order_changes(volume, tmp_path: Path) -> None:
    paths = [volume("a/ct.mhd"), volume("b/CT.mhd"), volume("b/other.mhd")]
    found = find_scans([(path, None) for path in paths])
    turned = find_scans([(path, None) for path in reversed(paths)])
    assert found.sources == turned.sources
    assert "other" in found.sources
    assert sorted(name.rpartition("-")[0].casefold() for name in found.sources) == ["", "ct", "ct"]


def test_what_is_named_twice_is_looked_at_once(volume, tmp_path: Path) -> None:
    path = volume("a/ct.mhd")
    found = find_scans([(path, None), (path, None), (tmp_path / "a", None)])
    assert found.sources == {"ct": Source(path)}


def test_reports_of_luna_and_the_folder_for_results_are_no_scans(volume, tmp_path: Path) -> None:
    volume("data/ct.mhd")
    for name in ("report.html", "report.json", "nodules.nii.gz"):
        place = tmp_path / "data" / "ct-luna"
        place.mkdir(exist_ok=True)
        (place / name).write_text("luna")
    volume("data/out/earlier.mhd")
    found = find_scans([(tmp_path / "data", None)], out=tmp_path / "data" / "out")
    assert list(found.sources) == ["ct"]
    assert found.left_out == {"in a folder that luna wrote": 5}


def test_one_path_is_one_scan_and_two_are_a_list(volume, tmp_path: Path) -> None:
    first, second = volume("a/ct.mhd"), volume("b/ct2.mhd")
    assert isinstance(read_or_list([first]), Scan)
    assert isinstance(read_or_list([tmp_path / "a"]), Scan)
    assert isinstance(read_or_list([first, second]), Listing)
    both = read_or_list([tmp_path])
    assert isinstance(both, Listing)
    assert list(both.sources) == ["ct", "ct2"]
    shutil.rmtree(tmp_path / "b")
    assert isinstance(read_or_list([tmp_path]), Scan)


def test_nothing_found_says_what_there_was(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="no scan in this folder"):
        read_or_list([tmp_path])
    with pytest.raises(InputError, match="1 not DICOM"):
        read_or_list([tmp_path / "a", tmp_path / "b"])


def test_a_series_that_no_volume_is(volume, tmp_path: Path) -> None:
    volume("a/ct.mhd"), volume("b/ct2.mhd")
    found = find_scans([(tmp_path, "ct2")])
    assert list(found.sources) == ["ct2"]
    assert found.left_out == {"volumes of another name": 1}


def test_a_table_of_paths_is_relative_to_itself(volume, tmp_path: Path) -> None:
    volume("data/a/ct.mhd"), volume("data/b/ct2.mhd")
    table = tmp_path / "data" / "scans.csv"
    table.write_text("Path\na\nb/ct2.mhd\ngone\n")
    found = read_or_list([], table=table)
    assert isinstance(found, Listing)
    assert list(found.sources) == ["ct", "ct2"]
    assert found.damaged == {str(tmp_path / "data" / "gone"): "no such file or folder"}
    table.write_text("file\na\n")
    with pytest.raises(InputError, match="no column path"):
        read_or_list([], table=table)


def test_a_stamp_tells_whether_a_file_was_written_since(volume) -> None:
    path = volume("ct.mhd")
    source = Source(path)
    stamp = source.stamp()
    assert stamp == source.stamp() is not None
    for file in (path, next(path.parent.glob("*raw"))):
        os.utime(file, ns=(1, 1))
        assert source.stamp() != stamp
        stamp = source.stamp()


def test_a_stamp_is_not_given_where_files_are_not_known(volume, tmp_path: Path) -> None:
    (tmp_path / "a.nhdr").write_text("NRRD0004\n")
    assert Source(tmp_path / "a.nhdr").stamp() is None


def test_a_folder_that_cannot_be_entered_is_told(
    volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume("a/ct.mhd"), volume("b/ct2.mhd")
    listed = os.scandir

    def closed(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = find_scans([(tmp_path, None)])
    assert list(found.sources) == ["ct"]
    assert found.damaged == {str(tmp_path / "b"): "Permission denied"}


def test_a_folder_of_damaged_files_is_one_failure(volume, tmp_path: Path) -> None:
    volume("a/ct.mhd")
    (tmp_path / "b").mkdir()
    for name in ("2.dcm", "1.dcm"):
        (tmp_path / "b" / name).write_bytes(bytes(128) + b"DICM")
    found = find_scans([(tmp_path, None)])
    assert list(found.damaged) == [str(tmp_path / "b")]
    assert found.damaged[str(tmp_path / "b")].startswith("2 files, the first, 1.dcm: the DICOM")


def test_reading_a_source_gives_the_scan(volume) -> None:
    path = volume("ct.mhd")
    scan = Source(path).read()
    assert scan.series_uid == "ct"
    assert scan.hu.dtype == np.int16
    with pytest.raises(UsageError, match="no series 1"):
        Source(path, "1").read()
