"""DICOM series, good and bad, made slice by slice from a tiny volume."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from luna.ct.read import read_scan
from luna.run.errors import InputError, UsageError

from . import refusals
from .conftest import Outcome, assert_refused

SIZE_IRC = (5, 6, 8)
STEP_MM = 2.5
UID = "1.2.826.0.1.3680043.10.9999.7"
Change = Callable[[FileDataset, int], object]


def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 400, SIZE_IRC).astype(np.int16)


def slice_of(index: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{UID}.{index + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID, ds.StudyInstanceUID = UID, f"{UID}.0"
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.PatientName, ds.PatientID, ds.SeriesDescription = "DOE^JANE", "4711", "Lung 2.5"
    ds.InstanceNumber = index + 1
    ds.ImagePositionPatient = [-100.0, -90.5, 20 + STEP_MM * index]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [0.7, 0.8], STEP_MM
    ds.Rows, ds.Columns = SIZE_IRC[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    ds.PixelData = (hu()[index] + 1024).astype("<u2").tobytes()
    return ds


def series(folder: Path, change: Change = lambda ds, k: None, skip: tuple[int, ...] = ()) -> Path:
    """A folder of slices; `change` alters each before it is written, `skip` leaves some out."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(SIZE_IRC[0]):
        if index not in skip:
            ds = slice_of(index)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom, of what is wrong on purpose
                change(ds, index)
                ds.save_as(folder / f"{index}.dcm")
    return folder


def only(index: int, **values: object) -> Change:
    """Set tags (None deletes) on one slice, or on all when `index` is -1."""

    def change(ds: FileDataset, k: int) -> None:
        for tag, value in values.items() if index in (k, -1) else ():
            if value is None:
                delattr(ds, tag)
            else:
                setattr(ds, tag, value)

    return change


def store(ds: FileDataset, words: np.ndarray, **tags: int) -> None:
    ds.PixelData = words.tobytes()
    for tag, value in tags.items():
        setattr(ds, tag, value)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_scan(path)
    refusals.seen.append(path)
    assert caught.value.exit_code == 3
    assert caught.value.file is not None
    assert Path(caught.value.file).is_relative_to(path.parent)  # this one, or the data beside it
    return f"{caught.value.file} {caught.value.what} {caught.value.why}"


def test_good_series(tmp_path: Path) -> None:
    scan = read_scan(series(tmp_path / "scan"))
    np.testing.assert_array_equal(scan.hu, hu())
    assert scan.geometry.origin_xyz == (-100, -90.5, 20)
    assert scan.geometry.spacing_xyz == (0.8, 0.7, 2.5)
    assert (scan.series_uid, scan.provenance.source) == (UID, "scan")
    assert scan.provenance.image_numbers == (1, 2, 3, 4, 5)
    assert scan.provenance.warnings == ()


def test_nothing_personal_outside_phi(tmp_path: Path) -> None:
    provenance = read_scan(series(tmp_path)).provenance
    assert provenance.phi["PatientName"] == "DOE^JANE"
    shown = f"{provenance.metadata} {provenance.source} {provenance.warnings}"
    assert not any(word in shown for word in ("DOE", "4711", "Lung", str(tmp_path.parent)))


def test_reversed_instance_numbers_change_nothing(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.InstanceNumber = 100 - k

    scan = read_scan(series(tmp_path, change))
    np.testing.assert_array_equal(scan.hu, hu())
    assert scan.provenance.image_numbers == (100, 99, 98, 97, 96)


def test_head_first_normal_is_turned(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]

    scan = read_scan(series(tmp_path, change))
    np.testing.assert_array_equal(scan.hu, hu()[:, ::-1])
    assert scan.provenance.stored_orientation == "LAI"
    assert scan.provenance.image_numbers == (1, 2, 3, 4, 5)
    assert scan.geometry.xyz_from_irc((0, 5, 0)) == pytest.approx((-100, -90.5, 20))


def test_rescale_that_varies_per_slice(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = 0.5 + 0.25 * k, -1000.5 - k

    stored = hu().astype(np.float64) + 1024
    slopes, k = 0.5 + 0.25 * np.arange(5), np.arange(5)
    expected = np.rint(stored * slopes[:, None, None] - 1000.5 - k[:, None, None])
    np.testing.assert_array_equal(read_scan(series(tmp_path, change)).hu, expected)


@pytest.mark.parametrize("skip", [(2,), (1, 2), (1, 3)], ids=str)
def test_missing_slices_are_named_by_position(tmp_path: Path, skip: tuple[int, ...]) -> None:
    long = tmp_path / "scan"
    long.mkdir()
    for index in range(12):
        if index not in skip:
            ds = slice_of(index % 5)
            ds.ImagePositionPatient = [-100, -90.5, 20 + STEP_MM * index]
            ds.save_as(long / f"{index}.dcm")
    message = refused(long)
    assert "missing" in message
    assert all(f"{20 + STEP_MM * index:.2f}" in message for index in skip)


def test_uneven_spacing(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.ImagePositionPatient = [-100, -90.5, 20 + 2.0 * k + 0.1 * k * k]

    assert "unevenly" in refused(series(tmp_path, change))


def test_positions_rounded_by_the_scanner_are_even(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.ImagePositionPatient = [-100, -90.5, round(20 + 0.625 * k, 1)]

    assert read_scan(series(tmp_path, change)).shape_irc == SIZE_IRC


def test_gantry_tilt(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        ds.ImagePositionPatient = [-100, -90.5 + 0.4 * k, 20 + STEP_MM * k]

    assert "tilted gantry" in refused(series(tmp_path, change))


def test_oblique_slices_along_their_normal_are_no_tilt(tmp_path: Path) -> None:
    tilt = np.radians(20)
    down, normal = (0, np.cos(tilt), np.sin(tilt)), np.array((0, -np.sin(tilt), np.cos(tilt)))

    def change(ds: FileDataset, k: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, *np.round(down, 8).tolist()]
        ds.ImagePositionPatient = np.round((-100, -90.5, 20) + normal * STEP_MM * k, 6).tolist()

    scan = read_scan(series(tmp_path, change))
    np.testing.assert_array_equal(scan.hu, hu())
    assert scan.geometry.matrix[:, 2] == pytest.approx(normal, abs=1e-6)


def test_identical_duplicates_are_dropped_and_said(tmp_path: Path) -> None:
    folder = series(tmp_path)
    (folder / "again.dcm").write_bytes((folder / "2.dcm").read_bytes())
    scan = read_scan(folder)
    np.testing.assert_array_equal(scan.hu, hu())
    assert any("1 identical" in w for w in scan.provenance.warnings)
    assert scan.provenance.image_numbers == (1, 2, 3, 4, 5)


def test_differing_duplicates_are_refused_by_name(tmp_path: Path) -> None:
    folder = series(tmp_path)
    other = slice_of(3)
    other.ImagePositionPatient = [-100, -90.5, 20 + STEP_MM * 2]
    other.save_as(folder / "other.dcm")
    message = refused(folder)
    assert "two different slices" in message
    assert "other.dcm" in message
    assert "2.dcm" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (only(2, ImagePositionPatient=None), "no ImagePositionPatient"),
        (only(2, ImageOrientationPatient=None), "no ImageOrientationPatient"),
        (only(2, RescaleSlope=None), "no RescaleSlope"),
        (only(-1, RescaleIntercept=None), "no RescaleIntercept"),
        (only(2, RescaleSlope=0), "slope is zero"),
        (only(2, PixelSpacing=None), "no PixelSpacing"),
        (only(2, PixelSpacing=[0.7, 0.9]), "differs from the others in PixelSpacing"),
        (only(2, Rows=12), "differs from the others in Rows"),
        (only(2, ImageOrientationPatient=[0, 1, 0, -1, 0, 0]), "ImageOrientationPatient"),
        (only(-1, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "orthonormal"),
        (only(-1, ImageOrientationPatient=[1, 0, 0, 0, 2, 0]), "orthonormal"),
        (only(2, ImagePositionPatient=[1, 2]), "ImagePositionPatient"),
        (only(-1, PixelSpacing=[0.0007, 0.0007]), "not plausible"),
        (only(-1, PixelSpacing=[0, 0]), "not positive"),
        (only(-1, Modality="MR", SOPClassUID=MRImageStorage), "modality MR"),
        (only(-1, Modality="PT"), "modality PT"),
        (only(-1, SOPClassUID=EnhancedCTImageStorage), "enhanced"),
        (only(-1, SOPClassUID=SecondaryCaptureImageStorage), "no CT image"),
        (only(-1, NumberOfFrames=5), "multi-frame"),
        (only(-1, SamplesPerPixel=3), "multi-frame or colour"),
        (only(-1, RescaleType="OD"), "not Hounsfield"),
        (only(-1, RescaleIntercept=0), "Hounsfield"),
        (only(-1, RescaleIntercept=-2048), "Hounsfield"),
        (only(-1, BitsAllocated=32, BitsStored=32, HighBit=31), "stored in this way"),
        (only(-1, HighBit=15), "stored in this way"),
        (only(2, ModalityLUTSequence=[Dataset()]), "lookup table"),
        (only(-1, Rows=5000), "larger than any"),
        (only(-1, Columns=5000), "larger than any"),
        (only(2, PixelData=None), "cut off"),
        (only(2, PixelData=b"\0" * 40), "wrong length"),
        (only(2, PixelData=b"\0" * 400), "wrong length"),
        (only(2, SeriesInstanceUID=None), "cut off"),
    ],
)
def test_bad_tags(tmp_path: Path, change: Change, message: str) -> None:
    assert message in refused(series(tmp_path, change))


def more_padding(ds: FileDataset, k: int) -> None:
    ds.PixelData += bytes(2 * (k + 2))


@pytest.mark.parametrize(
    "change",
    [
        only(-1, RescaleType="hu"),
        only(-1, RescaleType="Hounsfield"),
        only(-1, RescaleType="US"),
        only(-1, SOPClassUID="1.2.826.0.1.3680043.10.9999.1"),
        only(-1, SOPClassUID=None),
        only(2, InstanceNumber=None),
        only(-1, NumberOfFrames=1),
        only(-1, PatientID=None),
        more_padding,
    ],
)
def test_odd_tags_of_good_slices(tmp_path: Path, change: Change) -> None:
    scan = read_scan(series(tmp_path, change))
    np.testing.assert_array_equal(scan.hu, hu())
    assert scan.provenance.warnings == ()


@pytest.mark.parametrize("name", ["4.dcm", "IM4", "1.2.3.4"])
def test_truncated_file_is_named(tmp_path: Path, name: str) -> None:
    """The last slice: without it the others would still make a volume."""
    folder = series(tmp_path)
    path = (folder / "4.dcm").rename(folder / name)
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 29), 130, len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert name in refused(folder)


def test_localizer_is_left_out_and_said(tmp_path: Path) -> None:
    folder = series(tmp_path)
    scout = slice_of(0)
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    scout.save_as(folder / "scout.dcm")
    scan = read_scan(folder)
    np.testing.assert_array_equal(scan.hu, hu())
    assert any("localizer" in w for w in scan.provenance.warnings)


def test_other_files_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    folder = series(tmp_path)
    (folder / "README").write_text("hello")
    (folder / ".DS_Store").write_bytes(b"")
    (folder / "notes.json").write_text("{}")
    report = slice_of(0)
    report.Modality = "SR"
    report.save_as(folder / "report.dcm")
    scan = read_scan(folder)
    assert scan.shape_irc == SIZE_IRC
    assert any("SR" in w for w in scan.provenance.warnings)


def test_several_series_are_listed_and_chosen(tmp_path: Path) -> None:
    series(tmp_path / "a")
    series(
        tmp_path / "b", only(-1, SeriesInstanceUID=UID + ".2", SeriesDescription="<b>soft"), (4,)
    )
    with pytest.raises(UsageError) as caught:
        read_scan(tmp_path)
    assert f"{UID}.2  4 slices  <b>soft" in caught.value.why
    assert f"{UID}  5 slices  Lung 2.5" in caught.value.why
    assert read_scan(tmp_path, series_uid=UID + ".2").shape_irc[0] == 4
    assert read_scan(tmp_path, series_uid=f"{UID}.").shape_irc[0] == 4  # as no other begins
    with pytest.raises(UsageError, match="no series 9"):
        read_scan(tmp_path, series_uid="9.9")


def test_the_command_lists_several_series_and_looks_at_none(
    run_luna: Callable[..., Outcome], good_weights: Path, tmp_path: Path
) -> None:
    series(tmp_path / "study" / "a")
    series(tmp_path / "study" / "b", only(-1, SeriesInstanceUID=UID + ".2"))
    given = ("--weights", good_weights, "--out", tmp_path / "out")
    outcome = run_luna("diagnose", tmp_path / "study", *given)
    assert_refused(outcome, 2, "2 CT series here", f"{UID}  5 slices", f"{UID}.2  5", "--series")
    assert not (tmp_path / "out").exists()


def test_one_file_means_its_series(tmp_path: Path) -> None:
    series(tmp_path)
    series(tmp_path / "x", only(-1, SeriesInstanceUID=UID + ".2"))
    for k in range(5):
        (tmp_path / "x" / f"{k}.dcm").rename(tmp_path / f"x{k}.dcm")
    assert read_scan(tmp_path / "x3.dcm").series_uid == UID + ".2"
    (tmp_path / "._3.dcm").write_bytes(b"what macOS adds on foreign disks")
    assert read_scan(tmp_path / "3.dcm").series_uid == UID
    with pytest.raises(UsageError, match="not of series"):
        read_scan(tmp_path / "3.dcm", series_uid=UID + ".2")


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100", "ISO 2022 IR 87", "nonsense", ""])
def test_odd_names(tmp_path: Path, charset: str) -> None:
    name = b"<script>alert(1)</script>^\xff\xfe\x1b$B\x00\xc3\xbc"

    def change(ds: FileDataset, k: int) -> None:
        ds.SpecificCharacterSet = charset
        ds.add_new(0x00100010, "PN", name)

    provenance = read_scan(series(tmp_path, change)).provenance
    assert provenance.phi["PatientName"].isprintable()
    assert "script" not in str(provenance.metadata)


def test_lidc_padding_written_as_unsigned(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        words = (hu()[k] + 1024).astype("<i2")
        words[0] = -2000
        store(ds, words, BitsStored=16, HighBit=15, PixelRepresentation=1)
        ds.add_new(0x00280120, "US", 63536)

    scan = read_scan(series(tmp_path, change))
    assert (scan.hu[:, 0] == -1024).all()
    np.testing.assert_array_equal(scan.hu[:, 1:], hu()[:, 1:])
    assert scan.provenance.padding_voxels == 5 * 8


def test_padding_beyond_the_stored_bits(tmp_path: Path) -> None:
    """-2000 in an unsigned 12-bit image: masked to 12 bits it would be bone."""

    def change(ds: FileDataset, k: int) -> None:
        words = (hu()[k] + 1024).astype("<u2")
        words[0] = 63536
        store(ds, words, PixelPaddingValue=63536)

    assert (read_scan(series(tmp_path, change)).hu[:, 0] == -1024).all()


def test_padding_value_that_is_tissue_is_not_believed(tmp_path: Path) -> None:
    scan = read_scan(series(tmp_path, only(-1, PixelPaddingValue=1024)))
    np.testing.assert_array_equal(scan.hu, hu())
    assert any("padding value 1024" in w for w in scan.provenance.warnings)


def test_overlay_bits_above_the_stored_ones_are_masked(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        store(ds, (hu()[k] + 1024).astype("<u2") | 0x8000)

    np.testing.assert_array_equal(read_scan(series(tmp_path, change)).hu, hu())


def test_signed_twelve_bits_are_sign_extended(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        words = hu()[k].astype("<i2").view("<u2") & 0x0FFF
        store(ds, words, PixelRepresentation=1)
        ds.RescaleIntercept = 0

    np.testing.assert_array_equal(read_scan(series(tmp_path, change)).hu, hu())


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian], ids=str)
def test_uncompressed_syntaxes(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    for index in range(5):
        ds = slice_of(index)
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = (hu()[index] + 1024).astype(">u2").tobytes()
            ds["PixelData"].VR = "OW"
        pydicom.dcmwrite(
            tmp_path / f"{index}.dcm",
            ds,
            little_endian=syntax != ExplicitVRBigEndian,
            implicit_vr=syntax == ImplicitVRLittleEndian,
        )
    np.testing.assert_array_equal(read_scan(tmp_path).hu, hu())


@pytest.mark.parametrize("uid", ["1.2.3.4", "nonsense"])
def test_syntaxes_that_are_not_read(tmp_path: Path, uid: str) -> None:
    folder = series(tmp_path)
    old, new = (text.encode().ljust(64, b"\0")[:20] for text in (ExplicitVRLittleEndian, uid))
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(old[:19] + b"\0", new[:19] + b"\0", 1))
    assert refused(folder)


@pytest.mark.parametrize("depth", [20, 3000])
def test_deeply_nested_sequences(tmp_path: Path, depth: int) -> None:
    folder = series(tmp_path)
    open_item = b"\x40\x00\x75\xa0SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    close = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    nested = open_item * depth + close * depth
    path = folder / "2.dcm"
    whole = path.read_bytes()
    pixels = whole.rindex(b"\xe0\x7f\x10\x00")
    path.write_bytes(whole[:pixels] + nested + whole[pixels:])
    if depth < 100:
        np.testing.assert_array_equal(read_scan(folder).hu, hu())
    else:
        assert "2.dcm" in refused(folder)


def test_nested_items_of_other_series_are_not_mistaken(tmp_path: Path) -> None:
    def change(ds: FileDataset, k: int) -> None:
        inner = Dataset()
        inner.SeriesInstanceUID = "9.9.9"
        ds.ReferencedSeriesSequence = Sequence([inner])

    assert read_scan(series(tmp_path, change)).series_uid == UID


def test_single_slice_takes_its_thickness(tmp_path: Path) -> None:
    scan = read_scan(series(tmp_path, skip=(1, 2, 3, 4)))
    assert (scan.shape_irc, scan.geometry.spacing_xyz[2]) == ((1, 6, 8), 2.5)


def test_random_damage_is_refused_or_harmless(tmp_path: Path) -> None:
    """Two hundred files with one damaged run of bytes: never another exception."""
    folder = series(tmp_path)
    whole = (folder / "2.dcm").read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(200):
        bent = bytearray(whole)
        at, length = rng.integers(128, len(whole) - 110), rng.integers(1, 9)
        bent[at : at + length] = rng.bytes(length)
        (folder / "2.dcm").write_bytes(bent)
        try:
            scan = read_scan(folder)
        except (InputError, UsageError):
            continue
        assert scan.shape_irc[1:] == SIZE_IRC[1:]
