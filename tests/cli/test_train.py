"""`luna train-seg` and `luna train-cls` from a prepared cohort to a bundle that diagnoses."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from luna.nets.card import read_card
from luna.train.checkpoint import LAST, read_checkpoint

Luna = Callable[..., object]

CLASSIFIER = (
    "network.widths=[2,4]", "split.stride=4", "sampling.samples_per_epoch=16", "train.epochs=1",
    "train.batch_size=4", "train.precision=float32",
)  # fmt: skip
SEGMENTER = (
    "network.depth=2", "network.width=2", "network.erosion=slice", "augment.crop_vox=32",
    "split.stride=4", "sampling.samples_per_epoch=16", "train.epochs=1", "train.batch_size=8",
)  # fmt: skip


def sets(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.filterwarnings("ignore:.*use_reentrant.*")
def test_what_is_trained_diagnoses_at_once(
    luna: Luna,
    small_cohort: Path,
    small_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("luna.cli.console.LINE_EVERY_S", 0.0)
    runs = tmp_path / "runs"
    seg = luna("train-seg", small_cache, "--runs", runs, "--json", *sets(*SEGMENTER))
    assert seg.code == 0, seg.err
    told = json.loads(seg.out)
    assert told["best"].keys() >= {"loss/all", "recall", "f1"}
    (marker,) = runs.glob("segmentation-*")
    assert read_card(marker / "bundle").erosion == "slice"
    cls = luna("train-cls", small_cache, "--runs", runs, *sets(*CLASSIFIER), "--name", "mine")
    assert cls.code == 0, cls.err
    assert cls.out.splitlines()[0].startswith("best validation")
    assert "epoch 1: train loss/all" in cls.err
    for last in ("epoch 1 16/16", "validate 1 13/13"):
        assert re.search(rf"^{last} [0-9.]+ samples/s, about 0 s left$", cls.err, re.MULTILINE)
    (nodule,) = runs.glob("nodule-*-mine")
    assert cls.out.splitlines()[-1] == f"bundle: {nodule / 'bundle'}"

    tuned = luna(
        *("train-cls", small_cache, "--runs", runs, "--task", "malignancy", "--quiet"),
        *("--init", nodule / "bundle", "--unfreeze", 1, *sets(*CLASSIFIER)),
    )
    assert (tuned.code, tuned.err) == (0, "")
    (malignancy,) = runs.glob("malignancy-*")
    before, after = (
        read_checkpoint(run / "checkpoints" / LAST).tensors for run in (nodule, malignancy)
    )
    assert before["net/blocks.0.conv1.weight"].equal(after["net/blocks.0.conv1.weight"])
    assert not before["net/head.weight"].equal(after["net/head.weight"])

    listed = luna("weights", "list", "--runs", runs).out
    trained = [row.split("\t") for row in listed.splitlines() if row.startswith("trained")]
    assert [row[1] for row in trained] == ["malignancy", "nodule", "segmentation"]
    bundles = [word for run in runs.iterdir() for word in ("--weights", run / "bundle")]
    scan = small_cohort / "subset0" / "1.2.3.0.mhd"
    found = luna("diagnose", scan, "--out", tmp_path / "report", *bundles, "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)["models"].keys() == {"segmentation", "nodule", "malignancy"}


def test_the_small_configs_train(luna: Luna, small_cohort: Path, tmp_path: Path) -> None:
    """Those of `make train-demo`, but for one step."""
    cache, runs = tmp_path / "cache", tmp_path / "runs"
    prepared = luna("prep", small_cohort, "--cache", cache, "--set", 'slices="all"', "--quiet")
    assert prepared.code == 0, prepared.err
    fewer = sets("train.epochs=1", "sampling.samples_per_epoch=32")
    for command, config, role in (
        ("train-seg", "tiny-seg", "segmentation"),
        ("train-cls", "tiny-cls", "nodule"),
    ):
        done = luna(command, cache, "--config", config, "--runs", runs, "--quiet", *fewer)
        assert done.code == 0, done.err
        (run,) = runs.glob(f"{role}-*")
        assert len((run / "metrics.jsonl").read_text().splitlines()) == 1
        assert read_card(run / "bundle").role == role


def test_a_dry_run_reads_all_and_writes_nothing(
    luna: Luna, small_cache: Path, tmp_path: Path
) -> None:
    said = luna(
        "train-cls", small_cache, "--runs", tmp_path / "runs", "--dry-run", *sets(*CLASSIFIER)
    )
    assert said.code == 0
    assert "would train nodule" in said.out
    assert "1 epochs of 4 steps of 4 samples, validated on 13" in said.out
    assert not (tmp_path / "runs").exists()
    refused = luna("train-cls", small_cache, "--dry-run", *sets("train.batch_size=4096"))
    assert refused.code == 2


def test_a_run_is_resumed_by_its_own_command_with_its_own_config(
    luna: Luna, small_cache: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    first = luna("train-cls", small_cache, "--runs", runs, "--json", *sets(*CLASSIFIER))
    (run,) = runs.iterdir()
    record = json.loads((run / "record.json").read_text())
    assert record["data"]["cache"] == str(small_cache)
    assert record["seed"] == 0
    assert "torch" in record["versions"]
    other = luna("train-seg", "--resume", run)
    assert other.code == 2
    assert f"luna train-cls --resume {run}" in other.err
    changed = luna("train-cls", "--resume", run, *sets("train.epochs=2"))
    assert changed.code == 2
    assert "its own config" in changed.err
    for option, value in (("--runs", "runs"), ("--name", "luna")):
        elsewhere = luna("train-cls", "--resume", run, option, value)
        assert elsewhere.code == 2
        assert "its own folder" in elsewhere.err
    # A finished run has nothing left to do, and says what it found.
    again = luna("train-cls", "--resume", run, "--json")
    assert json.loads(again.out) == json.loads(first.out)


@pytest.mark.parametrize("arguments", [(), ("cache", "--resume", "run")])
def test_a_cache_or_a_run_but_not_both(luna: Luna, arguments: tuple[str, ...]) -> None:
    outcome = luna("train-cls", *arguments)
    assert outcome.code == 2
    assert "either a cache or --resume" in outcome.err


@pytest.mark.parametrize("said", [("--unfreeze", 1), ("--set", "unfreeze=2")])
def test_nothing_is_unfrozen_of_a_new_network(
    luna: Luna, small_cache: Path, said: tuple[str, object]
) -> None:
    outcome = luna("train-cls", small_cache, "--dry-run", *said, *sets(*CLASSIFIER))
    assert outcome.code == 2
    assert "unfreeze without init" in outcome.err
    assert "--init" in outcome.err


def test_a_name_that_is_a_path(luna: Luna, small_cache: Path, tmp_path: Path) -> None:
    outcome = luna("train-cls", small_cache, "--runs", tmp_path, "--name", "../mine")
    assert outcome.code == 2
    assert "plain word" in outcome.err


def torchrun(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "luna", *map(str, arguments)),
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_processes_make_one_run(small_cache: Path, tmp_path: Path) -> None:
    with torchrun(tmp_path, "train-cls", small_cache, "--json", *sets(*CLASSIFIER)) as both:
        out, err = both.communicate(timeout=180)
    assert both.returncode == 0, err
    told = json.loads(out)
    (run,) = (tmp_path / "runs").iterdir()
    assert told["run"] == f"runs/{run.name}"
    assert len((run / "losses.csv").read_text().splitlines()) == 1 + 4
    # All samples are judged, none twice: 4 of 13 are nodules.
    assert told["best"]["correct/all"] * 13 == pytest.approx(
        told["best"]["correct/positive"] * 4 + told["best"]["correct/negative"] * 9
    )


@pytest.mark.slow
def test_two_nodes_make_the_run_of_one_with_two_processes(
    small_cache: Path, tmp_path: Path
) -> None:
    """Each torchrun is a node: they know each other by an address alone, as machines do."""
    place = f"127.0.0.1:{20000 + os.getpid() % 20000}"
    command = ("-m", "luna", "train-cls", small_cache, "--json", *sets(*CLASSIFIER))
    nodes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"),
                *("--node-rank", str(rank), "--nproc-per-node", "1"),
                *("--rdzv-backend", "c10d", "--rdzv-id", "luna", "--rdzv-endpoint", place),
                *map(str, command),
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    told = [node.communicate(timeout=300) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    (run,) = (tmp_path / "runs").iterdir()
    alone = tmp_path / "alone"
    alone.mkdir()
    with torchrun(alone, *command[2:]) as both:
        out, err = both.communicate(timeout=300)
    assert both.returncode == 0, err
    (other,) = (alone / "runs").iterdir()
    assert (run / "losses.csv").read_text() == (other / "losses.csv").read_text()
    assert json.loads(out)["best"] == json.loads(next(out for out, _ in told if out))["best"]


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run(small_cache: Path, tmp_path: Path) -> None:
    """Without torchrun, which would end the others itself: they notice alone."""
    many = sets(*CLASSIFIER, "train.epochs=1000")
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    place["MASTER_PORT"] = str(20000 + os.getpid() % 20000)
    first, second = (
        subprocess.Popen(
            [sys.executable, "-m", "luna", "train-cls", str(small_cache), *many],
            cwd=tmp_path,
            env=os.environ | place | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    )
    try:
        while not any(tmp_path.glob("runs/*/checkpoints/last.safetensors")):
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.1)
        second.send_signal(signal.SIGKILL)
        _, err = first.communicate(timeout=60)
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert first.returncode == 1
    assert err.count("error: ") == 1
    assert "another process of this run" in err


def test_mps_is_refused_before_a_run_begins(
    luna: Luna, small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    outcome = luna("train-cls", small_cache, "--runs", tmp_path / "runs", "--device", "mps")
    assert (outcome.code, "no float64" in outcome.err) == (4, True)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("command", "word", "name"),
    [
        (("train-seg",), "tiny", "tiny-seg"),
        (("train-cls",), "default", "cls"),
        (("train-cls", "--task", "malignancy"), "best", "shipped-malignancy"),
    ],
)
def test_one_word_names_the_recipe_of_each_network(luna, command, word, name):
    by_word = luna(*command, "--config", word, "--print-config")
    by_name = luna(*command, "--config", name, "--print-config")
    assert by_word.code == by_name.code == 0
    assert by_word.out == by_name.out
