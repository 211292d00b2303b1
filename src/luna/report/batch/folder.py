"""The names in the folder of many reports."""

from __future__ import annotations

RECORD = "batch.json"
"""What the run was; a folder that holds it may be gone on with."""

PAGE, SUMMARY, TABLE = "index.html", "summary.json", "summary.csv"
