"""What a reader of an evaluation sees: tables, plots, pictures and the page."""
