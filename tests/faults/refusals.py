"""What the test that is running saw refused; the command must refuse it, too."""

from pathlib import Path

seen: list[Path] = []
