"""LUNA16 tables, nodule masks and training samples."""
