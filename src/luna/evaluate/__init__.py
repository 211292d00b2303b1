"""Cohorts and marks: run, score, pool, and show the result."""
