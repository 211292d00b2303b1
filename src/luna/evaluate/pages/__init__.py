"""The output of an evaluation for people: tables, plots, pictures and the page."""
