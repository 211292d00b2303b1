"""Exit codes, messages and streams of the command, against docs/cli.md."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from luna import __version__
from luna.cli.shell.process import set_environment
from luna.run.errors import (
    DivergedError,
    EnvironmentFault,
    InputError,
    LunaError,
    PartialFailure,
    TrustError,
    UsageError,
)

DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
Luna = Callable[..., Any]
Spawn = Callable[..., "subprocess.Popen[str]"]

RAISED: list[tuple[BaseException, int]] = [
    (ZeroDivisionError("x"), 1),
    (LunaError("broken"), 1),
    (OSError("no errno"), 1),
    (UsageError("bad"), 2),
    (InputError("bad"), 3),
    (EnvironmentFault("bad"), 4),
    (MemoryError(), 4),
    (torch.OutOfMemoryError("CUDA out of memory"), 4),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 4),
    (OSError(errno.ENOSPC, "No space left on device", "/x"), 4),
    (PermissionError(errno.EACCES, "Permission denied", "/x"), 4),
    (PartialFailure("some"), 5),
    (TrustError("bad"), 6),
    (DivergedError("nan"), 7),
    (KeyboardInterrupt(), 130),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141),
    (SystemExit(143), 143),
    (SystemExit(129), 129),
    (RuntimeError("can't start new thread"), 4),
    (ImportError("libtorch.so: failed to map segment from shared object"), 4),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), 4),
]


def documented_codes() -> set[int]:
    return {int(code) for code in re.findall(r"^\| (\d+) \|", DOCS, flags=re.MULTILINE)}


def raise_in_doctor(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def inspect_machine() -> None:
        raise error

    monkeypatch.setattr("luna.run.machine.inspection.inspect_machine", inspect_machine)


@pytest.mark.parametrize(("error", "code"), RAISED, ids=lambda value: repr(value)[:40])
def test_every_error_has_its_exit_code(
    luna: Luna, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    raise_in_doctor(monkeypatch, error)
    outcome = luna("doctor")
    assert outcome.code == code
    assert outcome.out == ""
    assert outcome.err.startswith("error: ") or code == 141
    assert "Traceback" not in outcome.err


def test_docs_list_exactly_the_exit_codes() -> None:
    assert documented_codes() == {code for _, code in RAISED} | {0}


def test_hint_stands_after_a_blank_line(luna: Luna, monkeypatch: pytest.MonkeyPatch) -> None:
    raise_in_doctor(
        monkeypatch, InputError("too short", file="a.mhd", why="3 of 4 bytes", hint="copy it again")
    )
    assert luna("doctor").err == ("error: a.mhd: too short (3 of 4 bytes)\n\nhint: copy it again\n")


def test_debug_shows_the_traceback(luna: Luna, monkeypatch: pytest.MonkeyPatch) -> None:
    raise_in_doctor(monkeypatch, ZeroDivisionError("x"))
    assert "--debug" in luna("doctor").err
    assert "Traceback" in luna("doctor", "--debug").err


def test_messages_cannot_steer_the_terminal(luna: Luna, monkeypatch: pytest.MonkeyPatch) -> None:
    raise_in_doctor(monkeypatch, InputError("\x1b[31m[bold]red[/]", file="\u202egnp.exe"))
    assert luna("doctor").err == "error: \\u202egnp.exe: \\x1b[31m[bold]red[/]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diagnos"], "no such command 'diagnos'"),
        (["prep"], "missing"),
        (["doctor", "--jsno"], "no such option"),
        (["phantom", "x", "--scans", "many"], "invalid value for '--scans'"),
    ],
)
def test_usage_errors(luna: Luna, arguments: list[str], message: str) -> None:
    outcome = luna(*arguments)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {message}")
    assert "hint: see `luna" in outcome.err


def test_version_and_help(luna: Luna) -> None:
    assert luna("--version") == (0, f"luna {__version__}\n", "")
    assert luna("--help").code == 0
    assert luna().code == 2


def test_importing_the_command_is_light() -> None:
    heavy = "{'torch', 'SimpleITK', 'numpy', 'scipy', 'pydicom', 'matplotlib', 'rich.console'}"
    code = f"import luna.cli.app, sys; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_doctor_tells_the_machine(luna: Luna) -> None:
    outcome = luna("doctor", "--json")
    facts = json.loads(outcome.out)
    assert (outcome.code, facts["missing"], facts["luna"]) == (0, [], __version__)
    assert {p["name"].lower() for p in facts["packages"]} >= {"torch", "simpleitk", "numpy"}
    plain = luna("doctor").out
    assert "torch\t" in plain
    assert "device: cpu" in plain


def test_doctor_says_what_training_takes_without_a_gpu(
    luna: Luna, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("luna.run.machine.inspection._devices", lambda: (("cpu",), False, ()))
    assert "training full networks hours to days" in luna("doctor", "--json").out


def test_doctor_survives_a_broken_driver(luna: Luna, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("CUDA driver initialization failed, you might not have a CUDA gpu.")

    for name in ("get_device_capability", "get_device_name", "init"):
        monkeypatch.setattr(torch.cuda, name, broken)
    for cards, words in ((1, "cuda:0 cannot be used: "), (0, "no CUDA card can be used: ")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda cards=cards: cards)
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        outcome = luna("doctor")
        assert outcome.code == 0
        assert f"advice: {words}CUDA driver initialization failed" in outcome.out
        assert "advice: no CUDA card: diagnosis takes longer" in outcome.out


def test_doctor_fails_when_a_package_is_missing(
    luna: Luna, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["numpy>=999", "no-such-package>=1", 'pytest>=8; extra == "dev"']
    monkeypatch.setattr("luna.run.machine.inspection.requires", lambda name: lines)
    outcome = luna("doctor")
    assert outcome.code == 4
    assert "no-such-package: not installed" in outcome.err
    assert ">=999" in outcome.err
    assert "pytest" not in outcome.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_command_with_their_code(
    spawn: Spawn, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = spawn("phantom", tmp_path / "cohort", "--scans", 200, "--set", "size=64")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("scan 1/200 ")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "error: interrupted" in err or "error: terminated" in err
    assert not list((tmp_path / "cohort").rglob(".tmp-*"))


def test_a_reader_that_leaves_is_no_bug(spawn: Spawn) -> None:
    process = spawn("doctor", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 141


def test_the_shell_completes_commands() -> None:
    asked = {"_LUNA_COMPLETE": "complete_bash", "COMP_WORDS": "luna dia", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from luna.cli.app import main; main()"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | asked,
        check=True,
    )
    assert done.stdout.split() == ["diagnose"]


def test_waiting_threads_sleep_unless_the_user_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        set_environment()
        assert os.environ["OMP_WAIT_POLICY"] == expected
