"""The machine that luna runs on: its processors, memory and limits, and what it lacks."""
