"""`luna import`: other people's annotations, through `prep`, to what the U-Net learns from."""

import json
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

from luna.ct.labels import read_labels
from luna.ct.read import read_scan
from luna.ct.write import write_labels
from luna.data.luna16.folder import mask_of, read_luna16
from luna.data.prepared import open_prepared

CENTERS = [(12, 40, 34), (9, 56, 42), (14, 50, 90), (10, 40, 96)]
"""Where every scan of the small cohort has a nodule (index, row, column)."""
RADII_VOX = [3, 2, 3, 2]
SPACING_MM = 2.5
UID = "1.2.826.0.1.3680043.8.498.77"


@pytest.fixture(scope="module")
def chest_dicom(small_cohort: Path, tmp_path_factory) -> Path:
    """The small cohort's first scan as a DICOM series in `DOE_JANE/study`, beside a second one."""
    root = tmp_path_factory.mktemp("scans")
    folder = root / "DOE_JANE" / "study"
    folder.mkdir(parents=True)
    scan = read_scan(small_cohort / "subset0" / "1.2.3.0.mhd")
    for k, hu in enumerate(scan.hu):
        ds = dicom("CT", "1.2.840.10008.5.1.4.1.1.2")
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{UID}.1.{k + 1}"
        ds.SeriesInstanceUID, ds.PatientID = f"{UID}.1", "DOE^JANE"
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = scan.geometry.xyz_from_irc((k, 0, 0)).tolist()
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [SPACING_MM] * 2, SPACING_MM
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        add_pixels(ds, (hu + 1024).clip(0).astype("<u2"), 16)
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    image = sitk.ReadImage(str(small_cohort / "subset1" / "1.2.3.1.mhd"))
    sitk.WriteImage(image, str(root / "case two.nii.gz"))
    return root


def dicom(modality: str, sop_class: str) -> FileDataset:
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.StudyInstanceUID, ds.FrameOfReferenceUID = modality, f"{UID}.0", f"{UID}.9"
    ds.SeriesInstanceUID = generate_uid()
    return ds


def add_pixels(ds: Dataset, pixels: np.ndarray, bits: int) -> None:
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit, ds.PixelRepresentation = bits - 1, 0
    ds.PixelData = pixels.tobytes()


def item(**values) -> Dataset:
    ds = Dataset()
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


def labels_of(scan) -> np.ndarray:
    """A label for each nodule: a ball of the radius that the small cohort draws."""
    grid = np.mgrid[tuple(slice(n) for n in scan.shape_irc)]
    labels = np.zeros(scan.shape_irc, dtype=np.uint8)
    for number, (irc, radius) in enumerate(zip(CENTERS, RADII_VOX, strict=True), start=1):
        labels[((grid - np.reshape(irc, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = number
    return labels


def dicom_scan(root: Path):
    return read_scan(root / "DOE_JANE")


def assert_imported(out: Path, uid: str, nodules: int = 4) -> None:
    """The scan is a link, and its nodules are where they are drawn."""
    data = read_luna16(out)
    rows = data.nodules_of(uid)
    scan = read_scan(data.files[uid], series_uid=uid if data.files[uid].is_dir() else None)
    found = scan.geometry.irc_from_xyz(data.nodules.center_xyz[rows])
    expected = np.array(CENTERS[:nodules], dtype=float)
    order = [int(np.linalg.norm(expected - f, axis=1).argmin()) for f in found]
    assert sorted(order) == [*range(nodules)]
    assert np.abs(found - expected[order]).max() < 0.5
    links = [p for p in out.glob("subset*/*") if p.name.startswith(uid)]
    assert [p.is_symlink() for p in links] == [True]


def test_a_table_of_voxels_makes_a_cohort_that_is_prepared(luna, chest_dicom, tmp_path):
    """DICOM and NIfTI in one tree, a table with its own names, and no candidates."""
    table, out = tmp_path / "nodules.csv", tmp_path / "cohort"
    rows = [
        f"{name},{c},{r},{i},{5 * radius}"
        for name in ("DOE_JANE", "case two")
        for (i, r, c), radius in zip(CENTERS, RADII_VOX, strict=True)
    ]
    table.write_text("\n".join(["image id,col,row,slice,mm", *rows]) + "\n")
    names = {"series": "image id", "x": "col", "y": "row", "z": "slice", "diameter": "mm"}
    given = [w for role, column in names.items() for w in ("--map", f"{role}={column}")]
    done = luna("import", chest_dicom, "--table", table, *given, "--frame", "voxel", "--out", out)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == f"2 scans, 8 nodules, 0 masks in {out}"
    assert "the patients of 1 scans are not known" in done.err
    assert_imported(out, f"{UID}.1")
    assert_imported(out, "case_two")
    assert "DOE" not in "".join(p.read_text() for p in out.glob("*.csv"))
    again = luna("prep", out, "--cache", tmp_path / "cache", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["scans"] == 2
    prepared = open_prepared(tmp_path / "cache")
    assert prepared.candidates.is_nodule.sum() == 8
    assert (~prepared.candidates.is_nodule).sum() > 0


def test_masks_become_what_the_unet_learns_from(luna, chest_dicom, tmp_path):
    out, masks = tmp_path / "cohort", tmp_path / "masks"
    masks.mkdir()
    scan = dicom_scan(chest_dicom)
    write_labels(masks / "DOE_JANE_nodules_rad1.nrrd", labels_of(scan), scan)
    write_labels(masks / "stranger.nrrd", labels_of(scan), scan)
    done = luna("import", chest_dicom, "--masks", masks, "--annotated-only", "--out", out)
    assert done.code == 0, done.err
    assert "1 files belong to no scan: stranger.nrrd" in done.err
    assert done.out.splitlines()[0] == f"1 scans, 4 nodules, 1 masks in {out}"
    uid = f"{UID}.1"
    assert_imported(out, uid)
    assert np.array_equal(read_labels(mask_of(out, uid), scan) > 0, labels_of(scan) > 0)
    assert luna("prep", out, "--cache", tmp_path / "cache").code == 0
    prepared = open_prepared(tmp_path / "cache")
    learned = prepared.volumes.box("mask", 0, (0, 0, 0), scan.shape_irc)
    assert np.array_equal(learned > 0, labels_of(scan) > 0)


def seg_of(scan, labels: np.ndarray, **references) -> FileDataset:
    """A binary segmentation with a frame for each slice that a label has."""
    ds = dicom("SEG", "1.2.840.10008.5.1.4.1.1.66.4")
    ds.ReferencedSeriesSequence = Sequence([item(SeriesInstanceUID=f"{UID}.1", **references)])
    ds.SegmentSequence = Sequence(
        [item(SegmentNumber=int(n), SegmentLabel=f"Nodule {n}") for n in np.unique(labels)[1:]]
    )
    ds.SharedFunctionalGroupsSequence = Sequence(
        [
            item(
                PlaneOrientationSequence=Sequence(
                    [item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
                ),
                PixelMeasuresSequence=Sequence([item(PixelSpacing=[SPACING_MM] * 2)]),
            )
        ]
    )
    frames, groups = [], []
    for number in np.unique(labels)[1:]:
        for k in np.flatnonzero((labels == number).any(axis=(1, 2))):
            frames.append(labels[k] == number)
            place = scan.geometry.xyz_from_irc((k, 0, 0)).tolist()
            groups.append(
                item(
                    PlanePositionSequence=Sequence([item(ImagePositionPatient=place)]),
                    SegmentIdentificationSequence=Sequence(
                        [item(ReferencedSegmentNumber=int(number))]
                    ),
                )
            )
    ds.NumberOfFrames, ds.PerFrameFunctionalGroupsSequence = len(frames), Sequence(groups)
    ds.Rows, ds.Columns = labels.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit, ds.PixelRepresentation = 0, 0
    ds.PixelData = np.packbits(np.array(frames).ravel(), bitorder="little").tobytes()
    return ds


def rtstruct_of(scan, labels: np.ndarray) -> FileDataset:
    """A structure set with a box-shaped contour around each label's slices, and a heart."""
    ds = dicom("RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3")
    series = item(RTReferencedSeriesSequence=Sequence([item(SeriesInstanceUID=f"{UID}.1")]))
    ds.ReferencedFrameOfReferenceSequence = Sequence(
        [item(RTReferencedStudySequence=Sequence([series]))]
    )
    names = {1: "GTV-1", 2: "gtv_n", 3: "Nodule right", 4: "Nodule far right", 5: "Heart"}
    ds.StructureSetROISequence = Sequence(
        [item(ROINumber=n, ROIName=name) for n, name in names.items()]
    )
    ds.ROIContourSequence = Sequence([])
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        low = [(s.start - 0.5) for s in box]
        high = [(s.stop - 0.5) for s in box]
        contours = []
        for k in range(box[0].start, box[0].stop):
            corners = [
                (k, low[1], low[2]),
                (k, low[1], high[2]),
                (k, high[1], high[2]),
                (k, high[1], low[2]),
            ]
            xyz = scan.geometry.xyz_from_irc(np.array(corners, dtype=float)).ravel().tolist()
            contours.append(
                item(
                    ContourData=[f"{v:.3f}" for v in xyz],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=4,
                )
            )
        ds.ROIContourSequence.append(
            item(ReferencedROINumber=number, ContourSequence=Sequence(contours))
        )
    return ds


def test_a_dicom_segmentation(luna, chest_dicom, tmp_path):
    scan, folder = dicom_scan(chest_dicom), tmp_path / "seg"
    folder.mkdir()
    seg_of(scan, labels_of(scan)).save_as(folder / "a.dcm", enforce_file_format=True)
    done = luna("import", chest_dicom, "--seg", folder, "--annotated-only", "--out", tmp_path / "c")
    assert done.code == 0, done.err
    assert_imported(tmp_path / "c", f"{UID}.1")
    written = read_labels(mask_of(tmp_path / "c", f"{UID}.1"), scan)
    assert np.array_equal(written > 0, labels_of(scan) > 0)


def test_a_structure_set_takes_what_is_called_a_nodule(luna, chest_dicom, tmp_path):
    scan, folder = dicom_scan(chest_dicom), tmp_path / "rt"
    folder.mkdir()
    rtstruct_of(scan, labels_of(scan)).save_as(folder / "a.dcm", enforce_file_format=True)
    given = ("import", chest_dicom, "--rtstruct", folder, "--annotated-only")
    done = luna(*given, "--out", tmp_path / "c")
    assert done.code == 0, done.err
    assert_imported(tmp_path / "c", f"{UID}.1")
    boxes = read_labels(mask_of(tmp_path / "c", f"{UID}.1"), scan)
    for number, box in enumerate(ndimage.find_objects(labels_of(scan)), start=1):
        assert (boxes[box] == boxes[box].flat[0]).all(), number
    assert (boxes > 0).sum() == sum(
        np.prod([s.stop - s.start for s in box]) for box in ndimage.find_objects(labels_of(scan))
    )
    only = luna(*given, "--roi", "gtv*", "--out", tmp_path / "gtv")
    assert only.out.splitlines()[0].startswith("1 scans, 2 nodules")
    none = luna(*given, "--roi", "Lung*", "--out", tmp_path / "none")
    assert none.code == 3
    assert "'Heart'" in none.err
    assert not (tmp_path / "none").exists()


def lidc_xml(scan, readers: list[tuple[np.ndarray, int]]) -> str:
    """The readers' file: each outlines what its labels hold, by the ring of pixels around it."""
    sessions = []
    for labels, malignancy in readers:
        nodules = []
        for number in np.unique(labels)[1:]:
            rois = []
            for k in np.flatnonzero((labels == number).any(axis=(1, 2))):
                z = scan.geometry.xyz_from_irc((k, 0, 0))[2]
                edges = "".join(
                    f"<edgeMap><xCoord>{c}</xCoord><yCoord>{r}</yCoord></edgeMap>"
                    for r, c in ring(labels[k] == number)
                )
                rois.append(
                    f"<roi><imageZposition>{z}</imageZposition>"
                    f"<inclusion>TRUE</inclusion>{edges}</roi>"
                )
            nodules.append(
                f"<unblindedReadNodule><noduleID>{number}</noduleID><characteristics>"
                f"<malignancy>{malignancy}</malignancy><texture>5</texture></characteristics>"
                f"{''.join(rois)}</unblindedReadNodule>"
            )
        sessions.append(f"<readingSession>{''.join(nodules)}</readingSession>")
    return (
        '<LidcReadMessage xmlns="http://www.nih.gov"><ResponseHeader><SeriesInstanceUid>'
        f"{UID}.1</SeriesInstanceUid></ResponseHeader>{''.join(sessions)}</LidcReadMessage>"
    )


def ring(mask: np.ndarray) -> list[tuple[int, int]]:
    """The pixels just outside a convex mask, in order around it."""
    around = ndimage.binary_dilation(mask, np.ones((3, 3))) & ~mask
    pixels = np.argwhere(around)
    center = np.argwhere(mask).mean(axis=0)
    turn = np.arctan2(*(pixels - center).T)
    return [(int(r), int(c)) for r, c in pixels[np.argsort(turn)]]


def test_lidcs_readers_have_to_agree(luna, chest_dicom, tmp_path):
    scan, folder = dicom_scan(chest_dicom), tmp_path / "xml"
    folder.mkdir()
    every = labels_of(scan)
    two = np.where(every <= 2, every, 0)
    readers = [(every, 5), (two, 4), (two, 4), (np.where(every == 1, 1, 0), 1)]
    (folder / "077.xml").write_text(lidc_xml(scan, readers))
    given = ("import", chest_dicom, "--lidc-xml", folder, "--annotated-only", "--json")
    done = luna(*given, "--out", tmp_path / "c")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["nodules"], report["unagreed"], report["masks"]) == (2, 2, 1)
    assert_imported(tmp_path / "c", f"{UID}.1", nodules=2)
    written = read_labels(mask_of(tmp_path / "c", f"{UID}.1"), scan)
    assert np.array_equal(written > 0, two > 0)
    verdicts = (tmp_path / "c" / "annotations_with_malignancy.csv").read_text().splitlines()
    assert [line.rsplit(",", 1)[1] for line in verdicts[1:]] == ["True", "True"]
    kinds = (tmp_path / "c" / "annotations_kind.csv").read_text().splitlines()
    assert [line.rsplit(",", 1)[1] for line in kinds[1:]] == ["solid", "solid"]
    one = luna(*given, "--agree", 1, "--out", tmp_path / "one")
    assert json.loads(one.out)["nodules"] == 4


@pytest.mark.parametrize("value", [b"nan", b"inf", b"-1e999"])
def test_a_contour_with_a_point_that_is_no_place_is_refused(luna, chest_dicom, tmp_path, value):
    scan, folder = dicom_scan(chest_dicom), tmp_path / "rt"
    folder.mkdir()
    path = folder / "a.dcm"
    structures = rtstruct_of(scan, labels_of(scan))
    structures.ROIContourSequence[0].ContourSequence[0].ContourData[0] = "4242.421"
    structures.save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    assert data.count(b"4242.421") == 1
    path.write_bytes(data.replace(b"4242.421", value.ljust(8)))
    given = ("import", chest_dicom, "--rtstruct", folder, "--annotated-only")
    done = luna(*given, "--out", tmp_path / "c")
    assert done.code == 3, done.err
    assert "a.dcm: a contour has a point that is no place" in done.err
    assert "structure 1 is not a finite number" in done.err


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        (r"<xCoord>\d+<", "<xCoord>left<", "xCoord has to be a whole number from -1 to"),
        (r"<xCoord>\d+<", "<xCoord>99999<", "xCoord has to be a whole number from -1 to"),
        (r"<yCoord>\d+</yCoord>", "", "none in reading session 1, nodule '1', outline 1, edgeMap"),
        (r"<yCoord>\d+<", f"<yCoord>{'9' * 5000}<", "yCoord has to be a whole number"),
        (r"<imageZposition>[^<]+<", "<imageZposition>nan<", "at most 100000 mm"),
        (r"<imageZposition>[^<]+<", "<imageZposition>-inf<", "at most 100000 mm"),
        (r"<imageZposition>[^<]+</imageZposition>", "", "imageZposition has to be a number"),
        (r"<imageZposition>[^<]+<", "<imageZposition>9e4<", "does not lie on a slice"),
        (r"<malignancy>5<", "<malignancy>high<", "malignancy has to be a whole number from 0 to 5"),
        (r"<texture>5<", "<texture>6<", "it is '6' in reading session 1, nodule '1'"),
    ],
)
def test_a_wrong_number_of_a_reader_is_named_with_its_place(
    luna, chest_dicom, tmp_path, good, bad, words
):
    scan, folder = dicom_scan(chest_dicom), tmp_path / "xml"
    folder.mkdir()
    text, changed = re.subn(good, bad, lidc_xml(scan, [(labels_of(scan), 5)]), count=1)
    assert changed == 1
    (folder / "077.xml").write_text(text)
    given = ("import", chest_dicom, "--lidc-xml", folder, "--agree", 1, "--out", tmp_path / "c")
    done = luna(*given, "--annotated-only")
    assert done.code == 3, done.err
    assert "077.xml: " in done.err
    assert words in " ".join(done.err.split())
    assert not (tmp_path / "c" / "annotations.csv").exists()


def test_a_series_in_several_folders_is_one_scan(luna, chest_dicom, tmp_path):
    scans = tmp_path / "scans"
    for k, path in enumerate(sorted((chest_dicom / "DOE_JANE" / "study").iterdir())):
        place = scans / "patient" / f"part{k % 2}" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
    scan, table = dicom_scan(chest_dicom), tmp_path / "t.csv"
    x, y, z = scan.geometry.xyz_from_irc(CENTERS[0]).tolist()
    table.write_text(f"series,x,y,z,diameter\npatient,{x},{y},{z},15\n")
    done = luna("import", scans, "--table", table, "--out", tmp_path / "c")
    assert done.code == 0, done.err
    prepared = luna("prep", tmp_path / "c", "--cache", tmp_path / "cache", "--json")
    assert json.loads(prepared.out)["scans"] == 1
    cached = open_prepared(tmp_path / "cache")
    assert cached.shapes_irc[0] == scan.shape_irc


def test_a_patients_scans_stay_in_one_subset(luna, chest_dicom, tmp_path):
    table = tmp_path / "t.csv"
    scan = dicom_scan(chest_dicom)
    x, y, z = scan.geometry.xyz_from_irc(CENTERS[0]).tolist()
    rows = [f"{name},{x},{y},{z},15,someone" for name in (f"{UID}.1", "case two")]
    table.write_text("\n".join(["series,x,y,z,diameter,patient", *rows]) + "\n")
    done = luna("import", chest_dicom, "--table", table, "--out", tmp_path / "c")
    assert done.code == 0, done.err
    assert "not known" not in done.err
    data = read_luna16(tmp_path / "c")
    assert set(data.patient_of.values()) == {"someone"}
    assert len(set(data.fold_of.values())) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "declares entities"),
        ("<LidcReadMessage>", "the XML is damaged"),
        ("<LidcReadMessage/>", "no LIDC-IDRI file of a scan"),
    ],
)
def test_odd_xml_is_refused(luna, chest_dicom, tmp_path, text, words):
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "a.xml").write_text(text)
    done = luna("import", chest_dicom, "--lidc-xml", tmp_path / "xml", "--out", tmp_path / "c")
    assert done.code == 3
    assert words in done.err
    assert not (tmp_path / "c").exists()


def test_places_that_lie_on_no_nodule_are_refused(luna, chest_dicom, tmp_path):
    """The same table, taken for RAS."""
    scan, table = dicom_scan(chest_dicom), tmp_path / "t.csv"
    places = scan.geometry.xyz_from_irc(np.array(CENTERS, dtype=float)).tolist()
    rows = [f"DOE_JANE,{x},{y},{z},12" for x, y, z in places]
    table.write_text("\n".join(["series,x,y,z,diameter", *rows]) + "\n")
    given = ("import", chest_dicom, "--table", table, "--annotated-only")
    assert luna(*given, "--out", tmp_path / "c").code == 0
    wrong = luna(*given, "--frame", "ras", "--out", tmp_path / "wrong")
    assert wrong.code == 3
    assert "4 of 4 annotations lie on no nodule" in wrong.err
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "no annotations named"),
        (("--masks", "{root}", "--seg", "{root}"), "2 sources of annotations"),
        (("--table", "nowhere.csv"), "no such file"),
        (("--masks", "{root}", "--map", "u=v"), "--map u=v names no column"),
    ],
)
def test_wrong_usage(luna, chest_dicom, tmp_path, given, words):
    given = [word.format(root=chest_dicom) for word in given]
    done = luna("import", chest_dicom, *given, "--out", tmp_path / "c")
    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_from_import_to_report(luna, small_cohort, tmp_path):
    """The commands of docs/import.md, on masks: what they train diagnoses one of the scans."""
    scans, masks = tmp_path / "scans", tmp_path / "masks"
    masks.mkdir()
    scans.mkdir()
    for k, path in enumerate(sorted(small_cohort.glob("subset*/*.mhd"))):
        scan = read_scan(path)
        sitk.WriteImage(sitk.ReadImage(str(path)), str(scans / f"case{k}_0000.nii.gz"))
        write_labels(masks / f"case{k}.nii.gz", labels_of(scan), scan)
    out, cache, runs = tmp_path / "cohort", tmp_path / "cache", tmp_path / "runs"
    small = ("--set", "train.epochs=1", "--set", "sampling.samples_per_epoch=64")
    for command in (
        ("import", scans, "--masks", masks, "--out", out),
        ("prep", out, "--cache", cache, "--set", "slices=all"),
        ("train-seg", cache, "--config", "tiny", "--runs", runs, *small),
        ("train-cls", cache, "--config", "tiny", "--runs", runs, *small),
    ):
        done = luna(*command)
        assert done.code == 0, done.err
    weights = [word for run in runs.iterdir() for word in ("--weights", run / "bundle")]
    report = tmp_path / "report"
    done = luna("diagnose", scans / "case0_0000.nii.gz", *weights, "--out", report)
    assert done.code == 0, done.err
    assert (report / "report.html").exists()


def test_lidc_idri_0001_from_its_readers_segmentations(luna, shared, tmp_path):
    """The four readers' DICOM SEG give the nodule that LUNA16 lists, within 1 mm."""
    real = shared / "real"
    done = luna(
        *("import", real / "lidc-idri-0001", "--seg", real / "lidc-dicom-seg-sr"),
        *("--agree", 3, "--out", tmp_path / "c"),
    )
    assert done.code == 0, done.err
    data = read_luna16(tmp_path / "c")
    (center,) = data.nodules.center_xyz
    assert np.linalg.norm(center - (56.208, 86.343, -115.868)) < 1
    assert data.nodules.diameter_mm == pytest.approx([23.35], abs=1)
