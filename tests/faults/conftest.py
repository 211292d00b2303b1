"""The real command in a process of its own, and a good scan and good weights to spoil."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import SimpleITK as sitk
import torch

from luna.ct.scan import Scan
from luna.nets.bundle import Bundle, build_network, save_bundle
from luna.nets.card import Card

from . import refusals

UNET = {"context_slices": 3, "depth": 1, "width": 2}
CLASSIFIER = {"input_size": [16, 16, 16], "widths": [2, 4]}


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


class Strike(NamedTuple):
    """A signal, sent once files that match a pattern come to an amount: lines, bytes or files."""

    signal: int
    pattern: Path
    amount: int
    unit: str = "lines"
    worker: bool = False
    """Whether a process that luna started gets it, not luna itself."""


by_signal = pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
"""A test of each way to stop a command: the signal, its exit code and what is said."""


def assert_refused(outcome: Outcome, code: int, *words: str) -> None:
    """One message that holds all the words, that exit code, no result, no traceback."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert outcome.err.count("error: ") == 1, outcome.err
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err


@pytest.fixture(scope="session")
def nursery() -> Iterator[Callable[[dict], int]]:
    """A process that forks for each command."""
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("nursery.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(asked: dict) -> int:
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


@pytest.fixture
def run_luna(nursery: Callable[[dict], int], tmp_path: Path) -> Callable[..., Outcome]:
    """Run the command: run_luna("diagnose", path, …, VARIABLE="x").

    `strike` is a signal to send, and when.
    """

    def call(*arguments: object, strike: Strike | None = None, **environment: str) -> Outcome:
        streams = [tmp_path / ".stdout", tmp_path / ".stderr"]
        code = nursery(
            {
                "arguments": [str(a) for a in arguments],
                "environment": environment,
                "strike": strike and strike._asdict() | {"pattern": str(strike.pattern)},
                "cwd": str(tmp_path),
                "stdout": str(streams[0]),
                "stderr": str(streams[1]),
            }
        )
        out, err = (s.read_text(encoding="utf-8") for s in streams)
        for stream in streams:
            stream.unlink()
        return Outcome(code, out, err)

    return call


def half_sure(role: str, architecture: str, arguments: dict) -> Bundle:
    """A network that hardly depends on its input: every probability is just below one half."""
    net = build_network(architecture, arguments)
    with torch.no_grad():
        net.head.weight.normal_(0, 1e-6, generator=torch.Generator().manual_seed(0))
        net.head.bias.copy_(torch.linspace(-0.01, -0.02, len(net.head.bias)))
    card = Card(
        name=f"half-{role}",
        role=role,
        architecture=architecture,
        arguments=arguments,
        training_data="none",
        licence="Apache-2.0",
    )
    return Bundle(card, net)


def write_weights(folder: Path) -> Path:
    for made in (
        half_sure("segmentation", "unet", UNET),
        half_sure("nodule", "classifier", CLASSIFIER),
    ):
        save_bundle(made, folder / made.card.name)
    return folder


@pytest.fixture(scope="session")
def good_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two bundles that stay good."""
    return write_weights(tmp_path_factory.mktemp("good"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    return write_weights(tmp_path / "weights")


@pytest.fixture(autouse=True)
def the_command_refuses_it_too(
    run_luna: Callable[..., Outcome], tmp_path: Path, good_weights: Path
) -> Iterator[None]:
    """Run `luna diagnose` on what a test saw refused, at most one of it: exit code 3."""
    refusals.seen.clear()
    yield
    last = next((path for path in reversed(refusals.seen) if path.exists()), None)
    if last is not None:
        out = tmp_path / "report-of-it"
        outcome = run_luna("diagnose", last, "--weights", good_weights, "--out", out)
        assert_refused(outcome, 3)
        assert not out.exists()


@pytest.fixture
def good_scan(chest: Callable[..., Scan], tmp_path: Path) -> Path:
    """A small chest as a MetaImage."""
    scan = chest()
    image = sitk.GetImageFromArray(scan.hu)
    image.SetOrigin(scan.geometry.origin_xyz)
    image.SetSpacing(scan.geometry.spacing_xyz)
    sitk.WriteImage(image, str(tmp_path / "chest.mha"))
    return tmp_path / "chest.mha"


@pytest.fixture
def diagnose(
    run_luna: Callable[..., Outcome], good_scan: Path, weights: Path, tmp_path: Path
) -> Callable[..., Outcome]:
    """`luna diagnose` of the good scan or another, into `out`."""

    def call(*more: object, scan: Path = good_scan, **environment: str) -> Outcome:
        arguments = ("--weights", weights, "--out", tmp_path / "out", *more)
        return run_luna("diagnose", scan, *arguments, **environment)

    return call
