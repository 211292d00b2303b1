"""Zip archives: what is good is read, what is planted never leaves its temporary folder."""

import gzip
import stat
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from luna.ct.read import read_scan
from luna.run.errors import EnvironmentFault, InputError, UsageError

from . import refusals, test_read_dicom


def volume(folder: Path, name: str = "1.2.3.mhd") -> list[Path]:
    hu = np.random.default_rng(0).integers(-1000, 400, (4, 6, 8)).astype(np.int16)
    folder.mkdir(exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(hu), str(folder / name), useCompression=True)
    return sorted(folder.iterdir())


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return volume(tmp_path / "in")


@pytest.fixture(autouse=True)
def private_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary files of a test are seen, so that what is left behind is too."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def packed(
    path: Path, files: list[Path], method: int = zipfile.ZIP_DEFLATED, **extra: bytes
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in files:
            archive.write(file, f"scan/{file.name}")
        for name, data in extra.items():
            archive.writestr(name, data)
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_scan(path)
    refusals.seen.append(path)
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value.file)
    assert not any(Path(tempfile.gettempdir()).iterdir())
    return f"{caught.value.file} {caught.value.what} {caught.value.why}"


def test_good_archive(tmp_path: Path, files: list[Path]) -> None:
    scan = read_scan(packed(tmp_path / "a.zip", files))
    header = next(p for p in files if p.suffix == ".mhd")
    assert scan.fingerprint() == read_scan(header).fingerprint()
    assert (scan.series_uid, scan.provenance.source) == ("1.2.3", "a.zip")
    assert not any(Path(tempfile.gettempdir()).iterdir())


@pytest.mark.parametrize("name", ["a.mha", "a.nii", "a.nii.gz", "a.nrrd", "a.nhdr"])
def test_every_format_may_be_packed(tmp_path: Path, name: str) -> None:
    files = volume(tmp_path / "in", name)
    alone = read_scan(tmp_path / "in" / name)
    scan = read_scan(packed(tmp_path / "a.zip", files))
    assert scan.fingerprint() == alone.fingerprint()
    assert scan.provenance.format == alone.provenance.format


def test_a_dicom_series_may_be_packed(tmp_path: Path) -> None:
    folder = test_read_dicom.series(tmp_path / "in")
    scan = read_scan(packed(tmp_path / "a.zip", sorted(folder.iterdir())))
    assert scan.fingerprint() == read_scan(folder).fingerprint()
    assert scan.series_uid == test_read_dicom.UID


def test_what_macos_adds_is_passed_over(tmp_path: Path, files: list[Path]) -> None:
    note = {f"__MACOSX/scan/._{file.name}": b"\0\5\x16\7\0\2\0\0Mac OS X" for file in files}
    scan = read_scan(packed(tmp_path / "a.zip", files, **note))
    assert scan.series_uid == "1.2.3"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../out.mhd", "out of the archive"),
        ("a/../../out.mhd", "out of the archive"),
        ("..\\out.mhd", "out of the archive"),
        ("/out.mhd", "absolute"),
        ("C:\\out.mhd", "absolute"),
        ("inner.zip", "an archive itself"),
        ("inner.tar", "an archive itself"),
        ("scan/1.2.3.mhd", "one name"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_planted_names(tmp_path: Path, files: list[Path], name: str, message: str) -> None:
    path = packed(tmp_path / "a.zip", files, **{name: b"x"})
    assert message in refused(path)
    assert not (tmp_path / "out.mhd").exists()


def test_link(tmp_path: Path, files: list[Path]) -> None:
    path = packed(tmp_path / "a.zip", files)
    link = zipfile.ZipInfo("scan/link.raw")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "a link" in refused(path)


def test_bomb(tmp_path: Path, files: list[Path]) -> None:
    assert "implausible size" in refused(packed(tmp_path / "a.zip", files, bomb=bytes(50_000_000)))


def test_member_larger_than_it_says(tmp_path: Path, files: list[Path]) -> None:
    path = packed(tmp_path / "a.zip", files, bomb=bytes(100_000))
    content = path.read_bytes()
    assert content.count((100_000).to_bytes(4, "little")) == 2
    path.write_bytes(content.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert refused(path)


def test_encrypted(tmp_path: Path, files: list[Path]) -> None:
    path = packed(tmp_path / "a.zip", files)
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + 8] |= 1
        at = content.find(b"PK\x01\x02", at + 1)
    path.write_bytes(content)
    assert "encrypted" in refused(path)


def test_damaged_archives(tmp_path: Path, files: list[Path]) -> None:
    path = packed(tmp_path / "a.zip", files)
    whole = path.read_bytes()
    for size in range(0, len(whole), 37):
        path.write_bytes(whole[:size])
        assert refused(path)
    path.write_bytes(b"<html>" * 100)
    assert "damaged" in refused(path)


@pytest.mark.parametrize("name", [b"\xffext", b"\0ext"], ids=["not UTF-8", "empty"])
def test_damaged_names(tmp_path: Path, files: list[Path], name: bytes) -> None:
    path = packed(tmp_path / "a.zip", files, **{"äxt": b"hello"})
    path.write_bytes(path.read_bytes().replace("äxt".encode(), name))
    assert "damaged" in refused(path)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_flipped_bits_in_an_archive(tmp_path: Path, files: list[Path], method: int) -> None:
    path = packed(tmp_path / "a.zip", files, method)
    good, whole = read_scan(path).fingerprint(), path.read_bytes()
    for at in range(0, len(whole), 11):
        bent = bytearray(whole)
        bent[at] ^= 1 << (at % 8)
        path.write_bytes(bent)
        try:
            assert read_scan(path).fingerprint() == good
        except (InputError, UsageError):
            continue


def test_faults_inside_name_the_member(tmp_path: Path, files: list[Path]) -> None:
    header = next(p for p in files if p.suffix == ".mhd")
    message = refused(packed(tmp_path / "a.zip", [header]))
    assert "a.zip/scan/1.2.3.zraw" in message
    assert "missing" in message


def test_nothing_to_read(tmp_path: Path) -> None:
    assert "no scan" in refused(packed(tmp_path / "a.zip", [], **{"hello.txt": b"hello"}))


def test_two_scans(tmp_path: Path, files: list[Path]) -> None:
    both = [*files, *(p for p in volume(tmp_path / "more", "4.5.mhd"))]
    path = packed(tmp_path / "a.zip", both)
    with pytest.raises(UsageError, match="2 scans"):
        read_scan(path)
    assert read_scan(path, series_uid="4.5").series_uid == "4.5"


@pytest.mark.parametrize("name", ["scan", ".", "./"])
def test_a_member_that_is_a_folder_too(tmp_path: Path, files: list[Path], name: str) -> None:
    path = packed(tmp_path / "a.zip", files, **{name: b"x"} if name != "./" else {"./.": b"x"})
    assert "one name" in refused(path)


def test_a_name_that_no_file_has(tmp_path: Path, files: list[Path]) -> None:
    message = refused(packed(tmp_path / "a.zip", files, **{"n" * 300: b"x"}))
    assert "cannot be unpacked" in message
    assert "nnn" in message
    assert tempfile.gettempdir() not in message


def test_a_colon_is_no_absolute_path(tmp_path: Path, files: list[Path]) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in files:
            archive.write(file, f"2020-01-01 12:30/{file.name}")
    assert read_scan(tmp_path / "a.zip").series_uid == "1.2.3"


def test_a_list_of_members_without_end(tmp_path: Path, files: list[Path]) -> None:
    """The end record says how long the list is; it is read at once."""
    path = packed(tmp_path / "a.zip", files)
    whole = bytearray(path.read_bytes())
    end = whole.rindex(b"PK\5\6")
    size = int.from_bytes(whole[end + 12 : end + 16], "little")
    with path.open("wb") as file:  # a sparse file: nothing of it lies on disk
        file.write(whole[: end - size])
        file.seek(1 << 26, 1)
        whole[end + 12 : end + 16] = (size + (1 << 26)).to_bytes(4, "little")
        file.write(whole[end - size :])
    assert "implausibly many members" in refused(path)


def test_no_temporary_folder_is_the_machines_fault(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "a.zip", files)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(EnvironmentFault, match="no temporary folder"):
        read_scan(path)


def test_slices_in_an_archive_that_are_compressed_are_counted(tmp_path: Path) -> None:
    folder = test_read_dicom.series(tmp_path / "in")
    last = folder / "4.dcm"
    (folder / "4.dcm.gz").write_bytes(gzip.compress(last.read_bytes()))
    last.unlink()
    scan = read_scan(packed(tmp_path / "a.zip", sorted(folder.iterdir())))
    assert "1 compressed" in scan.provenance.warnings[0]
