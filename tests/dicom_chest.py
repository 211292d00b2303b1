"""Chests as DICOM files, as an archive would export them."""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from luna.ct.scan import Scan


def write_series(folder: Path, scan: Scan, uid: str, **tags: object) -> Path:
    """Write a scan slice by slice; `tags` change every slice, such as StudyInstanceUID."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, plane in enumerate(scan.hu):
        slice_of(scan, plane, uid, index, **tags).save_as(folder / f"{uid}-{index:03d}.dcm")
    return folder


def slice_of(scan: Scan, plane: np.ndarray, uid: str, index: int, **tags: object) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{uid}.{index + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID, ds.StudyInstanceUID = uid, f"{uid}.0"
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.PatientName, ds.PatientID, ds.SeriesDescription = "DOE^JANE", "4711", "Thorax"
    ds.SeriesNumber, ds.InstanceNumber = 1, index + 1
    x, y, z = scan.geometry.origin_xyz
    column_mm, row_mm, slice_mm = scan.geometry.spacing_xyz
    ds.ImagePositionPatient = [x, y, z + slice_mm * index]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [row_mm, column_mm], slice_mm
    ds.Rows, ds.Columns = plane.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    ds.PixelData = plane.astype("<i2").tobytes()
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds
