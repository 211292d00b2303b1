"""Scoring of plain tables: numpy only, no torch, no SimpleITK."""
