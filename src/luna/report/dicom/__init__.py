"""One scan's findings as DICOM objects of the study that the scan is of."""
