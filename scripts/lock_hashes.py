"""Print a requirements file with the SHA-256 of every package that pip would install here.

    pip install --dry-run --ignore-installed --report lock.json -c constraints.txt .
    python scripts/lock_hashes.py lock.json > locked.txt
    pip install --require-hashes --no-deps -r locked.txt
    pip install --no-deps .

constraints.txt itself has no hashes: torch alone has a build for each kind of machine, and what is
right for one is refused on another. Packages that come from no archive, such as luna, are left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def locked(report: dict[str, Any]) -> Iterator[str]:
    """A requirement with its hash for each package of a report, sorted by name."""
    for item in sorted(report["install"], key=lambda item: item["metadata"]["name"].lower()):
        sha256 = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if sha256:
            name, version = item["metadata"]["name"], item["metadata"]["version"]
            yield f"{name}=={version} --hash=sha256:{sha256}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print("\n".join(locked(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
