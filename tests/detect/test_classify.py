"""Crops of one voxel size: what a classifier saw in training is what it sees in diagnosis."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from luna.ct.read import read_scan
from luna.ct.resample import cubes_of
from luna.data.chunks import CandidateChunks
from luna.data.luna16.folder import read_luna16
from luna.data.prep.cohort import prep
from luna.data.prep.config import CUBE_IRC, PrepConfig
from luna.data.prepared import Prepared, open_prepared
from luna.detect.classify import classify
from luna.detect.config import ClassifyConfig
from luna.nets.bundle import Bundle
from luna.phantom.cohort import write_cohort
from luna.phantom.config import PhantomConfig
from luna.run.errors import UsageError

CPU = torch.device("cpu")
SPACING_MM = 2.5
CUBES = cubes_of(CUBE_IRC, SPACING_MM, (), antialias=False)


class Recorder(nn.Module):
    """Keeps what it is shown."""

    input_size = CUBE_IRC

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []
        self.reduced = False

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        self.seen.append(hu.clone())
        self.reduced |= torch.is_autocast_enabled("cpu")
        return torch.zeros(len(hu), 2)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("cohort")
    config = PhantomConfig(size=96, slab_mm=50, without_nodules=0, negatives=(6, 6))
    write_cohort(root / "data", 1, 5, config)
    return root


def prepared(root: Path, name: str, config: PrepConfig) -> Prepared:
    prep(read_luna16(root / "data"), root / name, config, workers=1)
    return open_prepared(root / name)


def test_training_and_diagnosis_show_the_same_cubes(cohort, models) -> None:
    data = prepared(cohort, "cubes", PrepConfig(spacing_mm=SPACING_MM))
    rows = np.arange(len(data.candidates.series))
    hu, _ = CandidateChunks(data, rows, np.zeros(len(rows), np.int64), CUBES).read(rows)
    (path,) = read_luna16(cohort / "data").files.values()
    recorder = Recorder()
    card = replace(models.nodule.card, spacing_mm=SPACING_MM)
    classify(
        read_scan(path),
        data.candidates.center_irc,
        Bundle(card, recorder),
        ClassifyConfig(),
        CPU,
        lambda done, total: None,
    )
    shown = torch.cat(recorder.seen)
    assert len(shown) == len(hu) > 5
    assert torch.equal(shown, hu.float().clamp(*card.hu_window))


def test_cubes_that_were_not_prepared_are_refused_by_name(cohort) -> None:
    data = prepared(cohort, "plain", PrepConfig())
    with pytest.raises(UsageError, match=r"chunks of 2\.5 mm") as caught:
        CandidateChunks(data, np.arange(1), np.zeros(1, np.int64), CUBES)
    assert "--set spacing_mm=2.5" in str(caught.value.hint)


class Lopsided(nn.Module):
    """Sure of a "yes" by the HU of the first voxel."""

    input_size = (8, 8, 8)

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.zeros(len(hu)), hu[:, 0, 0, 0, 0] / 100], dim=1)


class Counting(Lopsided):
    """The same, and counts the crops that it is shown."""

    crops = 0

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        self.crops += len(hu)
        return super().forward(hu)


def judged(scan, center_irc: np.ndarray, bundle: Bundle) -> np.ndarray:
    return classify(scan, center_irc, bundle, ClassifyConfig(), CPU, lambda done, total: None)


def test_mirrored_cards_judge_by_the_mean_over_mirror_images(scan_of, models) -> None:
    hu = np.random.default_rng(0).integers(-200, 200, (8, 8, 8))
    card = replace(models.nodule.card, mirrored=True)
    center = np.array([[4.0, 4.0, 4.0]])
    p = classify(
        scan_of(hu), center, Bundle(card, Lopsided()), ClassifyConfig(),
        CPU, lambda done, total: None,
    )  # fmt: skip
    corners = [hu[0, 0, 0], hu[-1, 0, 0], hu[0, -1, 0], hu[0, 0, -1]]
    assert p == pytest.approx(1 / (1 + np.exp(-np.mean(corners) / 100)))


def test_mirror_images_of_what_the_first_view_clears_are_not_computed(scan_of, models) -> None:
    hu = np.full((8, 8, 24), 100)
    hu[:, :, 8:16] = -600  # cleared: the first view says 1 / (1 + e^6)
    hu[0, 0, 7], hu[0, 0, 15] = -600, 900  # what only a mirror image shows
    centers = np.array([[4.0, 4.0, 4.0], [4.0, 4.0, 12.0], [4.0, 4.0, 20.0]])
    card = replace(models.nodule.card, mirrored=True)
    net = Counting()
    p = judged(scan_of(hu), centers, Bundle(card, net))
    assert net.crops == 3 + 2 * 3
    expected = [np.mean([1, 1, 1, -6]), -6, 1]
    assert p == pytest.approx(1 / (1 + np.exp(-np.array(expected))))
    alone = [judged(scan_of(hu), centers[k : k + 1], Bundle(card, net))[0] for k in range(3)]
    np.testing.assert_array_equal(p, alone)


@pytest.mark.parametrize("native", [True, False])
def test_a_score_does_not_depend_on_the_hardware_s_arithmetic(
    scan_of, models, monkeypatch, native: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: native)
    seen = Recorder()
    judged(scan_of(np.zeros((40, 40, 40))), np.full((3, 3), 20.0), Bundle(models.nodule.card, seen))
    assert [hu.dtype for hu in seen.seen] == [torch.float32]
    assert not seen.reduced


def test_sure_candidates_keep_their_order(scan_of, models) -> None:
    hu = np.zeros((8, 8, 24))
    hu[:, :, 8:16], hu[:, :, 16:] = 900, 1000
    centers = np.array([[4.0, 4.0, 4.0], [4.0, 4.0, 12.0], [4.0, 4.0, 20.0]])
    card = replace(models.nodule.card, temperature=0.4)  # margins of 0, 22.5 and 25
    p = classify(
        scan_of(hu), centers, Bundle(card, Lopsided()), ClassifyConfig(),
        CPU, lambda done, total: None,
    )  # fmt: skip
    assert p[0] < p[1] < p[2] < 1


def test_cubes_of_several_scales_are_those_of_training_to_the_bit(cohort, models) -> None:
    cubes = cubes_of(CUBE_IRC, None, (24.0, 40.0, 96.0), antialias=True)
    spacing_mm = np.ceil(cubes.prepared_mm * 1000) / 1000
    data = prepared(cohort, "scales", PrepConfig(spacing_mm=spacing_mm))
    rows = np.arange(len(data.candidates.series))
    hu, _ = CandidateChunks(data, rows, np.zeros(len(rows), np.int64), cubes).read(rows)
    (path,) = read_luna16(cohort / "data").files.values()
    recorder = Recorder()
    card = replace(models.nodule.card, scales_mm=(24.0, 40.0, 96.0), antialias=True)
    judged(read_scan(path), data.candidates.center_irc, Bundle(card, recorder))
    shown = torch.cat(recorder.seen)
    assert shown.shape == (len(rows), 3, *CUBE_IRC)
    assert torch.equal(shown, hu.float().clamp(*card.hu_window))
