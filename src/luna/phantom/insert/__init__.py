"""Nodules of a phantom placed into real lungs."""
