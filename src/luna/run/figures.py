"""matplotlib as luna uses it: no windows, and defaults that no user or folder changes.

A file `matplotlibrc` of the working folder or the user's would otherwise decide the resolution of
plots, start LaTeX, end the import when it is no text, or hold it for ever when it is a pipe.
Modules that draw import matplotlib's names from here.
"""

from contextlib import chdir
from pathlib import Path

with chdir(Path(__file__).parent):  # the import takes the first matplotlibrc: the one here
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

mpl.rcdefaults()

__all__ = ["Axes", "Figure", "FigureCanvasAgg", "mpl"]
