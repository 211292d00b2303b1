"""A volume is one patient, one acquisition, one reconstruction; what is passed over is counted."""

from __future__ import annotations

import gc
import gzip
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.fileset import FileSet

from luna.ct.dicom.listed import Series
from luna.ct.listing.source import Source
from luna.ct.listing.tree import Tree
from luna.ct.read import read_scan
from luna.run.errors import UsageError

from .test_read_dicom import SIZE_IRC, STEP_MM, UID, Change, refused, series, slice_of
from .test_read_dicom import hu as hu_of_five

SLICES = 12


def long_series(folder: Path, change: Change = lambda ds, k: None, slices: int = SLICES) -> Path:
    """Twelve slices with ascending positions; `change` may give "skip" to leave one out."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(slices):
        ds = slice_of(index % SIZE_IRC[0])
        ds.SOPInstanceUID = f"{UID}.{index + 1}"
        ds.InstanceNumber = index + 1
        ds.ImagePositionPatient = [-100.0, -90.5, 20 + STEP_MM * index]
        if change(ds, index) != "skip":
            ds.save_as(folder / f"{index:02d}.dcm")
    return folder


def upper_half(**values: object) -> Change:
    def change(ds: FileDataset, k: int) -> None:
        for tag, value in values.items() if k >= SLICES // 2 else ():
            setattr(ds, tag, value)

    return change


def warnings_of(path: Path) -> str:
    return " ".join(read_scan(path).provenance.warnings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PatientID": "4712"}, "2 patients"),
        ({"PatientName": "ROE^RICHARD"}, "2 patients"),
        ({"StudyInstanceUID": "1.2.3"}, "2 studies"),
        ({"FrameOfReferenceUID": "1.2.3"}, "2 frames of reference"),
        ({"ConvolutionKernel": "B70f"}, "2 reconstruction kernels"),
        ({"ScanOptions": "AXIAL MODE"}, "2 kinds of scanning"),
        ({"KVP": "80"}, "several values of KVP"),
        ({"ReconstructionDiameter": "500"}, "several values of ReconstructionDiameter"),
        ({"AcquisitionNumber": 2}, "mixes 2 acquisitions"),
        ({"AcquisitionTime": "143000"}, "150 minutes apart"),
        ({"AcquisitionDateTime": "20200102120001"}, "minutes apart"),
    ],
    ids=str,
)
def test_mixtures_are_refused(tmp_path: Path, values: dict[str, object], message: str) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.FrameOfReferenceUID, ds.ConvolutionKernel, ds.ScanOptions = "1.2", "B30f", "HELIX"
        ds.KVP, ds.ReconstructionDiameter, ds.AcquisitionNumber = "120", "360", 1
        ds.AcquisitionDate, ds.AcquisitionTime = "20200101", "120000.25"
        upper_half(**values)(ds, k)

    said = refused(long_series(tmp_path / "scan", change))
    assert message in said
    assert not any(word in said for word in ("4711", "4712", "DOE", "ROE"))


def test_alternating_acquisitions_are_refused(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.AcquisitionNumber, ds.AcquisitionTime = 1 + k % 2, f"1200{k:02d}"

    assert "mixes 2 acquisitions" in refused(long_series(tmp_path, change))


def test_step_and_shoot_is_one_scan(tmp_path: Path) -> None:
    """Scanners that move the table between turns count each turn."""

    def change(ds: FileDataset, k: int) -> None:
        ds.AcquisitionNumber, ds.AcquisitionTime = k // 4, f"1200{k:02d}"

    assert "3 acquisitions, one after the other" in warnings_of(long_series(tmp_path, change))


def test_a_scan_over_midnight_is_one(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.AcquisitionTime = f"2359{50 + k}" if k < 6 else f"0000{k:02d}"

    assert warnings_of(long_series(tmp_path, change)) == ""


def test_what_some_slices_do_not_say_is_no_difference(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        if k % 2:
            ds.PatientID, ds.ConvolutionKernel = "", ""

    assert warnings_of(long_series(tmp_path, change)) == ""


def test_mixed_thickness_is_said(tmp_path: Path) -> None:
    assert "2.5 and of 5 mm" in warnings_of(long_series(tmp_path, upper_half(SliceThickness=5)))


def every_second(ds: FileDataset, k: int) -> str:
    return "skip" if k % 2 else ""


def test_every_second_slice_lost_is_noticed(tmp_path: Path) -> None:
    def stated(ds: FileDataset, k: int) -> str:
        ds.SpacingBetweenSlices = STEP_MM
        return every_second(ds, k)

    def renumbered(ds: FileDataset, k: int) -> str:
        ds.InstanceNumber = k // 2
        return stated(ds, k)

    assert "slices are missing" in refused(long_series(tmp_path / "a", stated))
    assert "steps of 2" in warnings_of(long_series(tmp_path / "b", every_second))
    assert "2.5 mm apart, they are 5 mm" in warnings_of(long_series(tmp_path / "c", renumbered))


def test_interleaved_numbers_of_two_series_are_no_loss(tmp_path: Path) -> None:
    """Two kernels, numbered in turn: the header confirms the spacing."""

    def change(ds: FileDataset, k: int) -> None:
        ds.InstanceNumber, ds.SpacingBetweenSlices = 2 * k, STEP_MM

    assert warnings_of(long_series(tmp_path, change)) == ""


def test_image_numbers_that_jump_are_said(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.InstanceNumber = k if k < 6 else k + 50

    assert "image numbers" in warnings_of(long_series(tmp_path, change))


def test_a_change_of_spacing_is_called_that(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        z = STEP_MM * k if k < 6 else STEP_MM * 5 + 2 * STEP_MM * (k - 5)
        ds.ImagePositionPatient = [-100, -90.5, 20 + z]

    message = refused(long_series(tmp_path, change))
    assert "spacing of the slices changes" in message
    assert "2.5 mm up to 32.5 mm" in message
    assert "5 mm from there" in message
    assert "missing" not in message


def test_every_second_slice_lost_in_one_half(tmp_path: Path) -> None:
    folder = long_series(tmp_path, lambda ds, k: "skip" if k > 5 and k % 2 else "")
    assert "slices are missing" in refused(folder)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gz", "3 compressed"), ("hidden", "3 left out because the name begins with a dot")],
)
def test_slices_that_are_passed_over_are_counted(tmp_path: Path, name: str, reason: str) -> None:
    folder = long_series(tmp_path / "scan")
    for path in sorted(folder.iterdir())[-3:]:
        if name == "gz":
            path.with_suffix(".dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        else:
            path.rename(folder / f".{path.name}")
    (folder / "._00.dcm").write_bytes(b"what macOS adds on foreign disks")
    (folder / "README").write_text("hello")
    said = warnings_of(folder)
    assert "4 files in this folder were not read" in said
    assert reason in said
    assert "1 not DICOM" in said


def test_pipes_in_the_folder_are_counted_and_not_waited_for(tmp_path: Path) -> None:
    folder = long_series(tmp_path / "scan")
    os.mkfifo(folder / "pipe.dcm")
    (folder / "nowhere").symlink_to("gone")
    assert "2 files in this folder were not read: 2 not a plain file" in warnings_of(folder)


@pytest.mark.parametrize("kind", ["group 2", "data set", "implicit"])
def test_files_without_a_preamble_are_read(tmp_path: Path, kind: str) -> None:
    folder = series(tmp_path / "scan")
    for path in sorted(folder.iterdir())[2:]:
        whole = path.read_bytes()
        start = 132 if kind == "group 2" else whole.index(b"\x08\0\x08\0CS")
        (folder / f"IM{path.stem}").write_bytes(whole[start:])
        if kind == "implicit":
            ds = slice_of(int(path.stem))
            ds.preamble = None
            ds.file_meta.clear()
            ds.save_as(folder / f"IM{path.stem}", implicit_vr=True, little_endian=True)
        path.unlink()
    scan = read_scan(folder)
    np.testing.assert_array_equal(scan.hu, hu_of_five())
    assert scan.provenance.warnings == ()
    assert read_scan(folder / "IM3").fingerprint() == scan.fingerprint()


def test_each_file_with_a_series_uid_of_its_own(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.SeriesInstanceUID = f"{UID}.{k + 100}"

    folder = series(tmp_path / "scan", change)
    scan = read_scan(folder)
    np.testing.assert_array_equal(scan.hu, hu_of_five())
    assert scan.series_uid == f"{UID}.100"
    assert "Each of 5 files has a series UID of its own" in scan.provenance.warnings[0]
    assert [one.slices for one in listed(folder)] == [5]
    assert read_scan(folder / "3.dcm").fingerprint() == scan.fingerprint()


def test_groups_of_single_slices_are_listed_apart(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.SeriesInstanceUID = f"{UID}.{k + 100}"
        if k >= 8:
            ds.StudyInstanceUID = "1.2.3"

    folder = long_series(tmp_path / "scan", change)
    with pytest.raises(UsageError, match="2 CT series"):
        read_scan(folder)
    assert [one.slices for one in listed(folder)] == [8, 4]
    assert read_scan(folder, series_uid=f"{UID}.108").shape_irc[0] == 4


@pytest.mark.parametrize(
    ("uid", "clean"),
    [
        (b'=HYPERLINK("http://x/","a")', "HYPERLINK_http_x_a"),
        (b"1.2.3\n=1+1\x1b[2J", "1.2.3_1_1_2J"),
        (b"-1.2.3", "1.2.3"),
        (b"<script>", "script"),
    ],
)
def test_series_uids_are_cleaned_and_said(tmp_path: Path, uid: bytes, clean: str) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.add_new(0x0020000E, "UI", uid.decode())

    scan = read_scan(series(tmp_path, change))
    assert scan.series_uid == clean
    assert f"it is shown as {clean}" in " ".join(scan.provenance.warnings)
    assert read_scan(tmp_path, series_uid=clean).series_uid == clean


def listed(folder: Path) -> list[Series]:
    """The series that a listing finds, the largest first; each is read as it was listed."""
    tree = Tree()
    tree.add(folder)
    found = sorted(tree.series.values(), key=lambda one: -one.slices)
    for one in found:
        scan = Source(folder, one.uid, one.parts).read()
        assert (scan.series_uid, scan.shape_irc[0]) == (one.uid, one.slices)
    return found


def write_media(folder: Path) -> None:
    files = FileSet()
    for index in range(SIZE_IRC[0]):
        ds = slice_of(index)
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.SeriesNumber = "20200101", "120000", "1", 1
        files.add(ds)
    files.write(folder)


def test_a_dicomdir_means_the_folder_that_it_lists(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a FileSet leaves its folder to gc
        write_media(tmp_path / "media")
        gc.collect()
    whole = read_scan(tmp_path / "media")
    np.testing.assert_array_equal(whole.hu, hu_of_five())
    assert whole.provenance.warnings == ()
    assert read_scan(tmp_path / "media" / "DICOMDIR").fingerprint() == whole.fingerprint()
    assert [one.slices for one in listed(tmp_path / "media")] == [SIZE_IRC[0]]
    (tmp_path / "media" / "DICOMDIR").rename(tmp_path / "media" / "dicomdir")
    assert read_scan(tmp_path / "media").fingerprint() == whole.fingerprint()
    last = max(tmp_path.glob("media/**/IM*"), key=lambda path: path.name)
    last.unlink()
    assert "1 named in the DICOMDIR but missing" in warnings_of(tmp_path / "media" / "dicomdir")


def test_free_text_is_shown_to_nobody(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.ContrastBolusAgent, ds.ManufacturerModelName = "DOE JANE 100ml", "DOE'S SCANNER"
        ds.Manufacturer, ds.BodyPartExamined = "JANE DOE", "JANE"
        ds.ConvolutionKernel, ds.PatientPosition = "JANE DOE", "DOE"

    provenance = read_scan(series(tmp_path / "a", change)).provenance
    assert "DOE" not in str(provenance.metadata)
    assert "JANE" not in str(provenance.metadata)
    assert provenance.phi["ContrastBolusAgent"] == "DOE JANE 100ml"
    assert provenance.phi["ConvolutionKernel"] == "JANE DOE"


def test_acquisition_facts_are_shown(tmp_path: Path) -> None:
    facts = {
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "BodyPartExamined": "CHEST_ABDOMEN",
        "ConvolutionKernel": "B70f",
        "KVP": "120.0",
        "PatientPosition": "FFS",
    }

    def change(ds: FileDataset, k: int) -> None:
        for tag, value in facts.items():
            setattr(ds, tag, value)

    shown = read_scan(series(tmp_path, change)).provenance.metadata
    assert facts.items() <= shown.items()
