"""Outlines from label volumes in files beside the scans: NIfTI, NRRD or MetaImage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from luna.ct.labels import read_labels
from luna.ct.read import scan_suffix
from luna.ct.scan import Scan
from luna.data.imports.outlines import Annotated, agreed, outlines_of
from luna.run.errors import InputError
from luna.run.notice import Notice

ENDING = re.compile(r"[._-](mask|masks|seg|segmentation|label|labels|nodules?|rad\d+|reader\d+)$")
"""What the name of a mask adds to that of its scan, once or several times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskFiles:
    """The masks of one scan; each file is a reader's."""

    paths: tuple[Path, ...]
    readers: int

    def annotate(self, scan: Scan) -> tuple[list[Annotated], int]:
        """Return the nodules that enough readers outlined, and how many others there are."""
        outlines = [
            o for path in self.paths for o in outlines_of(read_labels(path, scan), path.name)
        ]
        return agreed(outlines, scan, self.readers)


def find_masks(
    folder: Path, readers: int, names: Mapping[str, str]
) -> tuple[dict[str, MaskFiles], tuple[Notice, ...]]:
    """Find the masks of scans by their names; return them by series UID, and those of no scan.

    Raises InputError when no file in the folder is a mask of a scan.
    """
    files = [p for p in sorted(folder.rglob("*")) if scan_suffix(p) and not p.name.startswith(".")]
    found: dict[str, list[Path]] = {}
    lost = [path for path in files if not _add(found, path, names)]
    if not found:
        raise InputError(
            "no mask of a scan in this folder",
            file=folder,
            why=f"{len(files)} label volumes, none named like a scan",
            hint="name a mask like its scan, for instance CASE.nii.gz or CASE_mask.nrrd",
        )
    masks = {uid: MaskFiles(paths=tuple(paths), readers=readers) for uid, paths in found.items()}
    return masks, files_of_no_scan(folder, lost)


def files_of_no_scan(folder: Path, lost: list[Path]) -> tuple[Notice, ...]:
    """Return a notice of the files that belong to no scan; none when there are none."""
    if not lost:
        return ()
    shown = ", ".join(path.name for path in lost[:3]) + (", …" if len(lost) > 3 else "")
    return (Notice(what=f"{len(lost)} files belong to no scan: {shown}", file=folder.name),)


def _add(found: dict[str, list[Path]], path: Path, names: Mapping[str, str]) -> bool:
    stem = path.name[: -len(scan_suffix(path))]
    while stem not in names and (shorter := ENDING.sub("", stem, count=1)) != stem:
        stem = shorter
    if stem not in names:
        return False
    found.setdefault(names[stem], []).append(path)
    return True
