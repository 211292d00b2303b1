"""Enhanced multi-frame CT: frames are slices, wherever their header keeps what they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, JPEGLSLossless

from luna.ct.read import read_scan

from .test_read_dicom import SIZE_IRC, STEP_MM, UID, hu, refused, series, slice_of

Change = Callable[[FileDataset, list[Dataset]], object]


def group(**values: object) -> Sequence:
    item = Dataset()
    for tag, value in values.items():
        setattr(item, tag, value)
    return Sequence([item])


def frame(index: int) -> Dataset:
    item = Dataset()
    at = [-100.0, -90.5, 20 + STEP_MM * index]
    item.PlanePositionSequence = group(ImagePositionPatient=at)
    item.FrameContentSequence = group(StackID="1", InStackPositionNumber=index + 1)
    return item


def enhanced(folder: Path, change: Change = lambda ds, frames: None) -> Path:
    folder.mkdir(exist_ok=True)
    ds = slice_of(0)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(ds, tag)
    for tag in ("RescaleSlope", "RescaleIntercept", "SliceThickness"):
        delattr(ds, tag)
    ds.NumberOfFrames, ds.FrameOfReferenceUID = SIZE_IRC[0], f"{UID}.9"
    ds.PixelData = (hu() + 1024).astype("<u2").tobytes()
    shared = Dataset()
    shared.PixelMeasuresSequence = group(PixelSpacing=[0.7, 0.8], SliceThickness=STEP_MM)
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelValueTransformationSequence = group(
        RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU"
    )
    frames = [frame(index) for index in range(SIZE_IRC[0])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom, of what is wrong on purpose
        change(ds, frames)
        ds.SharedFunctionalGroupsSequence = Sequence([shared])
        ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
        ds.save_as(folder / "enhanced.dcm")
    return folder


def test_equals_the_same_slices_in_files_of_their_own(tmp_path: Path) -> None:
    scan = read_scan(enhanced(tmp_path / "a"))
    single = read_scan(series(tmp_path / "b"))
    np.testing.assert_array_equal(scan.hu, hu())
    assert scan.fingerprint() == single.fingerprint()
    assert (scan.series_uid, scan.provenance.warnings) == (UID, ())
    assert scan.provenance.image_numbers == (1, 2, 3, 4, 5)


def test_frames_in_any_order(tmp_path: Path) -> None:
    order = [3, 0, 4, 1, 2]

    def change(ds: FileDataset, frames: list[Dataset]) -> None:
        frames[:] = [frames[k] for k in order]
        ds.PixelData = (hu()[order] + 1024).astype("<u2").tobytes()

    scan = read_scan(enhanced(tmp_path, change))
    np.testing.assert_array_equal(scan.hu, hu())
    assert scan.provenance.image_numbers == (2, 4, 5, 1, 3)


def test_each_frame_may_have_a_rescale_of_its_own(tmp_path: Path) -> None:
    def change(ds: FileDataset, frames: list[Dataset]) -> None:
        for k, item in enumerate(frames):
            item.PixelValueTransformationSequence = group(
                RescaleSlope=1, RescaleIntercept=-1024 - k, RescaleType="HU"
            )

    expected = np.maximum(hu() - np.arange(5)[:, None, None], -1024)
    np.testing.assert_array_equal(read_scan(enhanced(tmp_path, change)).hu, expected)


def test_compressed_frames(tmp_path: Path) -> None:
    scan = read_scan(enhanced(tmp_path, lambda ds, frames: ds.compress(JPEGLSLossless)))
    np.testing.assert_array_equal(scan.hu, hu())


def test_odd_values_are_no_warnings_of_a_library(tmp_path: Path) -> None:
    def change(ds: FileDataset, frames: list[Dataset]) -> None:
        ds.FrameOfReferenceUID = "1.2.*"

    assert read_scan(enhanced(tmp_path, change)).provenance.warnings == ()


def moved(z: Callable[[int], float], x: Callable[[int], float] = lambda k: 0) -> Change:
    def change(ds: FileDataset, frames: list[Dataset]) -> None:
        for k, item in enumerate(frames):
            item.PlanePositionSequence = group(ImagePositionPatient=[-100 + x(k), -90.5, z(k)])

    return change


def fewer(ds: FileDataset, frames: list[Dataset]) -> None:
    del frames[-1]


def no_frames(ds: FileDataset, frames: list[Dataset]) -> None:
    frames.clear()


def short(ds: FileDataset, frames: list[Dataset]) -> None:
    ds.PixelData = ds.PixelData[:-2]


def other_acquisition(ds: FileDataset, frames: list[Dataset]) -> None:
    for k, item in enumerate(frames):
        item.FrameContentSequence = group(FrameAcquisitionNumber=k // 3)


def lookup_table(ds: FileDataset, frames: list[Dataset]) -> None:
    frames[2].PixelValueTransformationSequence = group(
        ModalityLUTSequence=group(LUTDescriptor=[1, 0, 16], LUTData=b"\0\0")
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (moved(lambda k: STEP_MM * k + (k > 3)), "unevenly"),
        (moved(lambda k: STEP_MM * (k + 2 * (k > 2))), "missing"),
        (moved(lambda k: STEP_MM * k, lambda k: 0.7 * k), "tilted gantry"),
        (moved(lambda k: STEP_MM * (k % 4)), "two different slices"),
        (fewer, "number of frames"),
        (no_frames, "number of frames"),
        (short, "wrong length"),
        (other_acquisition, "mixes 2 acquisitions"),
        (lookup_table, "lookup table"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else value.__name__,
)
def test_what_is_refused(tmp_path: Path, change: Change, message: str) -> None:
    assert message in refused(enhanced(tmp_path, change))
