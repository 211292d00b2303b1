"""An empty plot, and a finished one as PNG bytes."""

from __future__ import annotations

import io
import textwrap

from luna.run.figures import Axes, Figure, FigureCanvasAgg

# Okabe & Ito 2008: told apart with every kind of colour vision, and in grey.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#777777"

SIZE_INCHES = (6.4, 5.4)
DPI = 130
FOOTER_CHARACTERS = 120


def canvas(title: str) -> tuple[Figure, Axes]:
    """Return an empty plot with its title."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=12)
    axes.grid(color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def unit_square(axes: Axes, x: str, y: str) -> None:
    """Label both axes, and set their range from 0 to 1."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def png(figure: Figure, note: str) -> bytes:
    """Return the figure as PNG, with a note below."""
    lines = "\n".join(textwrap.wrap(note, FOOTER_CHARACTERS))
    figure.supxlabel(lines, fontsize=7, color=GREY, ha="left", x=0.02, wrap=False)
    FigureCanvasAgg(figure)  # no pyplot: nothing global, and no display is looked for
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
