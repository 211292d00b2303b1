"""LUNA16 tables, nodule masks, phantoms and training samples."""
