"""Label volumes, written on the grid of the file that a scan came from."""

from __future__ import annotations

import errno
import gzip
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luna.ct.formats.nifti import DATA_OFFSET
from luna.ct.orient import to_stored_axes
from luna.ct.scan import Scan
from luna.run.errors import EnvironmentFault
from luna.run.files import replace_file

PIECE_BYTES = 2**20
VOXEL_BYTES = 2
"""Labels are stored as uint16."""


def write_labels(path: Path, labels: NDArray[np.integer] | NDArray[np.bool_], scan: Scan) -> None:
    """Write (index, row, column) labels as an image that overlays the scan's file.

    The axes are put back to the order and direction that the file stores, so both have the
    same voxels as well as the same place in the patient. Stored as uint16; the suffix of
    `path` (`.nii.gz`, `.nrrd`, `.mha`) decides the format. Raises EnvironmentFault when the
    file cannot be written whole.
    """
    if labels.shape != scan.hu.shape:
        raise ValueError(f"labels of shape {labels.shape} for a scan of {scan.hu.shape}")
    if labels.min() < 0 or labels.max() > np.iinfo(np.uint16).max:
        raise ValueError("labels must fit 16 bits")
    turned, geometry = to_stored_axes(labels, scan.geometry, scan.provenance.stored_orientation)
    # Any: ITK's setters carry no types.
    import SimpleITK as sitk  # slow to load, and needed last

    image: Any = sitk.GetImageFromArray(np.ascontiguousarray(turned, dtype=np.uint16))
    image.SetOrigin(geometry.origin_xyz)
    image.SetSpacing(geometry.spacing_xyz)
    image.SetDirection(geometry.direction)
    with replace_file(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise EnvironmentFault(
                "the label volume cannot be written", file=path, why=str(error).splitlines()[-1]
            ) from error
        if path.name.endswith((".nii", ".nii.gz")):
            _refuse_cut_off(temporary, DATA_OFFSET + image.GetNumberOfPixels() * VOXEL_BYTES)


def _refuse_cut_off(written: Path, wanted_bytes: int) -> None:
    """Raise OSError unless a file is whole: ITK's NIfTI writer is silent when the disk is full."""
    found_bytes = 0
    opened = gzip.open if written.suffix == ".gz" else open
    with opened(written, "rb") as stream, suppress(EOFError, gzip.BadGzipFile, zlib.error):
        while piece := stream.read(PIECE_BYTES):
            found_bytes += len(piece)
    if found_bytes != wanted_bytes:
        raise OSError(errno.ENOSPC, f"{found_bytes} of {wanted_bytes} bytes were written")
