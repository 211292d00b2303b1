"""JSON files with a checksum in front of the values, so that damage is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luna.run.files import replace_file

CHECKED_BYTES_MAX = 1 << 28
"""No result of luna is larger; a larger file is something else."""

Json = dict[str, Any]


class DamagedError(ValueError):
    """A file, or an entry of the cache, that is not what luna wrote."""


def write_checked(path: Path, values: Json) -> None:
    """Write values and their checksum as a file that appears whole or not at all."""
    document = {"sha256": _checksum(values), **values}
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")


def read_checked(path: Path) -> Json:
    """Return the values of a file. Raises DamagedError unless they are those that were written."""
    try:
        if not path.is_file() or path.stat().st_size > CHECKED_BYTES_MAX:
            raise DamagedError("it is not a plain file of luna")
        values = json.loads(path.read_text(encoding="utf-8"))
        checksum = values.pop("sha256")
        whole = checksum == _checksum(values)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedError(f"it cannot be read: {type(error).__name__}: {error}") from error
    if not whole:
        raise DamagedError("its checksum differs: it was edited or damaged")
    return dict(values)


def _checksum(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
