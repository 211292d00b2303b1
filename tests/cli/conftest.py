"""The real command, in this process or in one of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from luna.cli import app
from luna.ct.scan import Scan
from luna.nets.bundle import save_bundle
from luna.nets.models import Models
from luna.phantom.cohort import write_metaimage

HEAD = "seriesuid,coordX,coordY,coordZ,"
UIDS, WITHOUT_NODULES = ("1.0", "1.1", "1.2"), "1.1"


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def luna(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Outcome]]:
    """Run the command in this process, where that tells as much: luna("diagnose", path, …)."""
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> Outcome:
        code = app.run([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command in a process of its own, with pipes; it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "luna", *(str(argument) for argument in arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def original(
    models: Models,
    chest: Callable[..., Scan],
    nodule_chest: Scan,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Weights, and two chests with four nodules each and one without, one to each subset.

    Two of the four are annotated, and of one chest the malignancy is known.
    """
    folder = tmp_path_factory.mktemp("original")
    for bundle in models.bundles():
        save_bundle(bundle, folder / "weights" / bundle.card.name)
    root = folder / "data"
    nodules, kinds, verdicts = HEAD + "diameter_mm\n", HEAD + "kind\n", HEAD + "mal_bool\n"
    candidates = HEAD + "class\n"
    for number, uid in enumerate(UIDS):
        (root / f"subset{number}").mkdir(parents=True)
        scan = chest() if uid == WITHOUT_NODULES else nodule_chest
        hu = scan.hu.copy()
        hu[0, 0, 0] += number  # no two scans are the same
        write_metaimage(root / f"subset{number}" / f"{uid}.mhd", hu, scan.geometry)
        if uid != WITHOUT_NODULES:
            for irc, mm, kind in [((12, 40, 34), 15, "solid"), ((14, 50, 90), 16, "<b>odd</b>")]:
                place = ",".join(map(repr, scan.geometry.xyz_from_irc(irc).tolist()))
                nodules += f"{uid},{place},{mm}\n"
                kinds += f"{uid},{place},{kind}\n"
                verdicts += f"{uid},{place},{mm > 15}\n" * (uid == "1.0")
                candidates += f"{uid},{place},1\n"
        for irc in [(10, 40, 96), (9, 56, 42)]:  # balls in two of the scans, lung in the other
            place = ",".join(map(repr, scan.geometry.xyz_from_irc(irc).tolist()))
            candidates += f"{uid},{place},0\n"
    (root / "annotations.csv").write_text(nodules)
    (root / "annotations_kind.csv").write_text(kinds)
    (root / "annotations_with_malignancy.csv").write_text(verdicts)
    (root / "candidates_V2.csv").write_text(candidates)
    (root / "seriesuids.csv").write_text("".join(f"{uid}\n" for uid in UIDS))
    return folder
