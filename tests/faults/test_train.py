"""Runs that are killed, stopped, short of disk or spoilt; each goes on or says why it cannot."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from luna.data.luna16.folder import read_luna16
from luna.data.prep.cohort import prep
from luna.data.prep.config import PrepConfig
from luna.train.checkpoint import (
    LAST,
    PREVIOUS,
    read_checkpoint,
    read_newest,
    write_checkpoint,
)

from .conftest import Outcome, Strike, assert_refused, by_signal
from .test_machine import mount, small_disk  # noqa: F401 - a fixture

Train = Callable[..., Outcome]

STEPS = 16
"""Two epochs of eight."""

SETTINGS = {
    "network.widths": "[2,4]",
    "split.stride": "4",
    "sampling.samples_per_epoch": "32",
    "train.epochs": "2",
    "train.batch_size": "4",
    "train.save_every": "3",
    "train.threads": "1",
}


def with_settings() -> list[str]:
    return [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture
def train(run_luna: Callable[..., Outcome], small_cache: Path, tmp_path: Path) -> Train:
    """`luna train-cls` on the small cohort, quietly, into `runs`."""

    def call(*more: object, cache: Path = small_cache, **rest: object) -> Outcome:
        return run_luna(
            *("train-cls", cache, "--runs", tmp_path / "runs", *with_settings(), *more), **rest
        )

    return call


@pytest.fixture
def resume(run_luna: Callable[..., Outcome], tmp_path: Path) -> Train:
    """Go on with the only run there is."""
    return lambda **rest: run_luna("train-cls", "--resume", the_run(tmp_path), **rest)


@pytest.fixture(scope="session")
def whole(
    nursery: Callable[[dict], int], small_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that nothing disturbed."""
    place = tmp_path_factory.mktemp("whole")
    asked = ["train-cls", small_cache, "--runs", place / "runs", *with_settings()]
    code = nursery(
        {
            "arguments": [str(word) for word in asked],
            "environment": {},
            "cwd": str(place),
            "stdout": str(place / "out"),
            "stderr": str(place / "err"),
            "strike": None,
        }
    )
    assert code == 0, (place / "err").read_text()
    return the_run(place)


def the_run(place: Path) -> Path:
    (folder,) = (place / "runs").iterdir()
    return folder


def assert_same(folder: Path, whole: Path) -> None:
    """The same losses, metrics, last state and best network, to the bit."""
    for name in ("losses.csv", "metrics.jsonl"):
        assert (folder / name).read_text() == (whole / name).read_text()
    for name in (f"checkpoints/{LAST}", "bundle/model.safetensors"):
        found, wanted = load_file(folder / name), load_file(whole / name)
        assert found.keys() == wanted.keys()
        assert all(found[key].equal(wanted[key]) for key in found), name


def losses(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "*" / "losses.csv"


# Lines of losses.csv: in the first epoch before a checkpoint and after it, in the second.
KILLED_AT = [3, pytest.param(5, marks=pytest.mark.slow), 13] + [
    pytest.param(lines, marks=pytest.mark.slow) for lines in (2, 4, 7, 9, 10, 15, 16)
]


@pytest.mark.parametrize("lines", KILLED_AT)
def test_a_killed_run_goes_on_bitwise(
    train: Train, resume: Train, whole: Path, tmp_path: Path, lines: int
) -> None:
    assert train(strike=Strike(signal.SIGKILL, losses(tmp_path), lines)).code == -signal.SIGKILL
    outcome = resume()
    assert outcome.code == 0, outcome.err
    assert_same(the_run(tmp_path), whole)


@by_signal
def test_a_stopped_run_says_how_to_go_on(
    train: Train,
    whole: Path,
    tmp_path: Path,
    run_luna: Callable[..., Outcome],
    number: int,
    code: int,
    word: str,
) -> None:
    outcome = train(strike=Strike(number, losses(tmp_path), 6))
    assert_refused(outcome, code, word)
    steps = len((the_run(tmp_path) / "losses.csv").read_text().splitlines()) - 1
    assert 5 <= steps < STEPS
    # Saved at that very step, so nothing is done twice.
    found = read_newest(the_run(tmp_path) / "checkpoints")[0].values
    assert found["epoch"] * STEPS // 2 + found["step"] == steps
    (command,) = re.findall(r"continue with: luna (.*)", outcome.err)
    assert run_luna(*command.split()).code == 0
    assert_same(the_run(tmp_path), whole)


def test_a_fine_tuned_run_goes_on_without_what_it_began_with(
    train: Train, resume: Train, whole: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(whole / "bundle", bundle)
    (tmp_path / "tuned.toml").write_text('init = "bundle"\n')
    strike = Strike(signal.SIGKILL, losses(tmp_path), 5)
    assert train("--config", "tuned.toml", strike=strike).code == -signal.SIGKILL
    assert f'init = "{bundle}"' in (the_run(tmp_path) / "config.toml").read_text()
    shutil.rmtree(bundle)
    outcome = resume()
    assert outcome.code == 0, outcome.err
    first = "blocks.0.conv1.weight"
    tuned = load_file(the_run(tmp_path) / "bundle" / "model.safetensors")
    assert tuned[first].equal(load_file(whole / "bundle" / "model.safetensors")[first])


def test_a_diverged_run_names_the_last_finite_checkpoint(train: Train, tmp_path: Path) -> None:
    outcome = train(
        *("--set", "train.learning_rate=1e30", "--set", "train.clip_norm=none"),
        *("--set", "train.save_every=1", "--set", "train.warmup=0"),
    )
    checkpoint = the_run(tmp_path) / "checkpoints" / LAST
    assert_refused(outcome, 7, "not finite", str(checkpoint), "lower learning_rate")
    weights = {k: v for k, v in load_file(checkpoint).items() if k.startswith("net/")}
    assert weights
    assert all(v.isfinite().all() for v in weights.values())


def copy_of(whole: Path, tmp_path: Path) -> Path:
    """The whole run, as it was after its first checkpoints of the second epoch."""
    folder = tmp_path / "runs" / whole.name
    shutil.copytree(whole, folder)
    return folder


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-9] ^= 64
    path.write_bytes(data)


def test_a_damaged_checkpoint_is_said_and_the_one_before_it_taken(
    resume: Train, whole: Path, tmp_path: Path
) -> None:
    folder = copy_of(whole, tmp_path)
    spoil(folder / "checkpoints" / LAST)
    outcome = resume()
    assert outcome.code == 0
    assert "the last checkpoint is damaged" in outcome.err
    assert PREVIOUS in outcome.err
    assert_same(folder, whole)


def test_a_checkpoint_that_is_gone_is_replaced_by_the_one_before(
    resume: Train, whole: Path, tmp_path: Path
) -> None:
    folder = copy_of(whole, tmp_path)
    (folder / "checkpoints" / LAST).unlink()
    assert PREVIOUS in resume().err
    assert_same(folder, whole)


def test_without_a_good_checkpoint_nothing_is_begun_anew(
    resume: Train, whole: Path, tmp_path: Path
) -> None:
    folder = copy_of(whole, tmp_path)
    for name in (LAST, PREVIOUS):
        spoil(folder / "checkpoints" / name)
    outcome = resume()
    assert_refused(outcome, 6, LAST, "damaged", "start a new run")
    assert (folder / "losses.csv").read_text() == (whole / "losses.csv").read_text()


def test_a_checkpoint_of_another_network(resume: Train, whole: Path, tmp_path: Path) -> None:
    config = copy_of(whole, tmp_path) / "config.toml"
    config.write_text(config.read_text().replace("widths = [2, 4]", "widths = [2, 6]"))
    assert_refused(resume(), 6, "another network")


def test_other_data_than_the_run_began_with(
    train: Train, resume: Train, small_cohort: Path, small_cache: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(small_cache, cache)
    assert train("--set", "train.epochs=1", cache=cache).code == 0
    prep(read_luna16(small_cohort), cache, PrepConfig(nodule_mask="book"), workers=1)
    assert_refused(resume(), 6, "not what this run began with", "fingerprint")


@pytest.mark.parametrize("name", ["config.toml", "record.json"])
def test_a_run_that_lacks_what_it_was(
    resume: Train, whole: Path, tmp_path: Path, name: str
) -> None:
    (copy_of(whole, tmp_path) / name).unlink()
    assert_refused(resume(), 3, "no run in this folder", name)


def test_a_record_that_is_spoilt(resume: Train, whole: Path, tmp_path: Path) -> None:
    record = copy_of(whole, tmp_path) / "record.json"
    for text in ('{"data": []}', "[" * 50_000, "null"):
        record.write_text(text)
        assert_refused(resume(), 6, "record cannot be read")


@pytest.mark.parametrize("name", ["losses.csv", "metrics.jsonl"])
def test_a_table_of_a_run_that_is_no_text(
    resume: Train, whole: Path, tmp_path: Path, name: str
) -> None:
    (copy_of(whole, tmp_path) / name).write_bytes(b"\xff\xfe\x00" * 100)
    assert_refused(resume(), 6, name, "cannot be read", "remove the file")


FORGERIES: tuple[tuple[str, object], ...] = (
    ("epoch", -1),
    ("epoch", "x"),
    ("epoch", 10**9),
    ("step", None),
    ("step", 10**9),
    ("best", []),
    ("best", {"auc": "high"}),
    ("optimizer", None),
    ("optimizer", {"groups": [], "plain": {}}),
    ("optimizer", {"groups": [{"params": "x"}], "plain": {"0": {"step": "x"}}}),
)


@pytest.mark.parametrize(("name", "value"), FORGERIES, ids=repr)
def test_a_forged_checkpoint(
    resume: Train, whole: Path, tmp_path: Path, name: str, value: object
) -> None:
    """The hash is right, the values are not."""
    folder = copy_of(whole, tmp_path) / "checkpoints"
    for path in (folder / LAST, folder / PREVIOUS):
        good = read_checkpoint(path)
        write_checkpoint(replace(good, values=good.values | {name: value}), path)
    assert_refused(resume(), 6, "the checkpoint")


def test_a_checkpoint_that_is_a_pipe(resume: Train, whole: Path, tmp_path: Path) -> None:
    folder = copy_of(whole, tmp_path) / "checkpoints"
    for path in (folder / LAST, folder / PREVIOUS):
        path.unlink()
        os.mkfifo(path)
    assert_refused(resume(), 6, "not a plain file")


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        ("train-cls", "augment.crop_vox=1"),
        ("train-cls", "augment.crop_vox=47"),
        ("train-cls", "train.seed=-1"),
        ("train-seg", "augment.crop_vox=1"),
        ("train-seg", "augment.crop_vox=4"),
        ("train-seg", "augment.crop_vox=100000"),
    ],
)
def test_numbers_that_no_run_can_have_leave_no_folder(
    run_luna: Train, small_cache: Path, tmp_path: Path, command: str, setting: str
) -> None:
    outcome = run_luna(command, small_cache, "--runs", tmp_path / "runs", "--set", setting)
    assert_refused(outcome, 2, setting.partition("=")[2].strip("-"))
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_leaves_the_checkpoint_before(
    run_luna: Callable[..., Outcome],
    small_cache: Path,
    tmp_path: Path,
    small_disk: Path,  # noqa: F811
) -> None:
    # A checkpoint takes 120 KB: there is room for two, not for a third while it is written.
    mount(small_disk, "remount,size=320k")
    runs = small_disk / "runs"
    outcome = run_luna("train-cls", small_cache, "--runs", runs, *with_settings())
    assert_refused(outcome, 4, "the disk is full", "free some space (0.", "MiB are left")
    (folder,) = runs.iterdir()
    checkpoint, path = read_newest(folder / "checkpoints")
    assert path.name == LAST
    assert checkpoint.values["step"] > 0
    assert not list(folder.rglob(".tmp-*"))


def test_a_run_does_not_go_on_where_the_disk_is_full(
    run_luna: Callable[..., Outcome],
    whole: Path,
    small_disk: Path,  # noqa: F811
) -> None:
    mount(small_disk, "remount,size=4m")
    folder = small_disk / whole.name
    shutil.copytree(whole, folder)
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(4096)):
            pass
    outcome = run_luna("train-cls", "--resume", folder)
    assert_refused(
        outcome, 4, "the disk is full", f"{folder.name}: the disk is full", "free some space"
    )


def test_a_file_in_the_place_of_the_folder(train: Train, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    assert_refused(train(), 4, "cannot write here", "--runs")
    assert (tmp_path / "runs").read_text() == "mine"


def test_a_device_that_is_absent(train: Train, tmp_path: Path) -> None:
    outcome = train("--device", "cuda", CUDA_VISIBLE_DEVICES="")
    assert_refused(outcome, 4, "device cuda is not there", "--device cpu")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("setting", "code", "words"),
    [
        ("train.epochs=0", 2, ("epochs is 0", "at least 1")),
        ("train.epoch=3", 2, ("train.epoch", "did you mean", "epochs")),
        ("train.batch_size=4096", 2, ("does not fill a batch of 4096",)),
        ("train.best_by=dice", 2, ("best_by is dice",)),
        ("network.widths=[]", 2, ("widths",)),
        ("network.widths=[1,2,3,4,5,6]", 2, ("widths",)),
        ("augment.crop_vox=64", 2, ("crop_vox is 64", "train-seg")),
        ("split.stride=1", 2, ("stride is 1",)),
        ("network.widths=[1000000000]", 2, ("widths", "4096")),
        ("network.spacing_mm=0.7", 2, ("luna prep", "spacing_mm=0.7")),
        ("network.spacing_mm=0.01", 2, ("spacing_mm is 0.01, not between 0.1 and 10",)),
    ],
)
def test_a_config_that_cannot_be_obeyed(
    train: Train, tmp_path: Path, setting: str, code: int, words: tuple[str, ...]
) -> None:
    assert_refused(train("--set", setting), code, *words)
    assert not list((tmp_path / "runs").glob("*/checkpoints/*"))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("network.depth=0", ("depth",)),
        ("network.width=1000000000", ("width 1 to 4096",)),
        ("background=[0,1]", ("background",)),
        ("background=[1,1]", ("luna prep", 'slices="all"')),
        ("network.depth=6", ("crop_vox is 48", "64 to 96")),
        ("every_slice=true", ("luna prep", 'slices="all"')),
    ],
)
def test_a_segmentation_that_cannot_be_trained(
    run_luna: Callable[..., Outcome], small_cache: Path, setting: str, words: tuple[str, ...]
) -> None:
    sets = ("--set", "augment.crop_vox=48", "--set", "split.stride=4", "--set", setting)
    assert_refused(run_luna("train-seg", small_cache, *sets), 2, *words)


def test_a_validation_of_one_kind_of_sample(
    train: Train, small_cohort: Path, tmp_path: Path
) -> None:
    cohort, cache = tmp_path / "cohort", tmp_path / "cache"
    shutil.copytree(small_cohort, cohort)
    for table in cohort.glob("*.csv"):
        lines = table.read_text().splitlines(keepends=True)
        kept = [x for x in lines if not x.startswith("1.2.3.0,") or x.endswith(",0\n")]
        table.write_text("".join(kept))
    prep(read_luna16(cohort), cache, PrepConfig(), workers=1)
    assert_refused(train(cache=cache), 3, "lack one kind of sample", "0 of 9", "split.stride")


def test_malignancies_that_nobody_knows(train: Train, small_cohort: Path, tmp_path: Path) -> None:
    cohort, cache = tmp_path / "cohort", tmp_path / "cache"
    shutil.copytree(small_cohort, cohort)
    (cohort / "annotations_with_malignancy.csv").unlink()
    prep(read_luna16(cohort), cache, PrepConfig(), workers=1)
    outcome = train("--task", "malignancy", cache=cache)
    assert_refused(outcome, 3, "no nodule", "annotations_with_malignancy.csv", "luna prep")
