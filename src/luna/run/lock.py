"""A lock on an open file, which ends with the process that holds it."""

from __future__ import annotations

import errno
import os
import sys
import time

POLL_S = 0.1
"""How often Windows is asked again for a lock that another process holds."""

if sys.platform == "win32":
    import msvcrt

    PLACE = 1 << 30
    """The byte that is locked: far behind the text, as others cannot read a locked byte."""

    def lock_file(handle: int, *, wait: bool = False) -> None:
        """Lock an open file; `wait` until another process lets go, or raise BlockingIOError."""
        while True:
            os.lseek(handle, PLACE, os.SEEK_SET)
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
                return
            except PermissionError as error:
                if not wait:
                    raise BlockingIOError(errno.EAGAIN, str(error)) from error
            finally:
                os.lseek(handle, 0, os.SEEK_SET)
            time.sleep(POLL_S)

else:
    import fcntl

    def lock_file(handle: int, *, wait: bool = False) -> None:
        """Lock an open file; `wait` until another process lets go, or raise BlockingIOError."""
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
