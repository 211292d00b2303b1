"""Which scans lie in files and folders, found by their headers alone."""
