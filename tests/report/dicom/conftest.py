"""A small DICOM series in any geometry, and findings in it that were measured for real."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from scipy import ndimage

from luna.ct.mask import BoxMask
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.detect.findings import Candidates, Finding, Findings, Opacity
from luna.detect.measure import measure
from luna.report.dicom.results import DicomResults, results_of
from luna.report.dicom.write import dicom_writers
from luna.report.document import document
from luna.report.write import write_report

from ...programs import program
from ..described import described

UID = "1.2.826.0.1.3680043.8.498.7"
SHAPE = (16, 28, 36)
STEP_MM, PIXEL_MM = 2.5, (0.8, 0.9)
TURN = np.radians([20, 10])
ALONG_X = (1.0, 0.0, 0.0)

TILTED = (
    *(float(np.cos(TURN[1])), float(np.sin(TURN[1])), 0.0),
    *(
        float(-np.sin(TURN[1]) * np.cos(TURN[0])),
        float(np.cos(TURN[1]) * np.cos(TURN[0])),
        float(np.sin(TURN[0])),
    ),
)

GEOMETRIES: dict[str, tuple[tuple[float, ...], int]] = {
    "axial": ((*ALONG_X, 0.0, 1.0, 0.0), 1),
    "head to feet": ((*ALONG_X, 0.0, 1.0, 0.0), -1),
    "negated columns": ((*ALONG_X, 0.0, -1.0, 0.0), 1),
    "feet first": ((-1.0, 0.0, 0.0, 0.0, 1.0, 0.0), -1),
    "prone": ((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 1),
    "oblique": (TILTED, 1),
    "coronal": ((*ALONG_X, 0.0, 0.0, -1.0), 1),
    "sagittal": ((0.0, 1.0, 0.0, 0.0, 0.0, -1.0), -1),
}
"""Row and column directions, and whether instance numbers go up or down along the normal."""

WITH_PAGES = ("axial", "oblique", "sagittal")
"""Geometries of which key images and the PDF are made too."""

BALL, SMALL, SLAB = (
    ((6, 12, 12), 5.0),
    ((9, 20, 26), 3.5),
    (slice(2, 4), slice(2, 8), slice(22, 30)),
)
"""Centre (voxels of the file's grid) and radius (mm) of two nodules, and the box of an opacity."""


def header(number: int, cosines: Sequence[float], place: np.ndarray) -> FileDataset:
    """A CT slice of a patient with a name, without pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{UID}.3.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.PatientID, ds.PatientSex = "Müller^Jörg", "4711-X", "M"
    ds.PatientBirthDate, ds.PatientAge = "19610203", "065Y"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{UID}.1", f"{UID}.2"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = f"{UID}.4", ""
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20261130", "101500", "S1", "A-77"
    ds.StudyDescription, ds.ReferringPhysicianName = "CT Thorax", "Weiß^Anna"
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SeriesNumber, ds.InstanceNumber = 4, number
    ds.Manufacturer, ds.KVP, ds.AcquisitionNumber = "SIEMENS", "120", 1
    ds.ImageOrientationPatient = [f"{v:.9g}" for v in cosines]
    ds.ImagePositionPatient = [f"{v:.9g}" for v in place]
    ds.PixelSpacing, ds.SliceThickness = list(PIXEL_MM), STEP_MM
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
    ds.Rows, ds.Columns = SHAPE[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    return ds


def hu_of_file() -> np.ndarray:
    """Lung with two balls and a box of soft tissue, on the grid of the file."""
    rng = np.random.default_rng(3)
    hu = np.rint(rng.normal(-850, 15, SHAPE))
    for center, radius_mm in (BALL, SMALL):
        hu[_ball(center, radius_mm)] = 40
    hu[SLAB] = 30
    return hu.astype(np.int16)


def _ball(center: Sequence[int], radius_mm: float) -> np.ndarray:
    grid = np.indices(SHAPE).reshape(3, -1).T
    mm = (grid - center) * (STEP_MM, *PIXEL_MM)
    return (np.linalg.norm(mm, axis=1) <= radius_mm).reshape(SHAPE)


def write_series(
    folder: Path, geometry: str = "axial", change: Callable[[FileDataset], None] = lambda ds: None
) -> Path:
    """Write a series; `change` is given each slice before it is saved."""
    folder.mkdir(parents=True, exist_ok=True)
    cosines, order = GEOMETRIES[geometry]
    normal = np.cross(cosines[:3], cosines[3:])
    for k, plane in enumerate(hu_of_file()):
        number = k + 1 if order > 0 else SHAPE[0] - k
        ds = header(number, cosines, np.array([-20.0, 30.0, -110.0]) + k * STEP_MM * normal)
        ds.PixelData = (plane + 1024).astype("<u2").tobytes()
        change(ds)
        ds.save_as(folder / f"im{number:03}.dcm", enforce_file_format=True)
    return folder


@dataclass(frozen=True)
class Case:
    """A series on disk, its scan, findings in it, and the plan of the results."""

    path: Path
    scan: Scan
    findings: Findings
    results: DicomResults


def findings_of(scan: Scan) -> Findings:
    """The two balls as findings and the box as an opacity, measured in the scan."""
    labels, count = ndimage.label(scan.hu > -200)
    boxes = [
        BoxMask(tuple(s.start for s in box), labels[box] == k + 1)
        for k, box in enumerate(ndimage.find_objects(labels))
    ]
    assert count == 3
    # The box is the one whose voxels fill their bounds.
    boxes.sort(key=lambda b: (b.voxels.all(), -b.voxels.sum()))
    *balls, slab = boxes
    found = [_finding(scan, k + 1, mask) for k, mask in enumerate(balls)]
    _, size = measure(scan, slab)
    center = tuple((np.argwhere(slab.voxels).mean(axis=0) + slab.start_irc).tolist())
    opacity = Opacity(
        center_irc=center,
        center_xyz=tuple(scan.geometry.xyz_from_irc(center).tolist()),
        measurement=size,
        side="right",
        mask=slab,
    )
    points = np.array([one.center_irc for one in found])
    return Findings(
        series_uid=scan.series_uid,
        scan_fingerprint=scan.fingerprint(),
        findings=tuple(found),
        candidates=Candidates(
            center_irc=points,
            center_xyz=scan.geometry.xyz_from_irc(points),
            p_nodule=np.array([0.987654321, 0.75]),
            nodule=np.array([1, 2]),
        ),
        threshold=0.5,
        models={"segmentation": "s", "nodule": "n"},
        weights_sha256={"segmentation": "ab" * 32, "nodule": "cd" * 32},
        config={},
        device="cpu",
        lung_volume_ml=(2001.26, 1800.0),
        notices=("For tests.",),
        opacities=(opacity,),
        limits=("Partial scan.",),
        warnings=("Partial scan.",),
    )


def _finding(scan: Scan, number: int, mask: BoxMask) -> Finding:
    body, size = measure(scan, mask)
    center = tuple((np.argwhere(body.voxels).mean(axis=0) + body.start_irc).tolist())
    return Finding(
        number=number,
        center_irc=center,
        center_xyz=tuple(scan.geometry.xyz_from_irc(center).tolist()),
        p_nodule=(0.987654321, 0.75)[number - 1],
        p_malignant=0.25 if number == 1 else None,
        measurement=size,
        description=described(kind="part-solid", solid_mm=3.14, strands=1, third=None),
        side="left",
        mask=body,
    )


def case_of(path: Path, choice: Any = "all") -> Case:
    """Read a scan, and plan the results of the findings in it."""
    scan = read_scan(path)
    results, why_none = results_of(path, scan, choice)
    assert results is not None, why_none
    return Case(path, scan, findings_of(scan), results)


def write_objects(case: Case, out: Path) -> None:
    """Write the DICOM objects of a report, and nothing else of it."""
    out.mkdir()
    content = document(case.scan, case.findings)
    for name, write in dicom_writers(case.scan, case.findings, content, case.results).items():
        write(out / name)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Case, Path]]:
    """The case of a geometry, and the folder of its objects; made once.

    The axial one has the other files of the report, too.
    """
    made: dict[str, tuple[Case, Path]] = {}

    def make(geometry: str) -> tuple[Case, Path]:
        if geometry not in made:
            root = tmp_path_factory.mktemp("series")
            choice = "all" if geometry in WITH_PAGES else "results"
            case = case_of(write_series(root / "ct", geometry), choice)
            if geometry == "axial":
                write_report(case.scan, case.findings, root / "out", dicom=case.results)
            else:
                write_objects(case, root / "out")
            made[geometry] = case, root / "out"
        return made[geometry]

    return make


@pytest.fixture(scope="session")
def run_tool() -> Callable[..., str]:
    """Run a program of dicom3tools, dcmtk or poppler; its output, both streams together."""

    def run(name: str, *arguments: object) -> str:
        path = program(name)
        if path is None:
            pytest.skip(f"{name} is not installed (apt install dicom3tools dcmtk poppler-utils)")
        done = subprocess.run(
            [path, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode in (0, 1), done.stdout
        return done.stdout.decode("utf-8", "replace")

    return run
