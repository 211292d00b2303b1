"""A small scan with a finding, and what is reported of it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from luna.ct.geometry import Geometry
from luna.ct.mask import BoxMask
from luna.ct.scan import Provenance, Scan
from luna.detect.findings import (
    Candidates,
    Finding,
    Findings,
    Measurement,
    Opacity,
)

from .described import described

PHI = {"PatientName": "DOE^JANE", "PatientBirthDate": "19501231", "AccessionNumber": "A77"}
MARKUP = "<script>alert('x')</script>"


PART_SOLID = described(
    kind="part-solid",
    solid_mm=3.14159,
    calcification="central",
    calcified_share=0.25,
    pleural_contact=0.125,
    juxtapleural=True,
    strands=4,
)


@pytest.fixture(name="small_scan", scope="session")
def small_scan_fixture() -> Scan:
    """A small volume with one bright box left of, behind and above the middle."""
    hu = np.full((20, 30, 40), -850, dtype=np.int16)
    hu[12:15, 18:22, 26:32] = 100
    return Scan(
        hu=hu,
        geometry=Geometry((-20.0, -15.0, 100.0), (1.0, 1.0, 2.0)),
        series_uid="1.2.3.4",
        provenance=Provenance(
            source="DOE_JANE",
            format="DICOM",
            metadata={"Manufacturer": MARKUP},
            phi=PHI,
            image_numbers=tuple(range(60, 40, -1)),
            padding_voxels=7,
        ),
    )


def make_finding(number: int = 1, p: float = 0.9) -> Finding:
    mask = BoxMask(start_irc=(12, 18, 26), voxels=np.ones((3, 4, 6), dtype=bool))
    size = Measurement(
        long_axis_mm=7.2,
        short_axis_mm=4.0,
        diameter_mm=5.6,
        volume_mm3=144.0,
        hu_mean=100.0,
        hu_min=100,
        hu_max=100,
        plane="axial",
        plane_index=13,
    )
    return Finding(
        number=number,
        center_irc=(13.0, 19.5, 28.5),
        center_xyz=(8.5, 4.5, 126.0),
        p_nodule=p,
        p_malignant=None,
        measurement=size,
        description=PART_SOLID,
        side="left",
        mask=mask,
    )


@pytest.fixture(name="small_findings", scope="session")
def small_findings_fixture(small_scan: Scan) -> Findings:
    """One finding in it, and a warning with markup."""
    scan = small_scan
    return Findings(
        series_uid=scan.series_uid,
        scan_fingerprint=scan.fingerprint(),
        findings=(make_finding(),),
        candidates=Candidates(
            center_irc=np.array([[13.0, 19.5, 28.5], [13, 18, 28], [2, 3, 4]]),
            center_xyz=np.array([[8.5, 4.5, 126.0], [8, 3, 126], [-16, -12, 104]]),
            p_nodule=np.array([0.9, 0.4, 0.1]),
            nodule=np.array([5, 5, 2]),
        ),
        threshold=0.5,
        models={"segmentation": "s", "nodule": "n"},
        weights_sha256={"segmentation": "ab" * 32, "nodule": "cd" * 32},
        config={"threshold": None},
        device="cpu",
        lung_volume_ml=(2000.0, 1800.0),
        warnings=("Partial scan: " + MARKUP,),
        seconds={"lungs": 0.1},
    )


def add_opacity(findings: Findings) -> Findings:
    """The same, and an opacity above the finding."""
    one = findings.findings[0] if findings.findings else make_finding()
    opacity = Opacity(
        center_irc=(17.0, 19.5, 28.5),
        center_xyz=(8.5, 4.5, 134.0),
        measurement=replace(one.measurement, long_axis_mm=62.4, volume_mm3=51_000.0),
        side="left",
        mask=BoxMask((15, 16, 24), np.ones((4, 8, 9), dtype=bool)),
    )
    return replace(findings, opacities=(opacity,))


@pytest.fixture
def scan(small_scan: Scan) -> Scan:
    return small_scan


@pytest.fixture
def findings(small_findings: Findings) -> Findings:
    return small_findings


@pytest.fixture(name="finding", scope="session")
def finding_fixture() -> Callable[..., Finding]:
    """Make a finding of the small volume: (number, p)."""
    return make_finding


@pytest.fixture(name="with_opacity", scope="session")
def with_opacity_fixture() -> Callable[[Findings], Findings]:
    """Add an opacity above the finding."""
    return add_opacity
