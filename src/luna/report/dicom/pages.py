"""Pages of A4, filled from the top: lines, names with values, and room for pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

A4_INCHES = (8.27, 11.69)
MARGIN, LINE = 0.07, 0.0145
"""Of the page: the margin on each side, and the height of a line of small text."""

SMALL, LARGE = 8.5, 13.0
"""Sizes of type in points."""

WIDTH, VALUE_WIDTH = 100, 50
"""Characters of small type in a line, and in the column of values."""

VALUES_AT = 0.45
"""Where the column of values begins."""

GAP = 0.01
"""Between pictures, of the page's width."""

GREY = "0.35"


class Pages:
    """Writes lines from the top of a page, and turns to the next where one is full.

    `foot` stands at the foot of each page, with its number.
    """

    def __init__(self, pages: PdfPages, foot: str) -> None:
        self._pages: Any = pages  # its methods carry no types
        self._foot = foot
        self._figure: Figure | None = None
        self._at = 0.0
        self._count = 0

    def need(self, height: float) -> Figure:
        """Return the page, or a new one where less than this part of its height is left."""
        if self._figure is None or self._at - height < MARGIN:
            self.finish()
            self._figure, self._at = Figure(figsize=A4_INCHES), 1 - MARGIN
            self._count += 1
        return self._figure

    def line(self, text: str = "", *, size: float = SMALL, bold: bool = False) -> None:
        """Write a text, wrapped; a heading (bold) is not left alone at the foot of a page."""
        height = LINE * size / SMALL
        weight = "bold" if bold else "normal"
        for part in textwrap.wrap(text, int(WIDTH * SMALL / size)) or [""]:
            page = self.need(height + (4 * LINE if bold else 0))
            self._write(page, MARGIN, part, size, weight, "black")
            self._at -= height

    def lines(self, texts: Iterable[str]) -> None:
        """Write texts, each from the beginning of a line."""
        for text in texts:
            self.line(text)

    def columns(self, rows: Iterable[tuple[str, str]]) -> None:
        """Write names and values side by side."""
        for name, value in rows:
            for k, part in enumerate(textwrap.wrap(value, VALUE_WIDTH) or [""]):
                page = self.need(LINE)
                self._write(page, MARGIN, "" if k else name, SMALL, "normal", GREY)
                self._write(page, VALUES_AT, part, SMALL, "normal", "black")
                self._at -= LINE

    def pictures(self, count: int, height: float) -> list[Axes]:
        """Return places for pictures side by side, together as wide as the text."""
        page = self.need(height)
        self._at -= height
        width = (1 - 2 * MARGIN) / count
        return [
            page.add_axes((MARGIN + k * width, self._at + LINE, width - GAP, height - 2 * LINE))
            for k in range(count)
        ]

    def finish(self) -> None:
        """Put the page into the file."""
        if self._figure is None:
            return
        self._write(self._figure, MARGIN, self._foot, 7.0, "normal", GREY, at=0.04)
        self._write(
            self._figure, 1 - 2 * MARGIN, f"page {self._count}", 7.0, "normal", GREY, at=0.04
        )
        self._pages.savefig(self._figure)
        self._figure = None

    def _write(
        self,
        page: Figure,
        x: float,
        text: str,
        size: float,
        weight: str,
        color: str,
        at: float | None = None,
    ) -> None:
        y = self._at if at is None else at
        # A dollar sign would begin a formula.
        page.text(x, y, text, fontsize=size, weight=weight, color=color, va="top", parse_math=False)
