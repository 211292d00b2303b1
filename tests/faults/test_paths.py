"""Folders whose names are bytes that are no text: every command works in them as in others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Outcome, assert_refused
from .test_train import with_settings

Run = Callable[..., Outcome]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    folder = tmp_path / os.fsdecode(b"r\xc3\xb6ntgen\xff")
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_prep_and_training(run_luna: Run, small_cohort: Path, odd: Path) -> None:
    data = Path(shutil.copytree(small_cohort, odd / "data"))
    made = run_luna("prep", data, "--cache", odd / "cache", "--workers", 2)
    assert made.code == 0, made
    words = (*with_settings(), "--set", "train.epochs=1", "--name", odd.name)
    begun = run_luna("train-cls", odd / "cache", "--runs", odd / "runs", *words)
    assert begun.code == 0, begun
    (run,) = (odd / "runs").iterdir()
    resumed = run_luna("train-cls", "--resume", run)
    assert resumed.code == 0, resumed
    tuned = ("train-cls", odd / "cache", *words, "--runs", odd / "tuned", "--init")
    assert_refused(run_luna(*tuned, run / "bundle"), 2, "init is not valid UTF-8", "rename")
    assert not (odd / "tuned").exists()


def test_diagnosis(
    run_luna: Run, good_scan: Path, weights: Path, odd: Path, tmp_path: Path
) -> None:
    scan = Path(shutil.copy(good_scan, odd / f"{odd.name}.mha"))
    weights = Path(shutil.copytree(weights, odd / "weights"))
    words = ("diagnose", scan, "--weights", weights, "--out")
    assert_refused(run_luna(*words, odd / "out"), 2, "not valid UTF-8", "another --out")
    assert not (odd / "out").exists()
    assert (out := run_luna(*words, tmp_path / "out")).code == 0, out


@pytest.mark.slow
def test_evaluation(run_luna: Run, small_cohort: Path, weights: Path, odd: Path) -> None:
    data = Path(shutil.copytree(small_cohort, odd / "data"))
    weights = Path(shutil.copytree(weights, odd / "weights"))
    words = ("--weights", weights, "--out", odd / "out", "--set", "samples=100")
    outcome = run_luna("evaluate", data, *words)
    assert outcome.code == 0, outcome
    words = ("--role", "nodule", "--set", "samples=100", "--out", odd / "alone")
    outcome = run_luna("validate", weights, data, *words)
    assert outcome.code == 0, outcome
