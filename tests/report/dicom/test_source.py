"""Who the patient is and which images were seen comes from the files, however they arrive."""

from __future__ import annotations

import gc
import shutil
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.fileset import FileSet
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage

from luna.ct.geometry import Geometry
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.report.dicom.lesions import LESIONS_MAX, lesions_of, tracking_uid
from luna.report.dicom.results import results_of
from luna.report.dicom.write import dicom_writers
from luna.report.document import document
from luna.report.growth import ReportedChange, ReportedPrior
from luna.report.write import write_report
from luna.run.errors import InputError, UsageError

from .conftest import UID, case_of, findings_of, header, hu_of_file, write_objects, write_series

Written = Callable[[str], tuple]


def nothing(case_findings):
    return replace(case_findings, findings=(), opacities=())


def written_from(path: Path, out: Path, choice: str = "results") -> dict[str, FileDataset]:
    case = case_of(path, choice)
    write_objects(case, out)
    return {p.name: pydicom.dcmread(p) for p in out.glob("*.dcm")}


def test_the_objects_are_of_the_patient_and_study_of_the_scan(written: Written) -> None:
    case, out = written("axial")
    source = pydicom.dcmread(next(case.path.iterdir()))
    tags = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge")
    tags += ("StudyInstanceUID", "StudyDate", "StudyID", "AccessionNumber", "StudyDescription")
    tags += ("ReferringPhysicianName",)
    made = [pydicom.dcmread(path) for path in sorted(out.glob("*.dcm"))]
    assert len(made) == 6
    for ds in made:
        assert {tag: str(ds[tag].value) for tag in tags} == {t: str(source[t].value) for t in tags}
        assert ds.SpecificCharacterSet == "ISO_IR 192"
    series = {ds.SeriesInstanceUID for ds in made}
    assert len(series) == 4  # the key images are one series
    assert source.SeriesInstanceUID not in series


def test_other_files_of_the_report_do_not_name_the_patient(written: Written) -> None:
    _, out = written("axial")
    for path in out.iterdir():
        if path.suffix != ".dcm":
            text = path.read_bytes().decode("utf-8", "replace")
            assert "4711-X" not in text
            assert "Jörg" not in text


def zipped(folder: Path, place: Path) -> Path:
    return Path(shutil.make_archive(str(place / "scan"), "zip", folder))


def on_a_cd(folder: Path, place: Path) -> Path:
    files = FileSet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's of tags that a directory may do without
        for path in folder.iterdir():
            files.add(path)
        files.write(place / "cd")
        del files
        gc.collect()  # a FileSet leaves its folder to gc, which warns of it
    return place / "cd" / "DICOMDIR"


def one_file(folder: Path, place: Path) -> Path:
    return sorted(folder.iterdir())[3]


def with_a_second_series(folder: Path, place: Path) -> Path:
    def other(ds: FileDataset) -> None:
        ds.SeriesInstanceUID = f"{UID}.9"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID}.9"

    write_series(folder / "more", change=other)
    return one_file(folder, place)


@pytest.mark.parametrize("arrive", [zipped, on_a_cd, one_file, with_a_second_series])
def test_a_scan_may_come_in_any_way(
    arrive: Callable[[Path, Path], Path], written: Written, tmp_path: Path
) -> None:
    path = arrive(write_series(tmp_path / "ct"), tmp_path)
    made = written_from(path, tmp_path / "out")
    _, folder = written("axial")
    expected = hd.seg.segread(folder / "nodules.seg.dcm")
    seg = hd.seg.Segmentation.from_dataset(made["nodules.seg.dcm"])
    assert np.array_equal(seg.pixel_array, expected.pixel_array)
    sources = [source_uids(ds) for ds in (made["nodules.seg.dcm"], expected)]
    assert sources[0] == sources[1]


def source_uids(seg: Dataset) -> list[str]:
    return [
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for group in seg.PerFrameFunctionalGroupsSequence
    ]


def enhanced(path: Path) -> Path:
    """The axial series as one multi-frame file, its frames from the head down."""

    def group(**values: object) -> Sequence:
        item = Dataset()
        for name, value in values.items():
            setattr(item, name, value)
        return Sequence([item])

    ds = header(1, (1.0, 0, 0, 0, 1.0, 0), np.zeros(3))
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    for tag in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"):
        del ds[tag]
    for tag in ("RescaleSlope", "RescaleIntercept", "RescaleType", "SliceThickness"):
        del ds[tag]
    hu = hu_of_file()[::-1]
    ds.NumberOfFrames = len(hu)
    shared = Dataset()
    shared.PixelMeasuresSequence = group(PixelSpacing=[0.8, 0.9], SliceThickness=2.5)
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelValueTransformationSequence = group(
        RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU"
    )
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in range(len(hu)):
        frame = Dataset()
        z = -110.0 + 2.5 * (len(hu) - 1 - k)
        frame.PlanePositionSequence = group(ImagePositionPatient=[-20.0, 30.0, z])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.PixelData = (hu + 1024).astype("<u2").tobytes()
    ds.save_as(path, enforce_file_format=True)
    return path


def test_frames_of_a_multi_frame_file_are_named(written: Written, tmp_path: Path) -> None:
    made = written_from(enhanced(tmp_path / "ct.dcm"), tmp_path / "out")
    _, folder = written("axial")
    expected = hd.seg.segread(folder / "nodules.seg.dcm")
    seg = hd.seg.Segmentation.from_dataset(made["nodules.seg.dcm"])
    ours, theirs = seg.get_volume(), expected.get_volume()
    assert np.array_equal(ours.array, theirs.array)
    assert np.allclose(ours.affine, theirs.affine, atol=1e-3)
    line = next(scoords(made["measurements.sr.dcm"]))
    named = line.ContentSequence[0].ReferencedSOPSequence[0]
    same = next(scoords(pydicom.dcmread(folder / "measurements.sr.dcm")))
    uid = same.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    plane = int(uid.rsplit(".", 1)[1]) - 1
    assert named.ReferencedFrameNumber == len(hu_of_file()) - plane
    assert np.allclose(line.GraphicData, same.GraphicData, atol=1e-3)


def scoords(root: Dataset):
    for item in root.get("ContentSequence", ()):
        if item.ValueType == "SCOORD":
            yield item
        yield from scoords(item)


def without(*tags: str) -> Callable[[FileDataset], None]:
    def change(ds: FileDataset) -> None:
        for tag in tags:
            del ds[tag]

    return change


def odd(ds: FileDataset) -> None:
    """Values that a file may hold and an object must not."""
    ds.PatientSex, ds.PatientName = "UNKNOWN", "Noname"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.PatientBirthDate, ds.StudyTime, ds.PatientAge = "3.2.1961", "quarter past", "65"
        ds.StudyID = "a study ID that is much too long for the standard"


def test_odd_and_missing_values_are_left_empty(tmp_path: Path, run_tool) -> None:
    def change(ds: FileDataset) -> None:
        odd(ds)
        del ds.AccessionNumber
        del ds.SliceThickness

    made = written_from(write_series(tmp_path / "ct", change=change), tmp_path / "out", "all")
    for name, ds in made.items():
        said = [ds.get(tag, "") or "" for tag in ("PatientSex", "PatientBirthDate", "StudyTime")]
        assert (name, said) == (name, ["", "", ""])
        assert ds.PatientName == "Noname"
        assert ds.PatientID == "4711-X"
        told = run_tool("dciodvfy", tmp_path / "out" / name)
        assert [line for line in told.splitlines() if line.startswith("Error")] == []


def turned(ds: FileDataset) -> None:
    wobble = 0.00003 * (int(ds.InstanceNumber) % 3)
    ds.ImageOrientationPatient = [1, wobble, 0, 0, 1, wobble]


def spaced(ds: FileDataset) -> None:
    row_mm, column_mm = map(float, ds.PixelSpacing)
    ds.PixelSpacing = [row_mm + 1e-7 * (int(ds.InstanceNumber) % 2), column_mm]


def moved(ds: FileDataset) -> None:
    x, y, z = map(float, ds.ImagePositionPatient)
    ds.ImagePositionPatient = [x + 0.004 * (int(ds.InstanceNumber) % 2), y, z + 0.003]


def unevenly_thick(ds: FileDataset) -> None:
    if int(ds.InstanceNumber) % 2:
        del ds.SliceThickness


@pytest.mark.parametrize("change", [turned, spaced, moved, unevenly_thick])
def test_images_that_lie_a_hair_apart_are_one_grid(
    change: Callable[[FileDataset], None], tmp_path: Path, run_tool
) -> None:
    """highdicom refuses images that differ in the last digit, which luna reads."""
    made = written_from(write_series(tmp_path / "ct", change=change), tmp_path / "out", "all")
    assert {"nodules.seg.dcm"} & set(made)
    for name in made:
        told = run_tool("dciodvfy", tmp_path / "out" / name)
        assert [line for line in told.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("FrameOfReferenceUID"), "no valid FrameOfReferenceUID"),
        (without("StudyInstanceUID"), "no valid StudyInstanceUID"),
        (without("SOPInstanceUID"), "no SOP Instance UIDs of their own"),
    ],
)
def test_without_the_uids_there_are_no_objects_and_the_reason_is_told(
    change: Callable[[FileDataset], None], words: str, tmp_path: Path
) -> None:
    folder = write_series(tmp_path / "ct", change=change)
    scan = read_scan(folder)
    results, why_none = results_of(folder, scan, None)
    assert results is None
    assert words in why_none
    with pytest.raises(InputError, match=words):
        results_of(folder, scan, "results")


def test_files_that_went_away_are_noticed(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct")
    scan = read_scan(folder)
    (folder / "im004.dcm").unlink()
    with pytest.raises(InputError, match="changed since the scan was read"):
        results_of(folder, scan, "results")


def test_other_formats_have_no_study(scan_of: Callable[..., Scan], tmp_path: Path) -> None:
    scan = scan_of(np.zeros((2, 2, 2)))
    assert results_of(tmp_path, scan, None) == (None, "")
    with pytest.raises(UsageError, match="need a scan in DICOM"):
        results_of(tmp_path, scan, "all")


def test_none_is_none(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct")
    assert results_of(folder, read_scan(folder), "none") == (None, "")


def test_a_scan_without_findings_has_a_report_that_says_so_and_no_segments(
    written: Written, tmp_path: Path, run_tool
) -> None:
    case, out = written("axial")
    shutil.copytree(out, tmp_path / "out")
    found = replace(nothing(case.findings), limits=(), warnings=())
    paths = write_report(case.scan, found, tmp_path / "out", dicom=case.results)
    # The earlier report's objects, of another outcome, are gone.
    assert sorted(p.name for p in paths) == sorted(p.name for p in (tmp_path / "out").iterdir())
    assert {p.name for p in paths if p.suffix == ".dcm"} == {
        "measurements.sr.dcm",
        "report.pdf.dcm",
    }
    sr = tmp_path / "out" / "measurements.sr.dcm"
    told = run_tool("dciodvfy", sr)
    assert [line for line in told.splitlines() if line.startswith("Error")] == []
    assert '"Looked at both lungs and found nothing"' in run_tool("dsrdump", sr)


@pytest.mark.parametrize("kept", [(0,), (1,)])
def test_a_scan_with_one_finding_refers_to_its_one_segment(
    written: Written, tmp_path: Path, run_tool, kept: tuple[int]
) -> None:
    """Then all frames share the segment, and the standard has them say so in another place."""
    case, _ = written("axial")
    one = replace(case.findings.findings[kept[0]], number=1)
    found = replace(case.findings, findings=(one,), opacities=())
    content = document(case.scan, found)
    for name, write in dicom_writers(case.scan, found, content, case.results).items():
        write(tmp_path / name)
        told = run_tool("dciodvfy", tmp_path / name)
        assert [line for line in told.splitlines() if line.startswith("Error")] == []
    seg = pydicom.dcmread(tmp_path / "nodules.seg.dcm")
    assert len(seg.SegmentSequence) == 1
    referred: dict[str, list[Dataset]] = {"121191": [], "121233": []}
    for item in nested(pydicom.dcmread(tmp_path / "measurements.sr.dcm")):
        code = (
            item.ConceptNameCodeSequence[0].CodeValue if "ConceptNameCodeSequence" in item else ""
        )
        if code in referred:
            referred[code].append(item.ReferencedSOPSequence[0])
    assert [int(one.ReferencedSegmentNumber) for one in referred["121191"]] == [1]
    images = [one.ReferencedSOPInstanceUID for one in referred["121233"]]
    assert images == source_uids(seg)


def nested(root: Dataset):
    for item in root.get("ContentSequence", ()):
        yield item
        yield from nested(item)


def test_the_same_scan_gives_the_same_tracking_uids_and_new_objects(
    written: Written, tmp_path: Path
) -> None:
    case, out = written("axial")
    again = written_from(case.path, tmp_path / "out")
    for name, ds in again.items():
        before = pydicom.dcmread(out / name)
        assert ds.SOPInstanceUID != before.SOPInstanceUID
        assert uids_of(ds) == uids_of(before)


def uids_of(ds: Dataset) -> list[str]:
    found = [segment.TrackingUID for segment in ds.get("SegmentSequence", ())]
    for item in ds.get("ContentSequence", ()):
        found += [item.UID] if item.ValueType == "UIDREF" else []
        found += uids_of(item)
    return found


def test_what_was_compared_with_a_prior_scan_keeps_the_id_of_both(written: Written) -> None:
    case, _ = written("axial")
    own = lesions_of(case.findings)
    shared_id = "0123456789abcdef" * 2
    carried = lesions_of(case.findings, {"2": shared_id, "A": "f" * 32})
    assert [one.name for one in carried] == ["Opacity A", "Finding 1", "Finding 2"]
    assert carried[1].tracking_uid == own[1].tracking_uid
    assert carried[2].tracking_uid == tracking_uid(shared_id)
    assert carried[0].tracking_uid == f"2.25.{2**128 - 1}"
    assert len({one.tracking_uid for one in own}) == 3


def test_the_objects_take_the_ids_of_the_comparison(written: Written, tmp_path: Path) -> None:
    case, _ = written("axial")
    change = ReportedChange(
        **{item.name: None for item in fields(ReportedChange)}
        | {"finding": "2", "verdict": "stable", "tracking_id": "ab" * 16}
    )
    prior = ReportedPrior(
        **{item.name: None for item in fields(ReportedPrior)}
        | {"changes": [change], "warnings": []}
    )
    content = replace(document(case.scan, case.findings), prior=prior)
    writers = dicom_writers(case.scan, case.findings, content, case.results)
    writers["nodules.seg.dcm"](tmp_path / "seg.dcm")
    uids = uids_of(pydicom.dcmread(tmp_path / "seg.dcm"))
    assert [uid == tracking_uid("ab" * 16) for uid in uids] == [False, False, True]


def test_a_scan_with_very_many_findings_keeps_its_objects_small(written: Written) -> None:
    case, _ = written("axial")
    many = tuple(replace(case.findings.findings[0], number=k) for k in range(1, 500))
    assert len(lesions_of(replace(case.findings, findings=many))) == LESIONS_MAX


def test_instances_are_in_the_order_of_the_files_grid(written: Written) -> None:
    for geometry in ("axial", "head to feet", "sagittal"):
        case, _ = written(geometry)
        images = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, case.path.iterdir())}
        first = images[case.scan.provenance.instances[0].uid]
        assert isinstance(case.scan.geometry, Geometry)
        assert [float(v) for v in first.ImagePositionPatient] == [-20.0, 30.0, -110.0]


def test_findings_are_measured_alike_in_every_geometry(written: Written) -> None:
    volumes = []
    for geometry in ("axial", "negated columns", "feet first"):
        case, _ = written(geometry)
        volumes.append([f.measurement.volume_mm3 for f in findings_of(case.scan).findings])
    assert np.allclose(volumes, volumes[0])
