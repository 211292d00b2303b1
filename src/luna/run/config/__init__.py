"""TOML and `--set` to any frozen dataclass, and back. It knows no field.

A file is a diff from the defaults; `--set a.b=value` is a diff from the file. Supported field
types: bool, int, float, str, Path, Literal, tuples, `X | None` and nested dataclasses. Numbers
are finite, integers fit 64 bits. TOML has no null: the word "none" stands for None wherever a
field may be None.
"""

from luna.run.config.build import INTEGER_MAX
from luna.run.config.dump import dump_config, flat
from luna.run.config.load import CONFIGS, load_config

__all__ = ["CONFIGS", "INTEGER_MAX", "dump_config", "flat", "load_config"]
