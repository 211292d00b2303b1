"""The check of a card runs in small on a CPU, with what a bare machine has."""

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"
BARE = ("SimpleITK", "pydicom", "nibabel", "pooch", "requests", "jinja2")
"""What a card's machine may lack."""

START = f"""
import runpy, sys
for name in {BARE}:
    sys.modules[name] = None
sys.argv = [{str(SCRIPTS / "check_cuda.py")!r}, *sys.argv[1:]]
sys.path.insert(0, {str(SCRIPTS)!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_every_block_runs_in_small_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START, "--device", "cpu", "--small", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    rows = [json.loads(line) for line in (tmp_path / "check.jsonl").read_text().splitlines()]
    assert [row for row in rows if "failed" in row] == [], done.stderr
    assert done.returncode == 0, done.stderr
    facts = {row["block"]: row for row in rows if "took s" not in row}
    assert set(facts) == {
        "environment", "parity", "diagnose", "train", "profile", "feed", "resume", "processes",
        "memory", "probes",
    }  # fmt: skip
    exact = [r for r in rows if r["block"] == "parity" and r.get("arithmetic") == "float32"]
    assert [row["largest difference"] for row in exact] == [0.0] * 3
    assert facts["resume"]["largest difference of a loss"] == 0.0
    assert facts["diagnose"]["batches agree"]
    assert "DistributedDataParallel" in facts["processes"]["said"]
    assert (tmp_path / "check.md").read_text().count("**parity**") == 2


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("check_cuda", SCRIPTS / "check_cuda.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in [name for name in sys.modules if name == "card" or name.startswith("card.")]:
        del sys.modules[name]


def test_a_block_that_fails_or_hangs_ends_no_other(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(given: object) -> Iterator[dict[str, object]]:
        yield {"before": 1}
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def hanging(given: object) -> Iterator[dict[str, object]]:
        time.sleep(60)
        yield {"never": 1}

    def good(given: object) -> Iterator[dict[str, object]]:
        yield {"a": 1.5}

    blocks = {"broken": (5, broken), "hanging": (0.2, hanging), "good": (5, good)}
    monkeypatch.setattr(script, "blocks", lambda: blocks)
    rows: list[dict[str, object]] = []
    given = script.Given(torch.device("cpu"), True, None, None)
    assert script.run(given, [], rows.append) == 2
    said = {row["block"]: row["failed"] for row in rows if "failed" in row}
    assert "illegal memory access" in said["broken"]
    assert "not done within" in said["hanging"]
    assert {"block": "broken", "before": 1} in rows
    assert {"block": "good", "a": 1.5} in rows
    assert "| a |" in script.table(rows)


def test_the_blocks_fit_into_eight_minutes(script: ModuleType) -> None:
    assert sum(limit_s for limit_s, _ in script.blocks().values()) <= script.TOTAL_S + 30
    assert script.TOTAL_S == 8 * 60


def test_references_are_made_once_and_are_of_these_weights(
    script: ModuleType, tmp_path: Path
) -> None:
    given = script.Given(torch.device("cpu"), True, tmp_path, None)
    script.run(given, ["parity"], lambda row: None)
    made = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert set(made) == {f"shipped-{r}.npz" for r in ("segmentation", "nodule", "malignancy")}
    rows: list[dict[str, object]] = []
    script.run(given, ["parity"], rows.append)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == made
    exact = [row for row in rows if row.get("arithmetic") == "float32"]
    assert all(row["largest difference"] < 1e-6 for row in exact)  # kept as float32
