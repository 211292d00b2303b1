"""Findings and scores as JSON, CSV, HTML, masks and plots."""
