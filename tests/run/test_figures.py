"""matplotlib is loaded with its own defaults, whatever lies around."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASK = "from luna.run.figures import mpl; print(mpl.rcParams['savefig.dpi'])"


@pytest.mark.parametrize("place", ["working folder", "variable", "settings of the user"])
@pytest.mark.parametrize("what", ["pipe", "settings"])
def test_no_matplotlibrc_holds_or_steers_luna(place: str, what: str, tmp_path: Path) -> None:
    folder = tmp_path / "matplotlib"
    folder.mkdir()
    file = folder / "matplotlibrc"
    if what == "pipe":
        os.mkfifo(file)
    else:
        file.write_text("savefig.dpi: 20000\n")
    variables = {
        "working folder": {},
        "variable": {"MATPLOTLIBRC": str(file)},
        "settings of the user": {"XDG_CONFIG_HOME": str(tmp_path)},
    }[place]
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=folder if place == "working folder" else tmp_path,
        env={k: v for k, v in os.environ.items() if k != "MPLCONFIGDIR"} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "figure\n"
