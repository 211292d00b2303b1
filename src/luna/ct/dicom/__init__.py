"""CT series from DICOM files: find the files, check and order the slices, read the pixels."""
