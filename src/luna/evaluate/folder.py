"""The folder of an evaluation: what is written there by name."""

from __future__ import annotations

from luna.evaluate.board import EVENTS, FILE
from luna.evaluate.folds import ANNOTATIONS, DETECTIONS, EXCLUDED, SERIES
from luna.evaluate.page import PAGE, PLOT_ALTS

CONCLUSIONS = (PAGE, "metrics.json", "froc.csv", "nodules.csv", *PLOT_ALTS, f"{EVENTS}/{FILE}")
"""What every evaluation may make; the page comes first, for it vouches for the others."""

ALL = (*CONCLUSIONS, DETECTIONS, SERIES, ANNOTATIONS, EXCLUDED)
"""The tables too that an evaluation of scans or folds makes."""
