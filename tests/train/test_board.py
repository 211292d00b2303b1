"""What was written for TensorBoard is there when read back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from luna.train.board import Board
from luna.train.config import TrainConfig
from luna.train.loop import train
from luna.train.runs import Run
from luna.train.tasks import NODULE, Data


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


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
    steps = {f"step/{name}" for name in ("learning_rate", "loss", "samples_per_s")}
    assert steps <= set(training.Tags()["scalars"])
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
