"""matplotlib as luna draws with it: no windows, and the defaults whatever a user or folder sets.

A file `matplotlibrc` in the working folder would otherwise decide the resolution of plots, start
LaTeX, or end the import when it is no text. Modules that draw import matplotlib's names from here.
"""

from contextlib import chdir
from pathlib import Path

with chdir(Path(__file__).parent):  # the import reads a matplotlibrc of the working folder
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

mpl.rcdefaults()

__all__ = ["Axes", "Figure", "FigureCanvasAgg", "mpl"]
