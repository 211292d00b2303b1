"""What surrounds a command: streams, folders, variables, limits and signals, each with its code.

Every line of the tables is a shell command in a process of its own. DIAG is a diagnosis of a good
scan, LUNA the command; none may end with a traceback or the exit code 1.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from .conftest import Outcome

ANYBODY = "setpriv --reuid=54321 --regid=54321 --clear-groups"
"""Root may read everything; a test of permissions runs as somebody else."""


class Case(NamedTuple):
    """A surrounding: the shell's words, the exit code, and words of the output."""

    name: str
    shell: str
    code: int
    words: tuple[str, ...] = ()


QUICK = (
    Case("ASCII terminal", "PYTHONIOENCODING=ascii LUNA --help", 0, ("Exit codes",)),
    Case("Latin-1 terminal", "PYTHONIOENCODING=latin-1 LUNA train-seg --help", 0),
    Case("C locale", "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 LUNA prep --help", 0),
    Case("stdout closed", "LUNA --version >&-", 0),
    Case("stderr closed", "LUNA nonsense 2>&-", 2),
    Case("all closed", "LUNA --help <&- >&- 2>&-", 0),
    Case("stdout full", "LUNA --version > /dev/full", 4, ("the disk is full",)),
    Case("stderr full", "LUNA nonsense 2> /dev/full", 2),
    Case("both full", "LUNA --help > /dev/full 2>&1", 4),
    Case("reader gone", "{ LUNA --help; echo $? > code; } | true; exit $(cat code)", 141),
    Case(
        "working folder deleted",
        "mkdir gone; cd gone; rmdir ../gone; LUNA doctor",
        4,
        ("the working folder is gone", "hint: change to a folder"),
    ),
    Case("shell without completion", "sh -c 'LUNA --show-completion; exit $?'", 2),
    Case("shell unknown", "_LUNA_COMPLETE=complete_nonsense LUNA", 2, ("not supported",)),
    Case("completion of nonsense", "COMP_CWORD=x _LUNA_COMPLETE=complete_bash LUNA", 2),
    Case(
        "config with a long name",
        "LUNA diagnose x --out o --config $(printf 'x%.0s' {1..3000})",
        2,
    ),
    Case(
        "line break in a name",
        "LUNA diagnose $'a\\nerror: all is well\\n.mha' --out o",
        2,
        ("a\\nerror: all is well\\n.mha",),
    ),
    Case("memory for no torch", "ulimit -v 716800; DIAG", 4, ("out of memory", " 700 MiB")),
    Case("memory for hardly torch", "ulimit -v 1024000; DIAG", 4, ("out of memory", " 1000 MiB")),
    Case("torch refuses a variable", "TORCH_LOGS=nonsense DIAG", 4, ("TORCH_LOGS",)),
    Case("device beyond counting", "DIAG --device cuda:99999999999999999999", 4, ("not there",)),
    Case("Apple's device elsewhere", "DIAG --device mps", 4, ("mps is not there",)),
)

SLOW = (
    Case("diagnosis to an ASCII terminal", "PYTHONIOENCODING=ascii DIAG/ö", 0, ("\\xf6",)),
    Case("diagnosis to a closed stdout", "DIAG >&-", 0),
    Case("diagnosis to a full stdout", "DIAG > /dev/full", 4, ("the disk is full",)),
    Case("diagnosis with all closed", "DIAG <&- >&- 2>&-", 0),
    Case("git prints no text", "PATH=bin:$PATH DIAG", 0),
    Case("git hangs", "PATH=hang:$PATH DIAG", 0),
    Case("memory for a small scan", "ulimit -v 1638400; DIAG", 0, ("Looked at the lungs",)),
    Case("no threads", "prlimit --nproc=1 ANYBODY DIAG", 4),
    Case("HOME unset, user unknown", "env -u HOME ANYBODY LUNA weights list", 0, ("shipped",)),
    Case(
        "HOME unset for a download",
        "env -u HOME ANYBODY LUNA weights fetch book --from .",
        4,
        ("no folder for downloads",),
    ),
    Case("scan of somebody else", "chmod 0 chest.mha; ANYBODY DIAG", 4, ("permission denied",)),
    Case("backend of a notebook", "MPLBACKEND=module://nonsense LUNA doctor", 0),
)


@pytest.fixture
def shell(good_scan: Path, good_weights: Path, tmp_path: Path) -> Callable[[str], Outcome]:
    """Run shell words; `git` in bin/ prints bytes that are no text, the one in hang/ hangs."""
    for folder, words in (("bin", "printf '\\377\\376\\n'"), ("hang", "sleep 600")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "git").write_text(f"#!/bin/sh\n{words}\n")
        (tmp_path / folder / "git").chmod(0o755)
    luna = f"{sys.executable} -m luna"
    diagnose = f"{luna} diagnose {good_scan} --weights {good_weights} --out {tmp_path / 'out'}"

    def run(words: str) -> Outcome:
        for name, value in (("DIAG", diagnose), ("LUNA", luna), ("ANYBODY", ANYBODY)):
            words = re.sub(rf"\b{name}\b", value, words)
        done = subprocess.run(
            ["bash", "-c", words],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        return Outcome(done.returncode, out, err)

    return run


def check(case: Case, outcome: Outcome) -> None:
    assert outcome.code == case.code, outcome
    assert "Traceback" not in outcome.err
    assert "Exception ignored" not in outcome.err
    for words in case.words:
        assert words in outcome.out + outcome.err


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_a_surrounding_has_its_exit_code(shell: Callable[[str], Outcome], case: Case) -> None:
    check(case, shell(case.shell))


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW, ids=lambda case: case.name)
def test_a_surrounding_of_a_whole_run(
    shell: Callable[[str], Outcome], tmp_path: Path, case: Case
) -> None:
    if "ANYBODY" in case.shell:
        if os.geteuid():
            pytest.skip("only root can run a command as somebody else")
        for folder in (tmp_path, *tmp_path.parents[:3]):
            folder.chmod(0o777)
    check(case, shell(case.shell))


@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.2])
def test_ctrl_c_while_luna_is_loaded(seconds: float) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "luna", "doctor"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:
        time.sleep(seconds)
        for _ in range(5):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        _, err = process.communicate(timeout=60)
    assert process.returncode in (130, 0), err
    assert "Traceback" not in err
