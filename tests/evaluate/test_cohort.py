"""The config of a cohort, and the file that keeps one scan's result."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from luna.detect.config import DiagnoseConfig
from luna.detect.key import run_key
from luna.detect.pipeline import diagnose
from luna.evaluate.cohort import CohortConfig, read_result, write_result
from luna.evaluate.result import as_json, from_json, result_of
from luna.run.checked import DamagedError
from luna.run.errors import UsageError
from luna.score.evaluation import ScoreConfig

CPU = torch.device("cpu")


def test_the_keys_are_those_of_diagnose_and_of_the_scores():
    own = {item.name: getattr(CohortConfig(), item.name) for item in fields(CohortConfig)}
    for config in (DiagnoseConfig(), ScoreConfig()):
        for item in fields(config):
            value = own.pop(item.name, None) if item.name != "threshold" else own["threshold"]
            assert item.name == "threshold" or value == getattr(config, item.name)
    assert own == {"threshold": None}


@pytest.mark.parametrize("values", [{"threshold": 1.5}, {"samples": 3}, {"fp_per_scan": -1.0}])
def test_what_either_refuses_is_refused(values):
    with pytest.raises(UsageError):
        CohortConfig(**values)


@pytest.fixture(scope="module")
def stored(nodule_chest, models, tmp_path_factory):
    findings = diagnose(nodule_chest, models, DiagnoseConfig(), CPU)
    result = result_of(replace(findings, warnings=("only a part of the lungs",)))
    key = {**run_key(models.bundles(), DiagnoseConfig(), CPU), "scan": "abc"}
    path = tmp_path_factory.mktemp("store") / "1.2.json"
    write_result(path, as_json(result), key)
    return path, result, key


def test_a_result_comes_back_to_the_last_bit(stored):
    path, result, key = stored
    again = from_json(read_result(path, key))
    assert len(result.marks) == len(result.diameter_mm) == 4
    for name in ("center_xyz", "p_nodule", "component", "p_malignant", "diameter_mm"):
        np.testing.assert_array_equal(getattr(again, name), getattr(result, name))
    assert again.warnings == result.warnings == ("only a part of the lungs",)


def test_a_result_of_something_else_is_none(stored):
    path, _, key = stored
    assert read_result(path, {**key, "scan": "abd"}) is None
    assert read_result(path, {**key, "device": "cuda"}) is None


@pytest.mark.parametrize("damage", ["", "[]", "{}", "{", "null", '{"sha256": "0"}'])
def test_a_damaged_result_is_no_result(stored, tmp_path, damage):
    (tmp_path / "1.2.json").write_text(damage)
    with pytest.raises(DamagedError):
        read_result(tmp_path / "1.2.json", stored[2])


def test_every_changed_byte_is_noticed(stored, tmp_path):
    path, _, key = stored
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole) - 1, 60):
        changed = bytearray(whole)
        changed[place] ^= 1
        (tmp_path / "1.2.json").write_bytes(changed)
        try:
            again = read_result(tmp_path / "1.2.json", key)
        except DamagedError:
            continue
        assert again is not None  # white space, or an escape of the same letter
        assert again == read_result(path, key)
