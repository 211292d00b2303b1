"""A bundle comes back as it was saved, or not at all."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from luna.nets.bundle import Bundle, load_bundle, save_bundle
from luna.nets.card import Card, read_card
from luna.nets.classifier import Classifier
from luna.nets.unet import UNet
from luna.run.errors import TrustError

ARGUMENTS = {"input_size": (16, 16, 16), "widths": (2, 4)}


@pytest.fixture
def bundle() -> Bundle:
    card = Card(
        name="tiny",
        role="nodule",
        architecture="classifier",
        arguments=ARGUMENTS,
        training_data="none",
        licence="Apache-2.0",
        threshold=0.3,
        metrics={"auc": 0.5},
        notice="for tests",
    )
    return Bundle(card, Classifier(**ARGUMENTS).eval())


@pytest.fixture
def saved(bundle: Bundle, tmp_path: Path) -> Path:
    save_bundle(bundle, tmp_path / "tiny")
    return tmp_path / "tiny"


def edit_card(folder: Path, **changes: object) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_round_trip(bundle: Bundle, saved: Path) -> None:
    loaded = load_bundle(saved)
    hu = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(loaded.module(hu), bundle.module(hu), atol=0, rtol=0)
    assert not loaded.module.training
    card = replace(loaded.card, weights_sha256="", arguments=ARGUMENTS)
    assert card == bundle.card


def test_a_segmenter_s_card_holds_no_threshold_and_an_old_one_is_taken(tmp_path: Path) -> None:
    arguments = {"context_slices": 1, "depth": 1, "width": 1}
    card = Card(
        name="tiny",
        role="segmentation",
        architecture="unet",
        arguments=arguments,
        training_data="none",
        licence="Apache-2.0",
        threshold=0.3,
    )
    saved = tmp_path / "tiny"
    save_bundle(Bundle(card, UNet(**arguments).eval()), saved)
    assert "threshold" not in json.loads((saved / "card.json").read_text())
    assert "threshold" not in load_bundle(saved).facts()
    edit_card(saved, threshold=0.01)
    assert "threshold" not in load_bundle(saved).facts()


def test_folder_holds_two_files_and_no_leftovers(saved: Path) -> None:
    assert sorted(p.name for p in saved.iterdir()) == ["card.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"card_version": 2}, "card version 2"),
        ({"card_version": None}, "card version None"),
        ({"role": "oracle"}, "oracle"),
        ({"erosion": "acid"}, "acid"),
        ({"architecture": "os.system"}, "unknown architecture"),
        ({"arguments": {"widths": [2, 4], "depth": 9}}, "arguments do not fit"),
        ({"arguments": {"input_size": [16, 16, 16], "widths": [2, 8]}}, "tensors do not fit"),
        ({"threshold": 1.5}, "out of range"),
        ({"hu_window": [5, 5]}, "out of range"),
        ({"hu_window": "wide"}, "cannot be read"),
        ({"hu_window": [-1000, math.inf]}, "hu_window"),
        ({"hu_window": ["-1000", "1000"]}, "hu_window"),
        ({"hu_window": [-(10**30), 1000]}, "out of range"),
        ({"threshold": "0.5"}, "threshold is str"),
        ({"threshold": math.nan}, "out of range"),
        ({"temperature": "1"}, "temperature is str"),
        ({"temperature": True}, "temperature is bool"),
        ({"temperature": math.inf}, "out of range"),
        ({"temperature": 1e-320}, "out of range"),
        ({"spacing_mm": "0.7"}, "spacing_mm is str"),
        ({"spacing_mm": 1e-9}, "spacing_mm is 1e-09"),
        ({"scales_mm": 40}, "scales_mm is int"),
        ({"scales_mm": ["40"]}, "must be lengths"),
        ({"scales_mm": [40.0, 1e9]}, "must be lengths"),
        ({"scales_mm": [24.0, 40.0]}, "scales_mm has 2 cubes, the network takes 1"),
        ({"scales_mm": [40.0], "spacing_mm": 1.0}, "both set"),
        ({"antialias": True}, "taken as they are"),
        ({"antialias": 1, "spacing_mm": 1.0}, "antialias is int"),
        ({"notice": []}, "notice is list"),
        ({"name": None}, "name is NoneType"),
        ({"arguments": []}, "arguments is list"),
        ({"metrics": {"cpm": "x"}}, "metrics.cpm is not a number"),
        ({"metrics": {"cpm": 10**400}}, "metrics.cpm is not a number"),
        ({"surprise": 1}, "surprise"),
        ({"weights_sha256": "0" * 64}, "not the ones on the card"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(saved: Path, change, message: str) -> None:
    edit_card(saved, **change)
    with pytest.raises(TrustError) as error:
        load_bundle(saved)
    assert message in str(error.value)
    assert error.value.exit_code == 6


def test_differences_of_tensors_are_named(saved: Path) -> None:
    edit_card(saved, arguments={"input_size": [16, 16, 16], "widths": [2, 8]})
    with pytest.raises(TrustError) as error:
        load_bundle(saved)
    assert "blocks.1.conv1.weight is (4, 2, 3, 3, 3), not (8, 2, 3, 3, 3)" in error.value.why


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"card_version": 1}', "\x00\xff", "[" * 100_000]
)
def test_a_malformed_card_is_refused(saved: Path, text: str) -> None:
    (saved / "card.json").write_text(text, encoding="latin-1")
    with pytest.raises(TrustError):
        read_card(saved)


def test_a_missing_card_is_refused(saved: Path) -> None:
    (saved / "card.json").unlink()
    with pytest.raises(TrustError, match="no card"):
        load_bundle(saved)


def test_damaged_weights_are_refused(saved: Path) -> None:
    path = saved / "model.safetensors"
    stream = path.read_bytes()
    for damaged in (stream[:-4], stream[:20], b"", stream[:-1] + bytes([stream[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(TrustError):
            load_bundle(saved)
    path.unlink()
    with pytest.raises(TrustError):
        load_bundle(saved)


def test_nan_weights_are_refused(bundle: Bundle, saved: Path) -> None:
    with torch.no_grad():
        bundle.module.head.bias.fill_(float("nan"))
    save_bundle(bundle, saved)
    with pytest.raises(TrustError, match="NaN"):
        load_bundle(saved)


def test_a_hash_that_matches_does_not_excuse_garbage(saved: Path) -> None:
    import hashlib

    garbage = b"\x10\x00\x00\x00\x00\x00\x00\x00{not safetensors"
    (saved / "model.safetensors").write_bytes(garbage)
    edit_card(saved, weights_sha256=hashlib.sha256(garbage).hexdigest())
    with pytest.raises(TrustError, match="damaged"):
        load_bundle(saved)


def test_weights_are_plain_safetensors(saved: Path) -> None:
    tensors = safetensors.torch.load_file(saved / "model.safetensors")
    assert "input_norm.running_mean" in tensors
