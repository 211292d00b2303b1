"""A share of the items, for machines that know nothing of each other: `--shard i/n`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from luna.run.errors import UsageError

I = TypeVar("I")  # noqa: E741 - an item

MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` shares; `number` counts from 1.

    The name of an item alone decides its share: a list may grow or be sorted otherwise, and
    every item is in the same share as before.
    """

    number: int
    count: int

    @classmethod
    def named(cls, text: str) -> Shard:
        """Return the share that a text as `3/100` names. Raises UsageError for another text.

        >>> Shard.named("3/100")
        Shard(number=3, count=100)
        """
        match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text)
        number, count = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= count <= MOST:
            raise UsageError(
                f"no share {text!r}", hint="--shard 3/100 is the third of a hundred; 1 is the first"
            )
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Mapping[str, I]) -> dict[str, I]:
        """Return the items of this share, in their order."""
        return {name: item for name, item in items.items() if self.holds(name)}

    def holds(self, name: str) -> bool:
        """Return whether the item of a name is in this share."""
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1
