"""Lobes are taken from a label volume that fits the scan, or refused with the reason."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from luna.ct.lungs.find import Lungs, find_lungs
from luna.ct.lungs.lobes import SCHEMES, Lobes, read_lobes
from luna.ct.mask import BoxMask
from luna.ct.scan import Scan
from luna.run.errors import InputError


@pytest.fixture(scope="module")
def scan(chest: Callable[..., Scan]) -> Scan:
    return chest()


@pytest.fixture(scope="module")
def lungs(scan: Scan) -> Lungs:
    return find_lungs(scan)


def labelled(scan: Scan, lungs: Lungs, names: dict[int, str]) -> np.ndarray:
    """Upper and lower halves of each lung, by the labels of a program."""
    numbers = {name: label for label, name in names.items()}
    out = np.zeros(scan.shape_irc, np.int16)
    grid = np.stack(np.meshgrid(*map(np.arange, scan.shape_irc), indexing="ij"), axis=-1)
    side = lungs.label_at(grid)
    high = grid[..., 0] >= scan.shape_irc[0] // 2
    for number, word in ((1, "right"), (2, "left")):
        out[(side == number) & high] = numbers[f"{word} upper"]
        out[(side == number) & ~high] = numbers[f"{word} lower"]
    return out


def written(labels: np.ndarray, scan: Scan, path: Path, shift_mm: float = 0.0) -> Path:
    image = sitk.GetImageFromArray(labels)
    x, y, z = scan.geometry.origin_xyz
    image.SetOrigin((x + shift_mm, y, z))
    image.SetSpacing(scan.geometry.spacing_xyz)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("scheme", SCHEMES)
def test_both_programs_labels_are_known(
    scan: Scan, lungs: Lungs, tmp_path: Path, scheme: str
) -> None:
    path = written(labelled(scan, lungs, SCHEMES[scheme]), scan, tmp_path / "lobes.nii.gz")
    lobes = read_lobes(path, scan, lungs)
    assert lobes.scheme == scheme
    at = {(18, 48, 38): "right upper", (5, 48, 38): "right lower", (18, 48, 90): "left upper"}
    for (i, r, c), name in at.items():
        assert lobes.of(BoxMask((i, r, c), np.ones((1, 2, 2), bool)), (2.5, 2.5, 2.5)) == name


def test_a_nodule_beside_the_lobes_belongs_to_the_nearest_and_far_from_all_to_none() -> None:
    labels = np.zeros((10, 20, 20), np.int32)
    labels[:, :, :8] = 3
    lobes = Lobes(labels, "lungmask")
    near = BoxMask((5, 10, 10), np.ones((1, 1, 1), bool))
    far = BoxMask((5, 10, 18), np.ones((1, 1, 1), bool))
    assert lobes.of(near, (1.0, 1.0, 1.0)) == "right upper"
    assert lobes.of(far, (1.0, 1.0, 1.0)) is None


def test_other_labels_are_refused(scan: Scan, lungs: Lungs, tmp_path: Path) -> None:
    labels = labelled(scan, lungs, SCHEMES["lungmask"])
    # Left and right changed, as a flipped file has them; and labels of other organs.
    mirrored = written(labels[:, :, ::-1].copy(), scan, tmp_path / "mirrored.nii.gz")
    with pytest.raises(InputError, match="the lobes do not fit the scan") as told:
        read_lobes(mirrored, scan, lungs)
    assert "label 1 would be the left upper lobe by lungmask" in told.value.why
    organs = written(np.where(labels > 0, 51, 0).astype(np.int16), scan, tmp_path / "organs.nii.gz")
    with pytest.raises(InputError, match="no lobes in this label volume") as told:
        read_lobes(organs, scan, lungs)
    assert "51" in told.value.why
    empty = written(np.zeros_like(labels), scan, tmp_path / "empty.nii.gz")
    with pytest.raises(InputError, match="no lobes"):
        read_lobes(empty, scan, lungs)


def test_another_grid_is_refused(scan: Scan, lungs: Lungs, tmp_path: Path) -> None:
    labels = labelled(scan, lungs, SCHEMES["lungmask"])
    off = written(labels, scan, tmp_path / "off.nii.gz", shift_mm=1.0)
    with pytest.raises(InputError, match="do not lie on the scan's voxels"):
        read_lobes(off, scan, lungs)
