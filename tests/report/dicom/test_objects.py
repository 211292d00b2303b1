"""The objects lie where the findings lie, say what the report says, and others read them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

import luna
from luna.ct.mask import BoxMask
from luna.ct.scan import Scan
from luna.detect.findings import Finding, Opacity
from luna.report.dicom.write import dicom_writers
from luna.report.document import document
from luna.report.growth import ReportedChange, ReportedPrior

from .conftest import GEOMETRIES, WITH_PAGES, Case

Written = Callable[[str], tuple[Case, Path]]
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)
NORMALS = {"coronal": 1, "sagittal": 2}
"""The axis of a scan across the images of a series that is not axial."""

APART_MM = 1e-3
"""DICOM writes a number with 16 characters; a thousandth of a mm is far below a voxel."""


def lesions(case: Case) -> list[tuple[str, Finding | Opacity]]:
    named: list[tuple[str, Finding | Opacity]] = [("Opacity A", case.findings.opacities[0])]
    return [*named, *((f"Finding {one.number}", one) for one in case.findings.findings)]


def places_xyz(scan: Scan, mask: BoxMask) -> np.ndarray:
    """The LPS mm of a mask's voxels, sorted."""
    voxels = np.argwhere(mask.voxels) + mask.start_irc
    return in_order(scan.geometry.xyz_from_irc(voxels))


def in_order(points: np.ndarray) -> np.ndarray:
    rounded = np.round(points, 2)
    return points[np.lexsort(rounded.T)]


@every_geometry
def test_a_segment_has_the_voxels_and_millimetres_of_its_finding(
    written: Written, geometry: str
) -> None:
    case, out = written(geometry)
    seg = hd.seg.segread(out / "nodules.seg.dcm")
    volume = seg.get_volume()
    assert volume.array.shape[-1] == 3
    for number, (name, found) in enumerate(lesions(case), start=1):
        description = seg.get_segment_description(number)
        assert description.segment_label == name
        inside = np.argwhere(volume.array[..., number - 1])
        points = np.c_[inside, np.ones(len(inside))] @ volume.affine[:3].T
        expected = places_xyz(case.scan, found.mask)
        assert len(points) == len(expected)
        assert np.abs(in_order(points) - expected).max() < APART_MM
    assert np.prod(volume.spacing) == pytest.approx(case.scan.geometry.voxel_mm3, rel=1e-6)


@every_geometry
def test_a_frame_lies_on_the_image_that_it_names(written: Written, geometry: str) -> None:
    case, out = written(geometry)
    images = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, case.path.iterdir())}
    seg = pydicom.dcmread(out / "nodules.seg.dcm")
    assert seg.FrameOfReferenceUID == next(iter(images.values())).FrameOfReferenceUID
    for group in seg.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        place = group.PlanePositionSequence[0].ImagePositionPatient
        assert place == images[source].ImagePositionPatient


def items(root: Dataset, value_type: str) -> Iterator[Dataset]:
    for item in root.get("ContentSequence", ()):
        if item.ValueType == value_type:
            yield item
        yield from items(item, value_type)


def concept(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def numbers(group: Dataset) -> dict[str, float]:
    """The numbers right below a container, by name."""
    found = [item for item in group.ContentSequence if item.ValueType == "NUM"]
    return {concept(i): float(i.MeasuredValueSequence[0].NumericValue) for i in found}


def groups_of(out: Path) -> dict[str, Dataset]:
    """The measurement groups of an SR by their tracking identifier."""
    sr = pydicom.dcmread(out / "measurements.sr.dcm")
    groups = [item for item in items(sr, "CONTAINER") if concept(item) == "Measurement Group"]
    return {
        next(str(i.TextValue) for i in g.ContentSequence if concept(i) == "Tracking Identifier"): g
        for g in groups
    }


def test_the_numbers_are_those_of_the_report(written: Written) -> None:
    case, out = written("axial")
    groups = groups_of(out)
    for name, found in lesions(case):
        size, said = found.measurement, numbers(groups[name])
        assert said["Volume"] == round(size.volume_mm3, 1)
        assert said["Diameter"] == pytest.approx(size.diameter_mm, abs=1e-3)
        assert (said["Long Axis"], said["Short Axis"]) == (size.long_axis_mm, size.short_axis_mm)
        assert said["Mean Attenuation Coefficient"] == round(size.hu_mean, 1)
        assert said["Maximum Attenuation Coefficient"] == size.hu_max
    assert numbers(groups["Finding 1"])["Certainty of Finding"] == 98.7654
    assert numbers(groups["Finding 1"])["Probability of cancer"] == 25
    assert numbers(groups["Finding 1"])["Mean diameter of the solid part"] == 3.14
    assert "Probability of cancer" not in numbers(groups["Finding 2"])
    assert "Certainty of Finding" not in numbers(groups["Opacity A"])


@every_geometry
def test_the_axes_are_drawn_where_they_were_measured(written: Written, geometry: str) -> None:
    case, out = written(geometry)
    images = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, case.path.iterdir())}
    groups = groups_of(out)
    for name, found in lesions(case):
        lines = found.measurement.drawn[NORMALS.get(geometry, 0)]
        group = groups[f"{name}, axes on this image"]
        assert list(numbers(group).values()) == [lines.long_axis_mm, lines.short_axis_mm]
        for line, ends in zip(
            items(group, "SCOORD"), (lines.long_ends_irc, lines.short_ends_irc), strict=True
        ):
            image = images[
                line.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            ]
            in_image = np.reshape(line.GraphicData, (2, 2))
            assert ((in_image > 0) & (in_image < [image.Columns, image.Rows])).all()
            drawn = hd.spatial.ImageToReferenceTransformer.for_image(image)(in_image)
            assert np.abs(drawn - case.scan.geometry.xyz_from_irc(ends)).max() < APART_MM


def change_of(verdict: str, finding: str | None, tracking: str, **values: Any) -> ReportedChange:
    """A change with some values; the others are not known."""
    unknown = dict.fromkeys(
        (
            *("volume_mm3", "prior_volume_mm3", "volume_change", "volume_change_low"),
            *("volume_change_high", "diameter_mm", "prior_diameter_mm", "growth_mm"),
            "doubling_days",
        )
    )
    fixed = {"verdict": verdict, "finding": finding, "tracking_id": tracking}
    places = {"center_lps_mm": (1, 2, 3), "prior_center_lps_mm": (4, 5, 6), "surroundings_fit": 0.9}
    seen = {"prior_finding": "1", "measured": False, "prior_measured": False}
    return ReportedChange(**{**unknown, **fixed, **places, **seen, **values})


def test_growth_stands_with_each_lesion_and_what_is_gone_has_a_group(
    written: Written, run_tool: Callable[..., str], tmp_path: Path
) -> None:
    case, _ = written("axial")
    ids = [f"{k:032x}" for k in (7, 8, 9)]
    grown = {"prior_volume_mm3": 100.5, "volume_change": 50.2, "growth_mm": 0.9}
    prior = ReportedPrior(
        series_uid="1.2.3",
        content_hash="ab",
        days=182,
        lung_overlap=0.9,
        places_found=0.9,
        findings=2,
        warnings=("Partial prior.",),
        changes=(
            change_of("grown", "1", ids[0], doubling_days=311.1, **grown),
            change_of("new", "2", ids[1]),
            change_of("gone", None, ids[2], prior_volume_mm3=88.0),
        ),
    )
    content = replace(document(case.scan, case.findings), prior=prior)
    for name, write in dicom_writers(case.scan, case.findings, content, case.results).items():
        write(tmp_path / name)
    groups = groups_of(tmp_path)
    told = numbers(groups["Finding 1"])
    assert told["Volume in the prior scan"] == 100.5
    assert told["Change of volume since the prior scan"] == 50.2
    assert told["Growth of mean diameter"] == 0.9
    assert told["Volume doubling time"] == 311.1
    assert "Volume doubling time" not in numbers(groups["Finding 2"])
    gone = groups["Finding 1 of the prior scan"]
    assert numbers(gone) == {"Volume in the prior scan": 88.0}
    uids = [next(items(g, "UIDREF")).UID for g in (groups["Finding 1"], groups["Finding 2"], gone)]
    assert uids == ["2.25.7", "2.25.8", "2.25.9"]
    words = [
        next(i for i in items(group, "CODE") if concept(i) == "Change since the prior scan")
        .ConceptCodeSequence[0]
        .CodeValue
        for group in (groups["Finding 1"], groups["Finding 2"], gone)
    ]
    assert words == ["GROWN", "NEW", "GONE"]
    searched = groups["Lungs searched"].ContentSequence
    texts = [item.TextValue for item in searched if concept(item) == "Comment"]
    assert {"Compared with series 1.2.3, 182 days before.", "Partial prior."} <= set(texts)
    said = run_tool("dciodvfy", tmp_path / "measurements.sr.dcm")
    assert [line for line in said.splitlines() if line.startswith("Error")] == []
    assert "E: " not in run_tool("dsrdump", tmp_path / "measurements.sr.dcm")


def test_each_number_says_how_it_was_got(written: Written) -> None:
    """OHIF stops at a number with nothing below it, and then shows no measurement at all."""
    _, out = written("axial")
    sr = pydicom.dcmread(out / "measurements.sr.dcm")
    measured = next(i for i in sr.ContentSequence if concept(i) == "Imaging Measurements")
    assert [concept(item) for item in items(measured, "NUM") if "ContentSequence" not in item] == []


def test_the_search_and_its_limits_are_told(written: Written) -> None:
    case, out = written("axial")
    group = groups_of(out)["Lungs searched"]
    texts = [item.TextValue for item in group.ContentSequence if concept(item) == "Comment"]
    assert any("Not a medical device" in text for text in texts)
    assert {"For tests.", "Partial scan."} <= set(texts)
    volumes = [float(i.MeasuredValueSequence[0].NumericValue) for i in items(group, "NUM")]
    assert volumes == [2001.3, 1800.0]
    ended = next(i for i in items(group, "CODE") if concept(i).startswith("Outcome"))
    assert ended.ConceptCodeSequence[0].CodeValue == "OPACITY"
    assert case.findings.status == "opacity"


def test_segments_and_groups_share_their_tracking_uid(written: Written) -> None:
    _, out = written("axial")
    seg = hd.seg.segread(out / "nodules.seg.dcm")
    for k in (1, 2, 3):
        segment = seg.get_segment_description(k)
        group = groups_of(out)[segment.segment_label]
        assert segment.tracking_uid == next(items(group, "UIDREF")).UID
        referred = next(i for i in items(group, "IMAGE") if concept(i) == "Referenced Segment")
        assert referred.ReferencedSOPSequence[0].ReferencedSegmentNumber == k
        assert referred.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == seg.SOPInstanceUID


def test_the_software_and_its_weights_are_named(written: Written) -> None:
    _, out = written("axial")
    seg = hd.seg.segread(out / "nodules.seg.dcm")
    algorithm = seg.get_segment_description(1).algorithm_identification
    assert (algorithm.name, algorithm.version) == ("luna", luna.__version__)
    assert "ab" * 32 in str(algorithm.parameters)
    texts = [i.TextValue for i in items(groups_of(out)["Finding 1"], "TEXT")]
    assert any("cd" * 32 in text for text in texts)


@pytest.mark.parametrize("name", ["nodules.seg", "measurements.sr", "key-1.sc", "report.pdf"])
@every_geometry
def test_dciodvfy_finds_no_error(
    written: Written, run_tool: Callable[..., str], geometry: str, name: str
) -> None:
    _, out = written(geometry)
    if not (out / f"{name}.dcm").exists():
        assert geometry not in WITH_PAGES
        return
    said = run_tool("dciodvfy", out / f"{name}.dcm")
    kind = {"seg": "Segmentation", "sr": "ComprehensiveSR", "sc": "SCImage"}
    assert kind.get(name.split(".")[1], "EncapsulatedPDF") in said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_dcmtk_reads_them(written: Written, run_tool: Callable[..., str]) -> None:
    _, out = written("feet first")
    tree = run_tool("dsrdump", out / "measurements.sr.dcm")
    assert "E: " not in tree
    assert '"Tracking Identifier")="Finding 1">' in tree
    assert "SCOORD" in tree
    dumped = run_tool("dcmdump", out / "nodules.seg.dcm")
    assert "E: " not in dumped
    assert "[Opacity A]" in dumped


def test_key_images_and_the_pdf_hold_what_they_should(
    written: Written, run_tool: Callable[..., str], tmp_path: Path
) -> None:
    _, out = written("axial")
    assert sorted(p.name for p in out.glob("key-*")) == [f"key-{k}.sc.dcm" for k in "12A"]
    picture = pydicom.dcmread(out / "key-1.sc.dcm").pixel_array
    assert picture.shape[2] == 3
    assert np.ptp(picture.astype(int), axis=2).max() > 150  # the outline has a colour
    wrapped = pydicom.dcmread(out / "report.pdf.dcm")
    pdf = tmp_path / "report.pdf"
    pdf.write_bytes(wrapped.EncapsulatedDocument[: wrapped.EncapsulatedDocumentLength])
    text = " ".join(run_tool("pdftotext", "-layout", pdf, "-").split())
    assert "Müller" not in text
    for words in every_number(out):
        assert words in text, words


def every_number(out: Path) -> Iterator[str]:
    """The numbers of report.json's findings and opacities, as plain decimals."""
    content: dict[str, Any] = json.loads((out / "report.json").read_text())
    for one in (*content["findings"], *content["opacities"]):
        for value in one.values():
            for number in value if isinstance(value, list) else [value]:
                if isinstance(number, float):
                    yield f"{number:.6f}".rstrip("0").removesuffix(".")
                elif isinstance(number, int) and not isinstance(number, bool):
                    yield str(number)
