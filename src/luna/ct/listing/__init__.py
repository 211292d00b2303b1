"""Find the scans in files and folders by their headers."""
