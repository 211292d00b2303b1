"""One network of the three on places or voxels that are known."""
