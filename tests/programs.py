"""Programs of the system that tests ask."""

import os
import shutil
from pathlib import Path


def program(name: str) -> str | None:
    """Return the path of a program outside of Python's environments, or None.

    An active environment puts pynetdicom's `storescu` before dcmtk's. Orthanc is in /usr/sbin,
    which is not on every user's PATH.
    """
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/sbin"]
    system = [folder for folder in folders if not (Path(folder) / "activate").is_file()]
    return shutil.which(name, path=os.pathsep.join(system))
