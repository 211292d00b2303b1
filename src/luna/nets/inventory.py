"""The bundles on this machine: shipped ones, fetched ones, and those that runs trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luna.nets.card import CARD_NAME, Card, read_card
from luna.nets.fetch import cache_folder
from luna.nets.models import SHIPPED_FOLDER
from luna.run.errors import EnvironmentFault, TrustError

FIGURES = ("auc", "dice", "recall", "precision")
"""The metrics that the list shows. Classifiers have an AUC, segmenters a Dice."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A bundle's folder and its card, or why the card cannot be read."""

    origin: str
    folder: Path
    card: Card | None
    fault: str = ""

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return origin, role, name, main metrics and folder."""
        if self.card is None:
            return self.origin, "?", "", self.fault, str(self.folder)
        metrics = self.card.metrics
        figures = "  ".join(f"{name} {metrics[name]:.3f}" for name in FIGURES if name in metrics)
        return self.origin, self.card.role, self.card.name, figures or "–", str(self.folder)

    def facts(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        card = self.card.values() if self.card else {"fault": self.fault}
        return {"origin": self.origin, "folder": str(self.folder), **card}


def list_bundles(runs: Path) -> list[Entry]:
    """Return every bundle that luna finds, its own first; a damaged one says so."""
    return [_entry(origin, folder) for origin, folder in _folders(runs)]


def _folders(runs: Path) -> Iterator[tuple[str, Path]]:
    for card in sorted(SHIPPED_FOLDER.glob(f"*/{CARD_NAME}")):
        yield "shipped", card.parent
    with suppress(EnvironmentFault):  # without a home folder nothing was fetched
        for card in sorted((cache_folder() / "book").glob(f"*/{CARD_NAME}")):
            yield "fetched", card.parent
    for card in sorted(runs.glob(f"*/bundle/{CARD_NAME}")):
        yield "trained", card.parent


def _entry(origin: str, folder: Path) -> Entry:
    try:
        return Entry(origin, folder, read_card(folder))
    except TrustError as error:
        return Entry(origin, folder, None, error.what)
