"""Weights that cannot be trusted or do not fit are exit code 6, and nothing in them runs."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from luna.nets.bundle import save_bundle

from .conftest import CLASSIFIER, Outcome, assert_refused, half_sure

Diagnose = Callable[..., Outcome]
RESIDUAL = {"architecture": "residual-classifier"}
SEGMENTER = {"role": "segmentation", "architecture": "unet"}


class Planted:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def bundle(weights: Path) -> Path:
    return weights / "half-nodule"


def change_card(bundle: Path, **values: object) -> None:
    card = json.loads((bundle / "card.json").read_text())
    (bundle / "card.json").write_text(json.dumps(card | values))


def change_tensors(bundle: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Other tensors, with the hash on the card to match."""
    import hashlib

    path = bundle / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    change_card(bundle, weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_good_weights_are_good(diagnose: Diagnose, tmp_path: Path) -> None:
    outcome = diagnose()
    assert outcome.code == 0, outcome
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_that_executes(
    diagnose: Diagnose, weights: Path, tmp_path: Path, how: str
) -> None:
    state = weights / "planted.state"
    stream = {"model_state": Planted(tmp_path / "executed")}
    state.write_bytes(pickle.dumps(stream)) if how == "pickle" else torch.save(stream, state)
    outcome = diagnose("--weights", state)
    assert_refused(outcome, 6, "planted.state", "not a checkpoint that can be read safely")
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "out").exists()


def test_a_folder_with_nothing_but_a_pickle(
    run_luna: Diagnose, good_scan: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "downloaded"
    folder.mkdir()
    (folder / "planted.state").write_bytes(pickle.dumps(Planted(tmp_path / "executed")))
    outcome = run_luna("diagnose", good_scan, "--weights", folder, "--out", tmp_path / "out")
    assert_refused(outcome, 6, "downloaded", "planted.state left out")
    assert not (tmp_path / "executed").exists()


def test_a_pickle_in_the_place_of_tensors(diagnose: Diagnose, bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.safetensors").write_bytes(pickle.dumps(Planted(tmp_path / "executed")))
    assert_refused(diagnose(), 6, "model.safetensors", "SHA-256 differs")
    assert not (tmp_path / "executed").exists()


def test_truncated_and_flipped(diagnose: Diagnose, bundle: Path) -> None:
    path = bundle / "model.safetensors"
    content = path.read_bytes()
    for damaged in (content[:-7], b"", content[:100] + b"\x01" + content[101:]):
        path.write_bytes(damaged)
        assert_refused(diagnose(), 6, "model.safetensors", "SHA-256 differs", "copy the bundle")


def test_tensors_of_another_shape_are_shown(diagnose: Diagnose, bundle: Path) -> None:
    def widen(tensors: dict[str, torch.Tensor]) -> None:
        tensors["head.bias"] = torch.zeros(3)
        tensors["more"] = torch.zeros(1)
        del tensors["head.weight"]

    change_tensors(bundle, widen)
    shown = ("missing head.weight", "unexpected more", "head.bias is (3,), not (2,)")
    assert_refused(diagnose(), 6, "model.safetensors", *shown)


def test_tensors_that_are_not_finite(diagnose: Diagnose, bundle: Path) -> None:
    change_tensors(bundle, lambda tensors: tensors["head.bias"].fill_(float("nan")))
    assert_refused(diagnose(), 6, "NaN or infinity")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"card_version": 99}, "upgrade luna"),
        ({"architecture": "os.system"}, "unknown architecture"),
        ({"role": "oracle"}, "oracle"),
        ({"surprise": 1}, "surprise"),
        ({"hu_window": [1000, -1000]}, "out of range"),
        ({"threshold": 1.5}, "out of range"),
        ({"architecture": "unet"}, "a unet cannot be a nodule model"),
        ({"arguments": {"widths": [2] * 6}}, "arguments do not fit"),
        (
            {"arguments": {"widths": [10**9]}},
            "card.json: the card cannot be read (arguments.widths",
        ),
        ({"arguments": {"input_size": [16, 16, 10**6]}}, "arguments.input_size holds 1000000"),
        ({"arguments": {"input_size": [16, 256]}}, "arguments do not fit"),
        ({"arguments": {"widths": [2, 4.0]}}, "arguments.widths holds 4.0"),
        (SEGMENTER | {"arguments": {"depth": 10**9}}, "not an integer from 1 to 16"),
        (SEGMENTER | {"arguments": {"depth": 16, "width": 4096}}, "tensors do not fit"),
        (SEGMENTER | {"arguments": {"context_slices": 10**9}}, "context_slices"),
        (RESIDUAL | {"arguments": {"widths": [4096] * 6}}, "tensors do not fit"),
        (RESIDUAL | {"arguments": {"input_size": [16, 16]}}, "not three multiples of 8"),
    ],
)
def test_cards_that_do_not_fit(
    diagnose: Diagnose, bundle: Path, values: dict[str, object], words: str
) -> None:
    change_card(bundle, **values)
    assert_refused(diagnose(), 6, words)


def test_a_card_may_leave_the_size_of_crops_to_the_architecture(
    diagnose: Diagnose, bundle: Path
) -> None:
    save_bundle(half_sure("nodule", "classifier", {"widths": [2]}), bundle)
    assert diagnose().code == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"card_version": 1}', "\0" * 100])
def test_cards_that_are_none(diagnose: Diagnose, bundle: Path, text: str) -> None:
    (bundle / "card.json").write_text(text)
    assert_refused(diagnose(), 6, "card")


def test_a_card_that_is_missing(run_luna: Diagnose, good_scan: Path, bundle: Path) -> None:
    (bundle / "card.json").unlink()
    outcome = run_luna("weights", "info", bundle)
    assert_refused(outcome, 6, "no card.json")


def test_a_card_of_one_bundle_among_others_that_is_missing(
    diagnose: Diagnose, bundle: Path, tmp_path: Path
) -> None:
    (bundle / "card.json").unlink()
    assert_refused(diagnose(), 6, "half-nodule", "no card.json")
    assert_refused(diagnose("--weights", bundle), 6, "half-nodule", "no card.json")
    (bundle / "model.safetensors").unlink()
    assert_refused(diagnose(), 2, "no nodule model")
    assert_refused(diagnose("--weights", bundle), 2, "no weights in this folder", "card.json")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"conv.weight": torch.zeros(2, 2)}, "does not know"),
        ({"unet.last.weight": torch.zeros(2, 2)}, "to no network"),
        ({"block1.conv1.weight": torch.tensor(1.0)}, "to no network"),
        ({"block1.conv1.weight": torch.zeros(8, 1, 3, 3, 3)}, "missing blocks.0"),
        ({"block1.conv1.weight": torch.zeros(1).expand(9**9, 1)}, "larger than their file"),
        (
            {
                "unet.last.weight": torch.zeros(2),
                "unet.down_path.0.block.0.weight": torch.zeros(4, 7),
                7: torch.zeros(2),
            },
            "to no network",
        ),
        ({7: torch.zeros(2), "block1.conv1.weight": torch.zeros(2)}, "to no network"),
        ({"convAndPool_seq.0.weight": torch.zeros(2)}, "to no network"),
    ],
)
def test_checkpoints_of_another_network(
    diagnose: Diagnose, tmp_path: Path, state: dict[Any, torch.Tensor], words: str
) -> None:
    torch.save({"model_state": state}, tmp_path / "other.state")
    assert_refused(diagnose("--weights", tmp_path / "other.state"), 6, "other.state", words)


def test_a_bundle_to_start_training_from(
    run_luna: Diagnose, small_cache: Path, bundle: Path, tmp_path: Path
) -> None:
    (bundle / "model.safetensors").write_bytes(pickle.dumps(Planted(tmp_path / "executed")))
    arguments = ("--init", bundle, "--runs", tmp_path / "runs", "--set", "split.stride=4")
    assert_refused(run_luna("train-cls", small_cache, *arguments), 6, "SHA-256 differs")
    assert not (tmp_path / "executed").exists()
    assert not list((tmp_path / "runs").glob("*/checkpoints/*"))


def negative_variance(tensors: dict[str, torch.Tensor]) -> None:
    tensors["input_norm.running_var"].fill_(-1.0)


def overflow(tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if name.endswith("weight"):
            tensor.fill_(3e38)


def zeros(tensors: dict[str, torch.Tensor]) -> None:
    tensors["head.weight"].zero_()


@pytest.mark.parametrize("role", ["segmentation", "nodule", "malignancy"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (negative_variance, "output is not a number"),
        (overflow, "output is not a number"),
        (zeros, "the same answer whatever it sees"),
    ],
)
def test_finite_weights_that_cannot_judge_are_refused(
    diagnose: Diagnose, weights: Path, tmp_path: Path, role: str, change: Any, words: str
) -> None:
    if role == "malignancy":
        save_bundle(half_sure("malignancy", "classifier", CLASSIFIER), weights / "half-malignancy")
    change_tensors(weights / f"half-{role}", change)
    assert_refused(diagnose("--weights", weights), 6, f"half-{role}", words)
    assert not (tmp_path / "out" / "report.json").exists()


def test_every_command_refuses_them(
    run_luna: Diagnose, small_cohort: Path, weights: Path, tmp_path: Path
) -> None:
    change_tensors(weights / "half-nodule", negative_variance)
    out = ("--out", tmp_path / "scores")
    words = (6, "half-nodule", "output is not a number")
    assert_refused(run_luna("evaluate", small_cohort, "--weights", weights, *out), *words)
    assert_refused(run_luna("weights", "info", weights), *words)


@pytest.mark.parametrize("kind", ["pipe", "endless"])
@pytest.mark.parametrize("name", ["model.safetensors", "card.json", "odd.state"])
def test_weights_that_are_no_plain_file(
    run_luna: Diagnose, bundle: Path, tmp_path: Path, name: str, kind: str
) -> None:
    path = bundle / name if name != "odd.state" else tmp_path / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    outcome = run_luna("weights", "info", path if name == "odd.state" else bundle)
    words = "card.json" if name == "card.json" else "not a plain file"
    assert_refused(outcome, 6, words)


def test_a_checkpoint_that_unpacks_to_more_than_its_file(
    run_luna: Diagnose, tmp_path: Path
) -> None:
    plain, bomb = tmp_path / "plain.state", tmp_path / "bomb.state"
    torch.save({"model_state": {"head.weight": torch.zeros(1 << 20)}}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as sink:
        for member in source.infolist():
            sink.writestr(member.filename, source.read(member))
    assert_refused(run_luna("weights", "info", bomb), 6, "would unpack to more than its file")
