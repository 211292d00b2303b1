"""Errors, configuration, device, run record: what every storey stands on."""
