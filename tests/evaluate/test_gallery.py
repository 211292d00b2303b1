"""The pictures of an evaluation show the places that the tables name."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from luna.evaluate.pages.gallery import FIELD_MM, MARK_RING_MM, PIXELS, galleries
from luna.run.nodules import NO_NODULES, UNKNOWN, Nodules
from luna.score.evaluation import EvaluationConfig, score_detections
from luna.score.marks import Cohort, Marks

NODULE_XYZ, FALSE_XYZ = (-40.0, 10.0, 30.0), (45.0, -20.0, 12.0)
UIDS = ("1.2.1", "1.2.2", "1.2.3")
SPACING = (1.0, 1.0, 3.0)
GREY = 40


def write_scan(path: Path) -> Path:
    """Air with one voxel column of tissue at each of the two places."""
    hu = np.full((24, 160, 160), -1000, dtype=np.int16)
    for x, y, z in (NODULE_XYZ, FALSE_XYZ):
        row, column, index = round(y + 80), round(x + 80), round(z / SPACING[2])
        hu[index, row - 1 : row + 2, column - 1 : column + 2] = 300
    image = sitk.GetImageFromArray(hu)
    image.SetOrigin((-80.0, -80.0, 0.0))
    image.SetSpacing(SPACING)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scans")
    return {uid: write_scan(folder / f"{uid}.mhd") for uid in UIDS[:2]}


def scored(diameter_mm: float = 12.0, p: float = 0.75):
    """A nodule without a mark in the first scan, and a false mark in each of the others."""
    nodules = Nodules(
        series=np.array([0]), center_xyz=np.array([NODULE_XYZ]),
        diameter_mm=np.array([diameter_mm]), malignant=np.array([UNKNOWN], dtype=np.int8),
        line=np.array([2]), kind=("part-solid",),
    )  # fmt: skip
    marks = Marks(
        series=np.array([1, 2]), center_xyz=np.array([FALSE_XYZ] * 2), p_nodule=np.array([p, 0.5])
    )
    cohort = Cohort(series_uids=UIDS)
    return score_detections(cohort, marks, nodules, NO_NODULES, config=EvaluationConfig(samples=0))


def pixels_of(picture) -> np.ndarray:
    head, _, data = picture.image.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(BytesIO(base64.b64decode(data))))


def test_the_lost_nodule_and_the_false_mark_are_in_the_middle(files) -> None:
    lost, false = galleries(scored(), files)
    assert len(lost.pictures) == len(false.pictures) == 1  # there is no file of the third scan
    for gallery in (lost, false):
        shown = pixels_of(gallery.pictures[0]).astype(float)
        assert shown.shape == (PIXELS, PIXELS)
        bright = np.argwhere(shown > shown.max() / 2)
        assert np.allclose(bright.mean(axis=0), (PIXELS - 1) / 2, atol=2.5)
        # Three voxels of 1 mm in a field of 60 mm.
        assert np.ptp(bright, axis=0) == pytest.approx(3 * PIXELS / FIELD_MM, abs=5)


def test_rings_and_bars_are_to_scale(files) -> None:
    lost, false = galleries(scored(), files)
    assert lost.pictures[0].ring_radius == pytest.approx(12 / 2 * PIXELS / FIELD_MM)
    assert false.pictures[0].ring_radius == pytest.approx(MARK_RING_MM / 2 * PIXELS / FIELD_MM)
    assert lost.pictures[0].scale_bar == pytest.approx(10 * PIXELS / FIELD_MM)
    wide, _ = galleries(scored(diameter_mm=40.0), files)
    field_mm = 2.5 * 40
    assert wide.pictures[0].ring_radius == pytest.approx(20 * PIXELS / field_mm)
    assert wide.pictures[0].scale_bar == pytest.approx(10 * PIXELS / field_mm)


def test_captions_say_what_and_where(files) -> None:
    lost, false = galleries(scored(), files)
    assert lost.pictures[0].caption == (
        "12.0 mm, part-solid: no mark", UIDS[0], "-40.0, 10.0, 30.0",
    )  # fmt: skip
    assert false.pictures[0].caption == ("p = 0.7500", UIDS[1], "45.0, -20.0, 12.0")
    assert "lost" in lost.title
    assert "false" in false.title


def test_without_scans_there_are_no_pictures() -> None:
    assert galleries(scored(), {}) == ()
