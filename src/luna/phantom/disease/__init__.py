"""Nodules and other disease of a phantom."""
