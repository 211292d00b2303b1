"""The names in the folder of many reports."""

from __future__ import annotations

RECORD = "batch.json"
"""The record of the run; a folder with this file can be continued."""

PAGE, SUMMARY, TABLE = "index.html", "summary.json", "summary.csv"
