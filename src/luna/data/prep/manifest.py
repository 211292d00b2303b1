"""The manifest of a cache: what is in it, in a file with a checksum of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from luna.data.prep.config import FORMAT, CandidateConfig, PrepConfig
from luna.run.checked import DamagedError, Json, read_checked, write_checked
from luna.run.errors import TrustError, UsageError
from luna.run.notice import Notice
from luna.run.record import versions

MANIFEST = "prepared.json"

AGAIN = "run `luna prep` again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The scans of a cohort that are in a cache, and what a split of them depends on.

    `series` is the full list of series UIDs, `records` the keys of the scans' records, `failed`
    why there is none, by series UID. `fingerprint` identifies scans, marks and config.
    """

    fingerprint: str
    config: PrepConfig
    series: tuple[str, ...]
    fold_of: Mapping[str, int]
    patient_of: Mapping[str, str]
    records: Mapping[str, str]
    failed: Mapping[str, str]
    notices: tuple[Notice, ...] = ()


def write_manifest(cache: Path, manifest: Manifest) -> None:
    """Write the manifest into a cache folder."""
    values = {
        "format": FORMAT,
        "fingerprint": manifest.fingerprint,
        "config": asdict(manifest.config),
        "versions": versions(),
        "series": manifest.series,
        "fold_of": dict(manifest.fold_of),
        "patient_of": dict(manifest.patient_of),
        "records": dict(sorted(manifest.records.items())),
        "failed": dict(sorted(manifest.failed.items())),
        "notices": [str(n) for n in manifest.notices],
    }
    write_checked(cache / MANIFEST, values)


def read_manifest(cache: Path) -> Manifest:
    """Read the manifest of a cache folder, without its notices.

    Raises TrustError when there is none, or one that was edited or is of another version.
    """
    place = cache / MANIFEST
    if not place.is_file():
        raise TrustError("no prepared cohort here", file=cache, hint="run `luna prep` first")
    try:
        values = read_checked(place)
        if values["format"] != FORMAT:
            raise TrustError("prepared by another version of luna", file=place, hint=AGAIN)
        candidates = CandidateConfig(**values["config"].pop("candidates"))
        return Manifest(
            fingerprint=values["fingerprint"],
            config=PrepConfig(**values["config"], candidates=candidates),
            series=tuple(values["series"]),
            fold_of=_table(values, "fold_of"),
            patient_of=_table(values, "patient_of"),
            records=_table(values, "records"),
            failed=_table(values, "failed"),
        )
    except (DamagedError, UsageError, KeyError, TypeError, AttributeError) as error:
        raise TrustError(
            "the list of prepared scans cannot be trusted",
            file=place,
            why=str(error),
            hint=f"{AGAIN}: it keeps what is in the cache",
        ) from error


def _table(values: Json, name: str) -> dict[str, Any]:
    if not isinstance(values[name], dict):
        raise TypeError(f"{name} is no table")
    return dict(values[name])
