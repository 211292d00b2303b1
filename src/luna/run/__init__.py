"""Errors, safe files, configuration, device and run record: what every storey stands on."""
