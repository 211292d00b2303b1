"""Start the `luna` command: as a script, and as `python -m luna` for torchrun."""

from __future__ import annotations

import os
import signal
from typing import NoReturn


def main() -> NoReturn:
    """Load the command and run it; Ctrl-C ends it without a traceback from the first moment."""
    signal.signal(signal.SIGINT, lambda signum, frame: os._exit(128 + signum))
    from luna.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
