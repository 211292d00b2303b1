"""Errors, safe files, configuration, device and run record, used by every storey."""
