"""The lungs of a scan: where they are, their sides and lobes, and whether they are a chest's."""
