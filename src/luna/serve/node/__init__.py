"""The DICOM node: studies come in from the hospital's network, and results go back."""
