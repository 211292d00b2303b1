"""The bundles at hand: shipped ones, fetched ones, and those that runs trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from luna.nets.bundle import CARD_NAME, Card, read_card
from luna.nets.fetch import cache_folder
from luna.nets.models import SHIPPED_FOLDER
from luna.run.errors import TrustError

FIGURES = ("auc", "dice", "recall", "precision")
"""Metrics that a line of the list has room for. Classifiers have an AUC, segmenters a Dice."""


@dataclass(frozen=True, slots=True)
class Item:
    """A bundle's place and its card, or why the card cannot be read."""

    origin: str
    folder: Path
    card: Card | None
    fault: str = ""

    def cells(self) -> tuple[str, str, str, str, str]:
        """Origin, role, name, main figures, folder."""
        if self.card is None:
            return self.origin, "?", "", self.fault, str(self.folder)
        metrics = self.card.metrics
        figures = "  ".join(f"{name} {metrics[name]:.3f}" for name in FIGURES if name in metrics)
        return self.origin, self.card.role, self.card.name, figures or "–", str(self.folder)

    def facts(self) -> dict[str, Any]:
        """All of it, for a program."""
        card = asdict(self.card) if self.card else {"fault": self.fault}
        return {"origin": self.origin, "folder": str(self.folder), **card}


def on_the_shelf(runs: Path) -> list[Item]:
    """Every bundle that luna finds, its own first; a damaged one is listed as such."""
    return [_item(origin, folder) for origin, folder in _folders(runs)]


def _folders(runs: Path) -> Iterator[tuple[str, Path]]:
    for card in sorted(SHIPPED_FOLDER.glob(f"*/{CARD_NAME}")):
        yield "shipped", card.parent
    for card in sorted((cache_folder() / "book").glob(f"*/{CARD_NAME}")):
        yield "fetched", card.parent
    for card in sorted(runs.glob(f"*/bundle/{CARD_NAME}")):
        yield "trained", card.parent


def _item(origin: str, folder: Path) -> Item:
    try:
        return Item(origin, folder, read_card(folder))
    except TrustError as error:
        return Item(origin, folder, None, error.what)
