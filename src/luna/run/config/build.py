"""Turn tables of values into frozen dataclasses, checked by the types of their fields."""

from __future__ import annotations

import difflib
import json
import math
import types
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from luna.run.errors import UsageError, naming

NONE_WORD = "none"

INTEGER_MAX = (1 << 63) - 1
"""The largest integer of array libraries."""

KINDS: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text in quotes",
    Path: "a path in quotes",
}


@dataclass(frozen=True)
class Builder:
    """Turns tables into dataclasses; knows where each value came from, for its messages."""

    root: type
    file: Path | None
    overridden: frozenset[tuple[str, ...]]

    def build(self, cls: Any, table: Any, place: tuple[str, ...], under: Any = None) -> Any:
        """Build a dataclass that differs from its defaults, or from `under`, as a table states."""
        if not isinstance(table, dict):
            raise self._wrong(place, table, "a table")
        hints = hints_of(cls)
        for key in table:
            if key not in hints:
                raise self._unknown((*place, key))
        for key in sorted(_required(cls) - table.keys()):
            raise self._fault((*place, key), f"{dotted((*place, key))} is missing")
        values = {
            key: self._convert(hints[key], value, (*place, key), _default(cls, key, under))
            for key, value in table.items()
        }
        with naming(None if self._is_override(place) else self.file):
            return cls(**values) if under is None else replace(under, **values)

    def _convert(self, hint: Any, value: Any, place: tuple[str, ...], under: Any = None) -> Any:
        """Return the value in the field's type; a table changes the dataclass `under` it."""
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
        raise self._fault(place, f"{dotted(place)} is {value!r}, not one of {known}")

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
            raise self._fault(place, f"{dotted(place)} is {value}, not a finite number")
        if kind is int and abs(value) > INTEGER_MAX:
            raise self._wrong(place, "a huge integer", "one of 64 bits")
        return value

    def _unknown(self, place: tuple[str, ...]) -> UsageError:
        known = {dotted(key): key for key in _keys(self.root)}
        by_name = {key[-1]: name for name, key in known.items()}
        near = difflib.get_close_matches(dotted(place), known, n=1, cutoff=0.6)
        same = difflib.get_close_matches(place[-1], by_name, n=1, cutoff=0.8)
        guess = next(iter([*near, *(by_name[name] for name in same)]), None)
        siblings = ", ".join(name for name, key in known.items() if key[:-1] == place[:-1])
        hint = f"did you mean {guess}?" if guess else f"known keys: {siblings}"
        return self._fault(place, f"unknown key {dotted(place)}", hint)

    def _wrong(self, place: tuple[str, ...], value: Any, wanted: str) -> UsageError:
        name = dotted(place) or "the config"
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


def hints_of(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {item.name: hints[item.name] for item in fields(cls) if item.init}


def _required(cls: Any) -> set[str]:
    return {
        item.name
        for item in fields(cls)
        if item.init and item.default is MISSING and item.default_factory is MISSING
    }


def _default(cls: Any, name: str, under: Any) -> Any:
    """Return the default of a field: that of the instance `under` it, or of the dataclass."""
    if under is not None:
        return getattr(under, name)
    (item,) = (item for item in fields(cls) if item.name == name)
    if item.default_factory is not MISSING:
        return item.default_factory()
    return None if item.default is MISSING else item.default


def _keys(cls: type, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every key that a config may set, as the words of its dotted name."""
    for name, hint in hints_of(cls).items():
        yield (*place, name)
        if is_dataclass(hint):
            yield from _keys(hint, (*place, name))  # type: ignore[arg-type]


def dotted(place: tuple[str, ...]) -> str:
    return ".".join(place)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"
