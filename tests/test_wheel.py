"""The wheel works alone: installed in an empty environment it runs what its help prints."""

import inspect
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

import luna
from luna.cli.app import app

ROOT = Path(__file__).parents[1]
LIBRARIES = Path(torch.__file__).parents[1]

pytestmark = pytest.mark.slow

NEED_NO_DATA = ("phantom", "doctor", "weights list", "weights info shipped")
"""Commands whose examples run as they are printed."""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside of the checkout and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, check=False, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `luna` of a new environment; it shares the libraries of this one, not its luna."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", "--quiet", wheel, cwd=home)
    (site,) = home.glob("**/site-packages")
    (site / "libraries.pth").write_text(f"{LIBRARIES}\n", encoding="utf-8")
    where = run(python, "-c", "import luna; print(luna.__file__)", cwd=home)
    assert Path(where.strip()).is_relative_to(home)
    return scripts / "luna"


def examples(command: Any = None) -> Iterator[str]:
    """The examples that `--help` prints, one command line each."""
    command = command or typer.main.get_command(app)
    for sub in getattr(command, "commands", {}).values():
        yield from examples(sub)
    if command.callback is not None:
        doc = re.sub(r"\\\n\s*", "", inspect.getdoc(inspect.unwrap(command.callback)) or "")
        yield from re.findall(r"^ +luna (.*)$", doc, flags=re.MULTILINE)


def test_the_wheel_has_what_luna_reads_and_nothing_of_the_checkout(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name.startswith(f"luna_ct-{luna.__version__}-py3-none-any")
    for needed in ("py.typed", "configs/cls.toml", "weights/nodule/card.json"):
        assert f"luna/{needed}" in names
    assert any(re.match(r"luna/report/templates/.*\.j", name) for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"luna", "luna_ct"}


def test_examples_that_need_no_data_run_as_printed(installed: Path, tmp_path: Path) -> None:
    ran = []
    for line in examples():
        if line.startswith(NEED_NO_DATA) and "cohort/" not in line:  # 20 whole scans take minutes
            run(installed, *line.split(), cwd=tmp_path)
            ran.append(line)
    assert len(ran) >= 3
    (scan,) = tmp_path.glob("small/subset0/*.mhd")
    run(installed, "diagnose", scan, "--out", "report", cwd=tmp_path)
    assert (tmp_path / "report" / "report.html").is_file()


def test_configs_are_found_by_name(installed: Path, tmp_path: Path) -> None:
    shown = run(installed, "train-cls", "cache", "--config", "cls", "--print-config", cwd=tmp_path)
    assert "samples_per_epoch = 40000" in shown.replace("_000", "000")
