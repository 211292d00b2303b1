"""The image: its words are luna's, its files are here, and its health is that of the server."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luna.cli.app import run
from luna.serve.server import Place

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
PORT = Place(data=ROOT).port
LINES = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]


def words_of(instruction: str) -> Any:
    """The words of the last instruction of a kind, which is written as a JSON list."""
    line = [line for line in LINES if line.startswith(instruction)][-1]
    return json.loads(line[line.index("[") :])


def health(port: int) -> int:
    """Run the health check as the image does, against another port."""
    _, flag, code = words_of("HEALTHCHECK")
    assert str(PORT) in code
    words = [sys.executable, flag, code.replace(str(PORT), str(port))]
    return subprocess.run(words, capture_output=True, timeout=60, check=False).returncode


def test_the_image_starts_a_command_that_luna_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert words_of("ENTRYPOINT") == ["luna"]
    assert run([*words_of("CMD"), "--print-config"]) == 0
    assert "[segment]" in capsys.readouterr().out


def test_the_image_is_never_root() -> None:
    """The last USER counts, and it is a number, which an orchestrator can check."""
    user = [line.split()[1] for line in LINES if line.startswith("USER")][-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_the_port_of_the_image_is_the_page_s() -> None:
    assert f"EXPOSE {PORT}" in LINES


def test_the_image_is_built_from_files_that_are_here_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [line.split()[1:-1] for line in LINES if re.match(r"COPY (?!--from)", line)]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored


def test_the_extras_of_the_image_exist() -> None:
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", DOCKERFILE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize(("lives", "code"), [(True, 0), (False, 1)])
def test_the_image_is_healthy_while_the_worker_lives(
    start: Callable[..., Any], lives: bool, code: int
) -> None:
    url = start(worker_lives=lambda: lives).url
    assert health(int(url.rpartition(":")[2])) == code


def test_the_image_is_not_healthy_where_nothing_answers() -> None:
    assert health(1) != 0


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        ["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert done.returncode == 0
