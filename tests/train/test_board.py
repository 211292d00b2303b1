"""What was written for TensorBoard is there when read back."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from luna.train.board.events import Board
from luna.train.config import TrainConfig
from luna.train.loop import train
from luna.train.runs import Run
from luna.train.tasks import NODULE, SEGMENTATION, Data


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def assert_speed(training: EventAccumulator) -> None:
    (share,) = training.Scalars("step/data_wait_share")  # of the first step; the next is the tenth
    assert share.step == 0
    assert 0 <= share.value <= 1
    assert training.Scalars("step/samples_per_s")[0].value > 0


def test_a_run_can_be_watched(
    make_run: Callable[..., Run], cubes: Callable[..., Data], network: Callable[..., nn.Module]
) -> None:
    run = make_run("a")
    config = TrainConfig(epochs=2, batch_size=8, precision="float32")
    run = replace(run, board=Board(run.folder / "events"))
    best = train(NODULE, cubes(), network(), config, torch.device("cpu"), run)
    training = read(run.folder / "events" / "train")
    validation = read(run.folder / "events" / "validation")
    for name in ("loss/all", "loss/positive", "correct/all", "recall", "auc"):
        assert name in training.Tags()["scalars"]
        assert len(validation.Scalars(name)) == 2
    assert_speed(training)
    assert training.Scalars("step/learning_rate")
    assert max(e.value for e in validation.Scalars("auc")) == pytest.approx(best["auc"])
    assert set(validation.Tags()["histograms"]) == {"p/positive", "p/negative"}
    assert validation.Tags()["images"] == ["samples", "roc"]
    assert "pr" in validation.Tags()["tensors"]
    loss = (run.folder / "losses.csv").read_text().splitlines()[1].split(",")[2]
    assert training.Scalars("step/loss")[0].value == pytest.approx(float(loss), rel=1e-6)
    assert set(validation.PluginTagToContent("hparams")) >= {
        "_hparams_/experiment",
        "_hparams_/session_start_info",
    }


def test_a_segmentation_run_can_be_watched(
    make_run: Callable[..., Run], cubes: Callable[..., Data], network: Callable[..., nn.Module]
) -> None:
    run = make_run("a", masks=True)
    run = replace(run, board=Board(run.folder / "events"))
    config = TrainConfig(epochs=2, batch_size=16, precision="float32")
    best = train(SEGMENTATION, cubes(masks=True), network(True), config, torch.device("cpu"), run)
    training = read(run.folder / "events" / "train")
    validation = read(run.folder / "events" / "validation")
    assert_speed(training)
    for name in ("loss/all", "tp/truth", "fn/truth", "fp/truth", "recall", "f1", "dice"):
        assert [e.step for e in training.Scalars(name)] == [1, 2]
        assert len(validation.Scalars(name)) == 2
    assert max(e.value for e in validation.Scalars("recall")) == pytest.approx(best["recall"])
    assert validation.Tags()["images"] == ["samples"]
    first, second = validation.Images("samples")
    assert (first.step, second.step) == (1, 2)
    pixels = np.asarray(Image.open(io.BytesIO(second.encoded_image_string)).convert("RGB"))
    assert pixels.shape[:2] == (second.height, second.width)
    assert np.ptp(pixels, axis=2).max() > 50  # marks have a colour, slices and titles have none
    assert validation.Tags()["histograms"] == []
    assert "pr" not in validation.Tags()["tensors"]
