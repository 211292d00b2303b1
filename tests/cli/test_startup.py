"""What a command loads before it says what is wrong: counted in modules, not in seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = ("torch", "SimpleITK", "nibabel", "scipy", "matplotlib", "tensorboard", "sympy", "jinja2")

SCRIPT = """
import json, sys
from luna.cli import app
slow, commands = json.loads(sys.argv[1])
ends = [(app.run(words), [name for name in slow if name in sys.modules]) for words in commands]
print("\\n" + json.dumps(ends))
"""


def loaded_by(*commands: list[object], slow: tuple[str, ...] = SLOW) -> list[tuple[int, set[str]]]:
    """The exit code of each command, run in one new process, and what was loaded by its end."""
    words = [["diagnose", *map(str, command)] for command in commands]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([slow, words])],
        capture_output=True,
        text=True,
        check=True,
    )
    ends = json.loads(done.stdout.splitlines()[-1])
    return [(code, set(names)) for code, names in ends]


def test_mistakes_on_the_command_line_are_refused_before_anything_slow_is_loaded(
    tmp_path: Path,
) -> None:
    scan = tmp_path / "scan.mhd"
    scan.write_text("ObjectType = Image\n")
    mistakes: list[list[object]] = [
        [tmp_path / "nowhere"],
        [scan, "--weights", tmp_path / "nowhere"],
        [scan, "--set", "threshold=2"],
        [scan, "--set", "segment.regoin=whole"],
        [scan, "--age", "60"],
        [scan, "--nonsense"],
        [scan, "--out", tmp_path],
    ]
    ends = loaded_by(*mistakes, slow=(*SLOW, "numpy", "pydicom"))
    assert ends == [(2, set())] * len(mistakes)
    # One that has to be opened, and is no scan.
    assert loaded_by([scan, "--out", tmp_path / "out"]) == [(3, set())]


@pytest.mark.shared_data
def test_a_wrong_series_is_refused_before_torch_is_loaded(shared: Path, tmp_path: Path) -> None:
    scan = shared / "real" / "lidc-idri-0001"
    assert loaded_by([scan, "--series", "9.9", "--out", tmp_path / "out"]) == [(2, set())]


def test_networks_load_without_torchs_compiler(original: Path, tmp_path: Path) -> None:
    """Each of these takes longer to load than the shipped networks to read."""
    scan = next((original / "data").glob("*/*.mhd"))
    rest = ["--weights", original / "weights", "--out", tmp_path / "out", "--dry-run"]
    slow = ("torch", "sympy", "torch._dynamo", "torch._inductor", "jinja2", "SimpleITK")
    assert loaded_by([scan, *rest], slow=slow) == [(0, {"torch"})]


THREADS = """
import os, sys
from luna.cli import app
code = app.run(["diagnose", sys.argv[1], "--threads", "1", "--dry-run"])
import torch
print(code, "torch", torch.get_num_threads(), os.environ["OMP_NUM_THREADS"])
"""


def test_threads_are_limited_before_the_libraries_are_loaded(
    small_cohort: Path, tmp_path: Path
) -> None:
    scan = next(small_cohort.rglob("*.mhd"))
    done = subprocess.run(
        [sys.executable, "-c", THREADS, str(scan)],
        env={k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 torch 1 1"


def test_a_number_of_threads_below_one_is_refused(tmp_path: Path) -> None:
    assert loaded_by([tmp_path, "--threads", "0"]) == [(2, set())]
