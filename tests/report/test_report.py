"""The report says what the findings say, in the right place, and nothing about the patient."""

import base64
import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from luna.ct.geometry import Geometry
from luna.detect.findings import (
    Findings,
)
from luna.nets.trained import TrainedRange
from luna.report.document import document
from luna.report.figures import key_images, outline_path, windowed
from luna.report.html import PICTURED_MAX
from luna.report.write import write_report
from luna.run.errors import EnvironmentFault

MARKUP = "<script>alert('x')</script>"


def nothing(findings: Findings) -> Findings:
    return replace(findings, findings=())


def image_of(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))))


def test_writes_these_files_and_no_others(scan, findings, tmp_path: Path) -> None:
    written = write_report(scan, findings, tmp_path / "new" / "report")
    assert sorted(p.name for p in written) == sorted(
        p.name for p in (tmp_path / "new" / "report").iterdir()
    )
    assert {p.name for p in written} == {
        "report.html",
        "report.json",
        "nodules.csv",
        "detections.csv",
        "nodules.nii.gz",
    }


def test_a_report_that_is_not_finished_holds_nothing_of_an_earlier_one(
    scan, findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(scan, findings, tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("luna.report.write._write_nodules", killed)
    with pytest.raises(KeyboardInterrupt):
        write_report(scan, nothing(findings), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["nodules.nii.gz"]


def test_json_holds_places_in_every_convention(scan, findings, tmp_path: Path) -> None:
    write_report(scan, findings, tmp_path)
    values = json.loads((tmp_path / "report.json").read_text())
    assert (values["schema"], values["status"]) == ("luna-report/1", "findings")
    (one,) = values["findings"]
    assert (one["slice_index"], one["slice_number"], one["image_number"]) == (13, 14, 47)
    assert one["center_lps_mm"] == [8.5, 4.5, 126.0]
    assert one["center_ras_mm"] == [-8.5, -4.5, 126.0]
    assert values["looked_at"]["slices"] == 20
    assert values["scan"]["slice_order"] == "F to H"


def test_every_field_is_documented(scan, with_opacity, findings) -> None:
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    values = document(scan, with_opacity(findings), include_phi=True).json_values()
    names = set(values)
    for part in ("scan", "looked_at", "trained_for"):
        names |= set(values[part])
    names |= set(values["findings"][0]) | set(values["opacities"][0])
    assert not [name for name in sorted(names) if f"`{name}`" not in page]


def test_an_opacity_has_the_place_and_size_of_a_finding_in_the_same_order(
    scan, findings, with_opacity
) -> None:
    values = document(scan, with_opacity(findings)).json_values()
    names, lettered = list(values["findings"][0]), list(values["opacities"][0])
    assert names[:4] == ["number", "p_nodule", "p_malignant", "side"]
    assert lettered == ["letter", *names[3 : names.index("kind")]]
    assert names[-1] == "lobe"


def test_csv_rows(scan, findings, tmp_path: Path) -> None:
    write_report(scan, findings, tmp_path)
    with (tmp_path / "nodules.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["series_uid"], row["number"], row["side"]) == ("1.2.3.4", "1", "left")
    assert (row["center_lps_mm_x"], row["diameter_mm"]) == ("8.5", "5.6")
    with (tmp_path / "detections.csv").open() as stream:
        marks = list(csv.reader(stream))
    assert marks[0] == ["seriesuid", "coordX", "coordY", "coordZ", "probability"]
    # One mark a nodule: the second candidate is a fragment of the first.
    assert [row[4] for row in marks[1:]] == ["0.9", "0.1"]


@pytest.mark.parametrize(
    "direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (1, 0, 0, 0, 0.8, 0.6, 0, -0.6, 0.8)]
)
def test_label_mask_lies_where_the_finding_is(scan, findings, tmp_path: Path, direction) -> None:
    geometry = Geometry(scan.geometry.origin_xyz, scan.geometry.spacing_xyz, direction)
    write_report(replace(scan, geometry=geometry), findings, tmp_path)
    image = sitk.ReadImage(str(tmp_path / "nodules.nii.gz"))
    labels = sitk.GetArrayFromImage(image)
    assert labels.sum() == 3 * 4 * 6
    place = image.TransformContinuousIndexToPhysicalPoint((28.5, 19.5, 13.0))
    np.testing.assert_allclose(place, geometry.xyz_from_irc((13, 19.5, 28.5)), atol=1e-3)


def test_the_more_probable_finding_wins_shared_voxels(
    scan, finding, findings, tmp_path: Path
) -> None:
    two = replace(findings, findings=(finding(1, 0.9), finding(2, 0.6)))
    write_report(scan, two, tmp_path)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "nodules.nii.gz")))
    assert set(np.unique(labels)) == {0, 1}


def test_nothing_found_is_said_and_looks_different(scan, findings, tmp_path: Path) -> None:
    write_report(scan, findings, tmp_path / "a")
    write_report(scan, nothing(findings), tmp_path / "b")
    some, none = ((tmp_path / d / "report.html").read_text() for d in "ab")
    assert "Looked, and found nothing" in none
    assert 'class="status clear"' in none
    assert "Looked, and found nothing" not in some
    assert "Looked at all 20 slices" in none
    assert json.loads((tmp_path / "b" / "report.json").read_text())["findings"] == []


def status_of(page: str) -> str:
    """The word on the result's card: what a reader without colour sees."""
    (word,) = re.findall(r'<span class="word">(.*?)</span>', page)
    return word


@pytest.mark.parametrize("limits", [(), ("Slices are 9 mm apart.",)])
@pytest.mark.parametrize("opacity", [False, True])
@pytest.mark.parametrize("found", [False, True])
def test_status_is_one_word_and_only_clear_is_green(
    scan,
    with_opacity,
    findings,
    tmp_path: Path,
    found: bool,
    opacity: bool,
    limits: tuple[str, ...],
) -> None:
    case = findings if found else nothing(findings)
    case = with_opacity(case) if opacity else case
    write_report(scan, replace(case, limits=limits), tmp_path)
    page = (tmp_path / "report.html").read_text()
    status = json.loads((tmp_path / "report.json").read_text())["status"]
    expected = "opacity" if opacity else "findings" if found else "limited" if limits else "clear"
    assert status == expected
    assert f'class="status {expected}"' in page
    words = {
        "opacity": "Opacity",
        "findings": "Findings",
        "limited": "Limited",
        "clear": "Nothing found",
    }
    assert status_of(page) == words[expected]
    assert ("Looked, and found nothing" in page) == (expected == "clear")
    assert all(limit in page for limit in limits)


def test_an_opacity_is_shown_with_its_place_size_and_pictures(
    scan, with_opacity, findings, tmp_path: Path
) -> None:
    write_report(scan, with_opacity(nothing(findings)), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Opacity A · left lung · slice 18 of 20 (image 43)" in page
    assert "62 × 4 mm, 51 ml" in page
    assert page.count("image of opacity A") == 3
    (opacity,) = json.loads((tmp_path / "report.json").read_text())["opacities"]
    assert (opacity["letter"], opacity["side"]) == ("A", "left")
    assert opacity["center_lps_mm"] == [8.5, 4.5, 134.0]


def test_the_range_of_training_is_stated(scan, findings, tmp_path: Path) -> None:
    trained = TrainedRange(diameter_mm=(3.0, 30.0), slice_mm=(0.6, 2.5))
    write_report(scan, replace(findings, trained=trained), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "nodules of 3 to 30 mm, slices 0.6 to 2.5 mm apart" in page
    assert "pixels of not stated" in page
    values = json.loads((tmp_path / "report.json").read_text())["trained_for"]
    assert values == {"diameter_mm": [3.0, 30.0], "slice_mm": [0.6, 2.5], "pixel_mm": None}


def test_pictures_and_rows_of_a_page_are_bounded_and_it_is_said(
    scan, with_opacity, finding, findings, tmp_path: Path
) -> None:
    many = tuple(finding(k) for k in range(1, 601))
    counted: list[tuple[object, ...]] = []
    case = with_opacity(replace(findings, findings=many))
    write_report(scan, case, tmp_path, progress=lambda *step: counted.append(step))
    page = (tmp_path / "report.html").read_text()
    assert page.count("axial image of") == PICTURED_MAX
    assert "Only 29 of 600 findings have key images" in page
    assert "The table shows 500 of 600 findings" in page
    assert len(page) < 6e6
    with (tmp_path / "nodules.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 600
    total = PICTURED_MAX + 1  # the slices of the scan are one more
    assert counted == [*[("report", k, total) for k in range(total)], ("report", 1, 1)]


def test_long_texts_of_a_file_are_cut(scan, findings, tmp_path: Path) -> None:
    source = replace(
        scan.provenance, metadata={"Manufacturer": "x" * 100_000}, phi={"PatientName": "y" * 9999}
    )
    long = replace(findings, warnings=("z" * 100_000,))
    write_report(replace(scan, provenance=source), long, tmp_path, include_phi=True)
    assert len((tmp_path / "report.json").read_text()) < 10_000


def test_page_needs_no_network_and_runs_only_its_own_script(scan, findings, tmp_path) -> None:
    write_report(scan, findings, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "Research use only" in page


def test_strings_from_files_are_escaped(scan, findings, tmp_path: Path) -> None:
    hostile = replace(findings, series_uid="</title><img src=x onerror=alert(1)>")
    write_report(scan, hostile, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert MARKUP not in page
    assert "<img src=x" not in page
    assert page.count("<script") == 2


def test_the_patient_is_named_only_on_request(scan, findings, tmp_path: Path) -> None:
    write_report(scan, findings, tmp_path / "default")
    write_report(scan, findings, tmp_path / "phi", include_phi=True)
    for name in ("report.html", "report.json", "nodules.csv", "detections.csv"):
        text = (tmp_path / "default" / name).read_text()
        assert not [value for value in (*scan.provenance.phi.values(), "DOE_JANE") if value in text]
    assert "DOE^JANE" in (tmp_path / "phi" / "report.html").read_text()
    assert "DOE^JANE" in (tmp_path / "phi" / "report.json").read_text()


def test_axial_image_shows_the_left_on_the_right_and_the_back_below(scan, finding) -> None:
    axial, coronal, sagittal = key_images(scan, finding())
    assert axial.letters == ("R", "L", "A", "P")
    assert coronal.letters == ("R", "L", "H", "F")
    assert sagittal.letters == ("A", "P", "H", "F")
    # A marker 10 mm to the patient's left of the finding and 10 mm behind it.
    hu = scan.hu.copy()
    hu[12:15, 28:30, 37:39] = 3000
    marked = replace(scan, hu=hu)
    axial = image_of(key_images(marked, finding())[0].soft_tissue)
    row, column = np.argwhere(axial > 250).mean(axis=0)
    assert row == pytest.approx(150 + 10 * 300 / 61, abs=12)
    assert column == pytest.approx(150 + 10 * 300 / 61, abs=12)
    center = np.argwhere(image_of(key_images(scan, finding())[0].soft_tissue) > 100).mean(axis=0)
    assert abs(center[0] - 150) < 6
    assert abs(center[1] - 150) < 6


def test_coronal_and_sagittal_have_the_head_up(scan, finding) -> None:
    hu = np.full_like(scan.hu, -850)
    hu[17:19] = 100  # a slab above the finding
    above = replace(scan, hu=hu)
    for image in key_images(above, finding())[1:]:
        rows = np.argwhere(image_of(image.lung) > 200)[:, 0]
        assert 0 < rows.mean() < 150


def test_scale_bar_is_ten_millimetres(scan, finding) -> None:
    for image in key_images(scan, finding()):
        # 60 mm and one voxel fill the longer side.
        assert image.scale_bar == pytest.approx(10 * image.size / 61, rel=0.04)


def test_outline_runs_along_voxel_edges() -> None:
    mask = np.zeros((3, 3), dtype=bool)
    mask[1, 1] = True
    path = outline_path(mask, (0.0, 0.0), (10.0, 10.0))
    assert sorted(re.findall(r"M[^M]+", path)) == [
        "M10.0 10.0h10.0",
        "M10.0 10.0v10.0",
        "M10.0 20.0h10.0",
        "M20.0 10.0v10.0",
    ]


def test_window() -> None:
    grey = windowed(np.array([-2000, -1350, -600, 150, 3000]), (-600, 1500))
    assert grey.tolist() == [0, 0, 128, 255, 255]


def test_unwritable_folder_is_an_environment_fault(scan, findings, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file is in the way")
    with pytest.raises(EnvironmentFault):
        write_report(scan, findings, tmp_path / "report")
    assert (tmp_path / "report").read_text() == "a file is in the way"
