"""TOML and `--set` to any frozen dataclass, and back. It knows no field.

A file is a diff from the defaults; `--set a.b=value` is a diff from the file. Supported field
types: bool, int, float, str, Path, Literal, tuples, `X | None` and nested dataclasses. Numbers
are finite, integers fit 64 bits. TOML has no null: the word "none" stands for None wherever a
field may be None.
"""

from __future__ import annotations

import difflib
import json
import math
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from luna.run.errors import UsageError, naming
from luna.run.files import is_text

T = TypeVar("T")

NONE_WORD = "none"
CONFIG_BYTES_MAX = 1 << 20
"""A config is written by hand; a larger file is something else."""

CONFIGS = Path(__file__).parents[1] / "configs"
"""Folder of the configs that luna ships."""

INTEGER_MAX = (1 << 63) - 1
"""What array libraries can count with."""

KINDS: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text in quotes",
    Path: "a path in quotes",
}


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
    return _Builder(root, file, frozenset(overridden)).build(root, table, ())  # type: ignore[no-any-return]


def dump_config(config: Any) -> str:
    """TOML text with every field of a dataclass; `load_config` reads the same values back."""
    return "\n".join(_emit(config, ())).strip() + "\n"


def flat(config: Any) -> dict[str, bool | int | float | str]:
    """Every value of a dataclass under its dotted key; what is no number is text."""
    found: dict[str, bool | int | float | str] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            found |= {f"{item.name}.{key}": inner for key, inner in flat(value).items()}
        else:
            found[item.name] = value if isinstance(value, bool | int | float) else str(value)
    return found


def _located(file: Path) -> Path:
    """The config that luna ships under this name, otherwise the path as given."""
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
    """Dotted key and value of `key=value`; what is no TOML value is text."""
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


@dataclass(frozen=True)
class _Builder:
    """Turns tables into dataclasses; knows where each value came from, for its messages."""

    root: type
    file: Path | None
    overridden: frozenset[tuple[str, ...]]

    def build(self, cls: Any, table: Any, place: tuple[str, ...], under: Any = None) -> Any:
        """A dataclass that differs from its defaults, or from `under`, in what a table says."""
        if not isinstance(table, dict):
            raise self._wrong(place, table, "a table")
        hints = _hints(cls)
        for key in table:
            if key not in hints:
                raise self._unknown((*place, key))
        for key in sorted(_required(cls) - table.keys()):
            raise self._fault((*place, key), f"{_dotted((*place, key))} is missing")
        values = {
            key: self._convert(hints[key], value, (*place, key), _default(cls, key, under))
            for key, value in table.items()
        }
        with naming(None if self._is_override(place) else self.file):
            return cls(**values) if under is None else replace(under, **values)

    def _convert(self, hint: Any, value: Any, place: tuple[str, ...], under: Any = None) -> Any:
        """The value as the type says, or UsageError; a table changes the dataclass `under` it."""
        if is_dataclass(hint):
            return self.build(hint, value, place, under)
        origin, args = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            return self._optional(args, value, place)
        if origin is Literal:
            return self._choice(args, value, place)
        if origin is tuple:
            return self._tuple(args, value, place)
        return self._scalar(hint, value, place)

    def _optional(self, args: tuple[Any, ...], value: Any, place: tuple[str, ...]) -> Any:
        (inner,) = (arg for arg in args if arg is not type(None))
        return None if value == NONE_WORD else self._convert(inner, value, place)

    def _choice(self, args: tuple[Any, ...], value: Any, place: tuple[str, ...]) -> Any:
        for choice in args:
            # The type too: 1 == True in Python.
            if type(choice) is type(value) and choice == value:
                return choice
        known = ", ".join(str(choice) for choice in args)
        raise self._fault(place, f"{_dotted(place)} is {value!r}, none of {known}")

    def _tuple(self, args: tuple[Any, ...], value: Any, place: tuple[str, ...]) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise self._wrong(place, value, "a list in brackets")
        if args[-1] is Ellipsis:
            args = (args[0],) * len(value)
        if len(args) != len(value):
            raise self._wrong(place, value, f"a list of {len(args)}")
        return tuple(self._convert(a, v, place) for a, v in zip(args, value, strict=True))

    def _scalar(self, kind: Any, value: Any, place: tuple[str, ...]) -> Any:
        if kind not in KINDS:
            raise TypeError(f"a config field cannot be {kind!r}")
        if kind is float and type(value) is int:
            try:
                value = float(value)
            except OverflowError as error:
                raise self._wrong(place, "a huge integer", KINDS[float]) from error
        if kind is Path and isinstance(value, str):
            return Path(value)
        if type(value) is not kind:
            raise self._wrong(place, value, KINDS[kind])
        if kind is float and not math.isfinite(value):
            raise self._fault(place, f"{_dotted(place)} is {value}, not a finite number")
        if kind is int and abs(value) > INTEGER_MAX:
            raise self._wrong(place, "a huge integer", "one of 64 bits")
        return value

    def _unknown(self, place: tuple[str, ...]) -> UsageError:
        known = {_dotted(key): key for key in _keys(self.root)}
        by_name = {key[-1]: name for name, key in known.items()}
        near = difflib.get_close_matches(_dotted(place), known, n=1, cutoff=0.6)
        same = difflib.get_close_matches(place[-1], by_name, n=1, cutoff=0.8)
        guess = next(iter([*near, *(by_name[name] for name in same)]), None)
        siblings = ", ".join(name for name, key in known.items() if key[:-1] == place[:-1])
        hint = f"did you mean {guess}?" if guess else f"known keys: {siblings}"
        return self._fault(place, f"unknown key {_dotted(place)}", hint)

    def _wrong(self, place: tuple[str, ...], value: Any, wanted: str) -> UsageError:
        name = _dotted(place) or "the config"
        return self._fault(place, f"{name} is {_shown(value)}, not {wanted}")

    def _fault(self, place: tuple[str, ...], what: str, hint: str = "") -> UsageError:
        if self._is_override(place):
            return UsageError(f"--set: {what}", hint=hint)
        return UsageError(what, file=self.file, hint=hint)

    def _is_override(self, place: tuple[str, ...]) -> bool:
        """Whether the value at a place, or any above or below it, came from `--set`."""
        return any(
            place[: len(key)] == key or key[: len(place)] == place for key in self.overridden
        )


def _hints(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {item.name: hints[item.name] for item in fields(cls) if item.init}


def _required(cls: Any) -> set[str]:
    return {
        item.name
        for item in fields(cls)
        if item.init and item.default is MISSING and item.default_factory is MISSING
    }


def _default(cls: Any, name: str, under: Any) -> Any:
    """What a field of a dataclass, or of the instance `under` it, holds where nothing is said."""
    if under is not None:
        return getattr(under, name)
    (item,) = (item for item in fields(cls) if item.name == name)
    if item.default_factory is not MISSING:
        return item.default_factory()
    return None if item.default is MISSING else item.default


def _keys(cls: type, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key that a config may set, as parts of the dotted name."""
    for name, hint in _hints(cls).items():
        yield (*place, name)
        if is_dataclass(hint):
            yield from _keys(hint, (*place, name))  # type: ignore[arg-type]


def _dotted(place: tuple[str, ...]) -> str:
    return ".".join(place)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _emit(config: Any, place: tuple[str, ...]) -> Iterator[str]:
    """Lines of a dataclass: its plain values first, then a table per nested dataclass."""
    nested = []
    if place:
        yield f"\n[{_dotted(place)}]"
    hints = _hints(type(config))
    for name, hint in hints.items():
        value = getattr(config, name)
        if is_dataclass(value):
            nested.append((name, value))
        elif value == NONE_WORD and type(None) in get_args(hint):
            raise UsageError(f"{_dotted((*place, name))} cannot be the word {NONE_WORD}")
        elif not is_text(str(value)):
            raise UsageError(
                f"{_dotted((*place, name))} is no text in UTF-8",
                why=repr(str(value)),
                hint="rename the file or folder: TOML cannot hold its name",
            )
        else:
            yield f"{name} = {_toml(value)}"
    for name, value in nested:
        yield from _emit(value, (*place, name))


def _toml(value: Any) -> str:
    if value is None:
        return f'"{NONE_WORD}"'
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    # JSON's escapes are TOML's, but JSON leaves DEL as it is.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
