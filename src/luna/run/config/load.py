"""Read a config: its defaults, a TOML file, and `--set` on top."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from luna.run.config.build import Builder
from luna.run.errors import UsageError

T = TypeVar("T")

CONFIG_BYTES_MAX = 1 << 20
"""A config is written by hand; a larger file is something else."""

CONFIGS = Path(__file__).parents[2] / "configs"
"""Folder of the configs that luna ships."""


def load_config(root: type[T], file: Path | None = None, overrides: Sequence[str] = ()) -> T:
    """Build the dataclass `root` from its defaults, a TOML file and `key=value` overrides.

    Later ones win. `file` is a path, or the name of a config in CONFIGS. Raises UsageError
    that names the file and the dotted key for an unknown key, a value of the wrong type, or
    one that the dataclass itself refuses.
    """
    file = None if file is None else _located(file)
    table = {} if file is None else _read(file)
    overridden = set()
    for text in overrides:
        parts, value = _parse_override(text)
        overridden.add(parts)
        table = _merge(table, _nest(parts, value))
    return Builder(root, file, frozenset(overridden)).build(root, table, ())  # type: ignore[no-any-return]


def _located(file: Path) -> Path:
    """Return the path of the config that luna ships under this name, else the path given."""
    shipped = next((path for path in CONFIGS.glob("*.toml") if path.stem == str(file)), None)
    if shipped is None:
        return file
    if file.exists():
        raise UsageError(
            f"{file} is both a path here and the name of a config",
            hint=f"give the path as {file.absolute()}, or start luna in another folder",
        )
    return shipped


def _read(file: Path) -> dict[str, Any]:
    try:
        if not file.is_file():
            names = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.toml")))
            raise UsageError("no such config file", file=file, hint=f"luna's own are {names}")
        if file.stat().st_size > CONFIG_BYTES_MAX:
            raise UsageError(f"a config larger than {CONFIG_BYTES_MAX} bytes", file=file)
        return tomllib.loads(file.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError("this config cannot be read", file=file, why=str(error)) from error


def _parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """Return dotted key and value of `key=value`; anything but a TOML value is text."""
    key, equals, raw = text.partition("=")
    parts = tuple(part.strip() for part in key.split("."))
    if not equals or not all(parts):
        raise UsageError(
            f"--set {text} is not key=value", hint="for example --set segment.batch_slices=4"
        )
    try:
        parsed = tomllib.loads(f"value = {raw}")
    except (ValueError, RecursionError):
        return parts, raw
    # A line break in the text could smuggle in a second key; then it is text as well.
    return parts, parsed["value"] if len(parsed) == 1 else raw


def _nest(parts: tuple[str, ...], value: Any) -> dict[str, Any]:
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
