"""`python -m luna` is the `luna` command (torchrun starts it this way)."""

from luna.cli.app import main

main()
