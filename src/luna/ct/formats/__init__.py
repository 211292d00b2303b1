"""CT volumes from single files: MetaImage, NIfTI and NRRD."""
