"""Networks that see voxels of one size learn, and their bundles say what they see."""

from pathlib import Path

import numpy as np
import pytest
import torch

from luna.ct.lungs.find import find_lungs
from luna.ct.read import read_scan
from luna.data.augment import AugmentConfig
from luna.data.luna16.folder import read_luna16
from luna.data.prep.cohort import prep
from luna.data.prep.config import PrepConfig
from luna.data.sampling import SamplingConfig
from luna.data.splits import SplitConfig
from luna.detect.classify import classify
from luna.detect.config import ClassifyConfig, SegmentConfig
from luna.detect.segment import probabilities
from luna.nets.bundle import Bundle, load_bundle
from luna.run.errors import UsageError
from luna.train.config import TrainConfig
from luna.train.launch import start
from luna.train.networks import ClassifierNetConfig, UNetConfig
from luna.train.recipes import ClassifierRecipe, SegmenterRecipe

CPU = torch.device("cpu")
SPLIT = SplitConfig(stride=4)
TRAIN: dict = {
    "batch_size": 8, "validation_batch_size": 8, "learning_rate": 1e-2, "precision": "float32",
    "threads": 1, "decay": "matrices", "warmup": 0.1, "validate_every": 4,
}  # fmt: skip
MARKING = {"cross_entropy_weight": 10.0, "hard_share": 0.05, "false_negative_weight": 3.0}
NOT_MOVED = AugmentConfig(flip=True)


@pytest.fixture(scope="module")
def every_slice(small_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("every") / "cache"
    prep(read_luna16(small_cohort), cache, PrepConfig(slices="all"), workers=1)
    return cache


def trained(recipe, cache: Path, tmp_path: Path) -> tuple[Bundle, list[float]]:
    """The bundle of a run, and the mean loss of each of its epochs."""
    run, _ = start(recipe, cache, tmp_path, "one-scale", CPU)
    rows = np.genfromtxt(run / "losses.csv", delimiter=",", skip_header=1)
    return load_bundle(run / "bundle"), [
        float(part.mean()) for part in np.array_split(rows[:, 2], recipe.train.epochs)
    ]


def flat() -> SegmenterRecipe:
    return SegmenterRecipe(
        split=SPLIT, background=(3, 1), **MARKING,
        sampling=SamplingConfig(samples_per_epoch=64),
        augment=AugmentConfig(crop_vox=32, flip=True),
        network=UNetConfig(depth=2, width=4, spacing_mm=2.0, antialias=True),
        train=TrainConfig(epochs=4, best_by="f1", **TRAIN),
    )  # fmt: skip


def cubic(**network: object) -> SegmenterRecipe:
    return SegmenterRecipe(
        split=SPLIT, background=(1, 1), **MARKING,
        sampling=SamplingConfig(samples_per_epoch=32),
        augment=NOT_MOVED,
        network=UNetConfig(
            **{
                "architecture": "unet-3d", "depth": 2, "width": 4, "patch_vox": 16,
                "spacing_mm": 2.0, "antialias": True, **network,
            }
        ),
        train=TrainConfig(epochs=4, best_by="f1", **TRAIN),
    )  # fmt: skip


@pytest.mark.parametrize(("recipe", "size"), [(flat(), "unet"), (cubic(), "unet-3d")])
def test_segmenters_learn_and_judge_a_scan(
    recipe: SegmenterRecipe, size: str, every_slice: Path, small_cohort: Path, tmp_path: Path
) -> None:
    bundle, losses = trained(recipe, every_slice, tmp_path)
    assert losses[-1] < 0.7 * losses[0]
    card = bundle.card
    assert (card.architecture, card.spacing_mm, card.antialias) == (size, 2.0, True)
    scan = read_scan(read_luna16(small_cohort).files["1.2.3.0"])
    exact, judged = SegmentConfig(precision="float32"), 0
    for _, p_voxel in probabilities(scan, find_lungs(scan), bundle, exact, CPU):
        assert float(p_voxel.min()) < float(p_voxel.max())
        judged += p_voxel.numel()
    assert judged == np.prod([s.stop - s.start for s in find_lungs(scan).box()])


def test_a_classifier_of_three_cubes_learns_and_judges(
    every_slice: Path, small_cohort: Path, tmp_path: Path
) -> None:
    recipe = ClassifierRecipe(
        split=SPLIT,
        sampling=SamplingConfig(samples_per_epoch=32),
        augment=AugmentConfig(flip=True, offset=0.08, noise_hu=10),
        network=ClassifierNetConfig(
            architecture="residual-classifier", widths=(2, 4), scales_mm=(40.0, 60.0, 96.0),
            antialias=True, mirrored=True,
        ),
        train=TrainConfig(epochs=3, best_by="cpm", **TRAIN),
    )  # fmt: skip
    bundle, losses = trained(recipe, every_slice, tmp_path)
    assert losses[-1] < losses[0]
    assert (bundle.card.scales_mm, bundle.card.antialias) == ((40.0, 60.0, 96.0), True)
    assert 0 <= bundle.card.metrics["cpm"] <= 1
    scan = read_scan(read_luna16(small_cohort).files["1.2.3.0"])
    p = classify(
        scan, np.array([[12.0, 40.0, 34.0]]), bundle, ClassifyConfig(), CPU, lambda a, b: None
    )
    assert 0 < p[0] < 1


def test_the_best_epoch_of_a_malignancy_network_cannot_be_chosen_by_cpm(every_slice: Path) -> None:
    recipe = ClassifierRecipe(
        split=SPLIT, task="malignancy", train=TrainConfig(best_by="cpm", batch_size=4)
    )
    with pytest.raises(UsageError, match="no such metric"):
        start(recipe, every_slice, every_slice.parent / "runs", "x", CPU)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"spacing_mm": None, "antialias": False}, "spacing_mm is none"),
        ({"patch_vox": 17}, "patch_vox is 17"),
        ({"patch_vox": 2}, "patch_vox is 2"),
        ({"depth": 1}, "depth 1"),
        ({"spacing_mm": 0.01}, "spacing_mm is 0.01"),
    ],
)
def test_patches_that_no_network_takes_are_refused(network: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cubic(**network)


def test_settings_that_contradict_each_other_are_refused() -> None:
    own = {"spacing_mm": 1.0}
    for make in (
        lambda: ClassifierNetConfig(scales_mm=(24.0, 40.0)),  # the book's takes one cube
        lambda: ClassifierNetConfig(
            architecture="residual-classifier", scales_mm=(24.0,), spacing_mm=1.0
        ),
        lambda: ClassifierNetConfig(antialias=True),
        lambda: UNetConfig(antialias=True),
        lambda: SegmenterRecipe(every_slice=True, network=UNetConfig(**own)),
        lambda: SegmenterRecipe(hard_share=1.0),
        lambda: SegmenterRecipe(
            network=UNetConfig(architecture="unet-3d", **own), augment=AugmentConfig(crop_vox=64)
        ),
    ):
        with pytest.raises(UsageError):
            make()
