"""One scan's findings as JSON, CSV, HTML and masks."""
