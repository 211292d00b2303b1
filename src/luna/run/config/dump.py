"""Write a config as TOML, or as one flat table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from luna.run.config.build import NONE_WORD, dotted, hints_of
from luna.run.errors import UsageError
from luna.run.files import is_text


def dump_config(config: Any) -> str:
    """Return TOML text with every field; `load_config` reads the same values back."""
    return "\n".join(_emit(config, ())).strip() + "\n"


def flat(config: Any) -> dict[str, bool | int | float | str]:
    """Return every value under its dotted key, as a number or text."""
    found: dict[str, bool | int | float | str] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            found |= {f"{item.name}.{key}": inner for key, inner in flat(value).items()}
        else:
            found[item.name] = value if isinstance(value, bool | int | float) else str(value)
    return found


def _emit(config: Any, place: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of a dataclass: plain values first, then a table per nested one."""
    nested = []
    if place:
        yield f"\n[{dotted(place)}]"
    hints = hints_of(type(config))
    for name, hint in hints.items():
        value = getattr(config, name)
        if is_dataclass(value):
            nested.append((name, value))
        elif value == NONE_WORD and type(None) in get_args(hint):
            raise UsageError(f"{dotted((*place, name))} cannot be the word {NONE_WORD}")
        elif not is_text(str(value)):
            raise UsageError(
                f"{dotted((*place, name))} is not valid UTF-8",
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
