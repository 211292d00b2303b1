"""Find lung nodules in chest CT scans, end to end."""

__version__ = "0.1.0"
