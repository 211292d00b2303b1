"""Marks the voxels of nodules: in the scan's own slices, as the book does, or on a grid in mm."""

from luna.detect.segment.slices import Place, probabilities, segment

__all__ = ["Place", "probabilities", "segment"]
