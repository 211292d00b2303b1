"""What pip reports becomes requirements whose bytes are known."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "lock_hashes.py"


def item(name: str, version: str, **download: object) -> dict[str, object]:
    return {"metadata": {"name": name, "version": version}, "download_info": download}


def test_every_archive_has_its_hash_and_the_folder_of_luna_is_left_out(tmp_path: Path) -> None:
    report = {
        "install": [
            item("torch", "2.13.0", archive_info={"hashes": {"sha256": "b" * 64}}),
            item("luna-ct", "0.2.0", dir_info={"editable": True}),
            item("Diskcache", "5.6.3", archive_info={"hashes": {"sha256": "a" * 64}}),
        ]
    }
    (tmp_path / "lock.json").write_text(json.dumps(report))
    command = [sys.executable, str(SCRIPT), str(tmp_path / "lock.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"Diskcache==5.6.3 --hash=sha256:{'a' * 64}",
        f"torch==2.13.0 --hash=sha256:{'b' * 64}",
    ]


def test_without_a_report_the_usage_is_told() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "--require-hashes" in done.stderr
    assert runpy.run_path(str(SCRIPT))["locked"]
