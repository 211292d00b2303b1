"""Recipes: what the configs say, and what a job takes from a prepared cohort."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from luna.data.augment import AugmentConfig
from luna.data.prep.manifest import MANIFEST
from luna.data.sampling import SamplingConfig
from luna.data.splits import SplitConfig
from luna.phantom.config import PhantomConfig
from luna.run.checked import read_checked, write_checked
from luna.run.config import CONFIGS, load_config
from luna.run.errors import UsageError
from luna.train.cards import _outward
from luna.train.config import TrainConfig
from luna.train.recipes import (
    ClassifierNetConfig,
    ClassifierRecipe,
    SegmenterRecipe,
    UNetConfig,
)

ROOTS = {
    "cls": ClassifierRecipe,
    "malignancy": ClassifierRecipe,
    "seg": SegmenterRecipe,
    "cohort": PhantomConfig,
}
HALF = SplitConfig(stride=4)


def load(name: str) -> object:
    return load_config(ROOTS[name.rpartition("-")[2]], Path(name))


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.toml")))
def test_every_config_says_only_what_there_is_and_differs_from_the_defaults(name: str) -> None:
    assert load(name) != ROOTS[name.rpartition("-")[2]]()


def test_the_book_trains_its_classifier_so() -> None:
    """Chapter 14: its SGD and batches, an epoch of 200,000 in turn, every tenth series apart."""
    recipe = load("book-cls")
    assert recipe.network == ClassifierNetConfig()
    assert recipe.split == SplitConfig(method="stride", stride=10)
    assert recipe.sampling == SamplingConfig(samples_per_epoch=200_000, negatives_per_positive=1)
    # A tenth of half the crop, and turns of any size.
    assert recipe.augment == AugmentConfig(
        flip=True, offset=0.05, scale=0.2, rotate_degrees=180, noise_hu=25
    )
    train = recipe.train
    assert (train.optimizer, train.learning_rate, train.momentum) == ("sgd", 1e-3, 0)
    assert (train.batch_size, train.weight_decay, train.validate_every) == (24, 1e-4, 5)
    assert train.hu_window == (-1000, 1000)
    assert_plain(train)


def test_the_book_trains_its_unet_so() -> None:
    """Chapter 13: Adam, batches of 16, random 64×64 of the 96×96 around a nodule."""
    recipe = load("book-seg")
    assert recipe.network == UNetConfig(depth=3, width=16)
    assert recipe.background == (1, 0)
    assert recipe.split == SplitConfig(method="stride", stride=10)
    assert recipe.sampling == SamplingConfig(samples_per_epoch=300_000)
    assert recipe.augment == AugmentConfig(
        flip=True, offset=0.015, scale=0.2, rotate_degrees=180, noise_hu=25, crop_vox=64
    )
    train = recipe.train
    # AdamW without decay is Adam.
    assert (train.optimizer, train.learning_rate, train.weight_decay) == ("adamw", 1e-3, 0)
    assert (train.batch_size, train.validate_every) == (16, 5)
    assert_plain(train)


def assert_plain(train: TrainConfig) -> None:
    """None of what the book does without."""
    assert (train.schedule, train.warmup, train.clip_norm) == ("constant", 0, None)
    assert (train.precision, train.channels_last, train.best_by) == ("float32", False, "auto")


def test_a_nodule_job_trains_and_validates_on_different_series(small_cache: Path) -> None:
    sampling = SamplingConfig(negatives_per_positive=2, samples_per_epoch=30)
    job = ClassifierRecipe(split=HALF, sampling=sampling).job(small_cache)
    assert len(job.data.train) == 39
    assert len(job.data.validation) == 13
    hu, _ = job.data.train.read([0, 5])
    assert hu.shape == (2, 1, 32, 48, 48)
    order = job.data.order(0)
    labels = job.data.train.read(order.tolist())[1]
    assert labels.sum() == len(order) / 3
    assert "3 series to train, 1 to validate" in job.card.training_data
    assert (job.card.architecture, job.task.role) == ("classifier", "nodule")


def test_series_that_wait_for_their_patients_are_counted(small_cache: Path, tmp_path: Path) -> None:
    cache = Path(shutil.copytree(small_cache, tmp_path / "cache"))
    manifest = read_checked(cache / MANIFEST)
    manifest["series"].append("1.2.3.9")  # not on disk
    manifest["patient_of"] = {"1.2.3.1": "p", "1.2.3.9": "p"}
    write_checked(cache / MANIFEST, manifest)
    folds = SplitConfig(method="folds", stride=4, test_fold=3)
    told = ClassifierRecipe(split=folds).job(cache).card.training_data
    assert "1 series to train, 1 left out for their patients, 1 to validate" in told


def without(cache: Path, *uids: str) -> Path:
    """The cache, as if these scans had never been prepared."""
    manifest = read_checked(cache / MANIFEST)
    for uid in uids:
        del manifest["records"][uid]
    write_checked(cache / MANIFEST, manifest)
    return cache


@pytest.mark.parametrize("recipe", [ClassifierRecipe(split=HALF), SegmenterRecipe(split=HALF)])
def test_only_series_that_are_prepared_are_said_to_train(
    recipe: ClassifierRecipe | SegmenterRecipe, small_cache: Path, tmp_path: Path
) -> None:
    cache = without(Path(shutil.copytree(small_cache, tmp_path / "cache")), "1.2.3.1", "1.2.3.2")
    told = recipe.job(cache).card.training_data
    assert told.startswith("cache: 1 series to train (of 3; 2 not prepared), 1 to validate (")


def test_a_malignancy_job_is_judged_on_nodules_alone(small_cache: Path) -> None:
    sampling = SamplingConfig(samples_per_epoch=40)
    job = ClassifierRecipe(task="malignancy", split=HALF, sampling=sampling).job(small_cache)
    assert job.data.validation.read([0, 1, 2, 3])[1].tolist() == [0, 1, 0, 1]
    assert len(job.data.validation) == 4
    order = job.data.order(3)
    assert job.data.train.read(order.tolist())[1].sum() == len(order) / 2


def test_a_segmentation_job_takes_crops_and_judges_whole_slices(small_cache: Path) -> None:
    network = UNetConfig(depth=5, width=2, erosion="slice")
    job = SegmenterRecipe(split=HALF, network=network).job(small_cache)
    assert job.card.erosion == "slice"
    hu, mask = job.data.train.read([0])
    assert hu.shape == (1, 7, 96, 96)
    assert mask.shape == (1, 1, 96, 96)
    assert mask[0, 0, 44:52, 44:52].any()
    whole, truth = job.data.validation.read([0])
    assert whole.shape == (1, 7, 96, 128)
    assert truth.any()
    assert job.net(whole.float()).shape == truth.shape


def test_slices_are_padded_to_what_the_network_halves(small_cache: Path) -> None:
    recipe = SegmenterRecipe(split=HALF, network=UNetConfig(depth=6, width=1))
    whole, _ = recipe.job(small_cache).data.validation.read([0])
    assert whole.shape == (1, 7, 96, 128)
    deep = replace(recipe, network=UNetConfig(depth=4, width=1))
    assert deep.network.alignment == 8


def test_equal_seeds_take_equal_samples(small_cache: Path) -> None:
    recipe = ClassifierRecipe(split=HALF)
    first, second = (recipe.job(small_cache).data.order(2) for _ in range(2))
    assert np.array_equal(first, second)
    other = replace(recipe, train=TrainConfig(seed=1)).job(small_cache).data.order(2)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ClassifierRecipe(unfreeze=0),
        lambda: ClassifierNetConfig(widths=()),
        lambda: ClassifierNetConfig(widths=(2,) * 6),
        lambda: UNetConfig(depth=7),
        lambda: UNetConfig(width=0),
        lambda: SegmenterRecipe(background=(0, 1)),
        lambda: SegmenterRecipe(cross_entropy_weight=-1.0),
        lambda: SegmenterRecipe(augment=AugmentConfig(crop_vox=62)),
    ],
)
def test_what_no_network_can_be_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError):
        wrong()


@pytest.mark.parametrize("recipe", [ClassifierRecipe(split=HALF), SegmenterRecipe(split=HALF)])
def test_the_card_states_what_the_network_is_trained_for(
    recipe: ClassifierRecipe | SegmenterRecipe, small_cache: Path
) -> None:
    card = recipe.job(small_cache).card
    assert card.diameter_mm == (10.0, 15.0)  # the nodules of radius 2 and 3 voxels of 2.5 mm
    assert card.slice_mm == card.pixel_mm == (2.5, 2.5)


def test_a_range_holds_the_lengths_that_it_is_made_of() -> None:
    assert _outward([0.703125, 0.0, 1.2500001]) == (0.7, 1.26)
    assert _outward([0.001]) == (0.01, 0.01)
    assert _outward([0.0]) is None
