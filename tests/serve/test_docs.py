"""The examples of docs/serve.md run as they stand there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "serve.md"
ADDRESS = "http://127.0.0.1:8765"


def test_the_examples_of_the_docs_run(busy, archive: Path, volume: list[Path], tmp_path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl is installed to run the examples with")
    (script,) = re.findall(r"^```sh\n(.*?)^```", DOCS.read_text(), flags=re.DOTALL | re.MULTILINE)
    for path in (archive, *volume):
        shutil.copy(path, tmp_path / path.name)
    assert script.count(ADDRESS) >= 12
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script.replace(ADDRESS, busy.url)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"status":"ok"' in done.stdout
    assert '"files":["detections.csv"' in done.stdout
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert '"luna-report/1"' in (tmp_path / "report.json").read_text()
    left = {row.label: row.state for row in busy.folder.store.find()}
    assert set(left) == {"1.2.840.mhd and 1 more", "chest.zip"}  # the second is that of `again`
