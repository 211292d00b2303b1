"""What is found does not depend on which 16-bit numbers the machine computes fast."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from luna.detect.config import DiagnoseConfig
from luna.detect.findings import Candidates
from luna.detect.pipeline import diagnose
from luna.nets.models import Models, load_models
from luna.run.machine import precision

CPU = torch.device("cpu")


@pytest.fixture
def found_on(nodule_chest, models: Models, monkeypatch: pytest.MonkeyPatch):
    """The candidates that a machine finds whose fast type is the given one."""
    models = replace(models, segmentation=load_models().segmentation)

    def run(fast: torch.dtype | None, config: DiagnoseConfig) -> Candidates:
        monkeypatch.setattr(precision, "fast_type", lambda device: fast)
        return diagnose(nodule_chest, models, config, CPU).candidates

    return run


def same(a: Candidates, b: Candidates) -> bool:
    return np.array_equal(a.center_irc, b.center_irc) and np.array_equal(a.p_nodule, b.p_nodule)


def test_candidates_and_scores_are_the_same_on_every_machine(found_on) -> None:
    config = DiagnoseConfig()
    plain, brain = (found_on(fast, config) for fast in (None, torch.bfloat16))
    assert len(plain.p_nodule) >= 4
    assert same(plain, brain)
    # It is the config that makes it so: with `auto` the same two machines differ.
    auto = replace(config, segment=replace(config.segment, precision="auto"))
    assert not same(found_on(torch.bfloat16, auto), plain)
