"""Draw the pictures of docs/phantom.md: slices of one phantom and some nodules of another.

python scripts/draw_phantom.py docs/images
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from luna.phantom.config import NODULE_KINDS, PhantomConfig
from luna.phantom.phantom import Nodule, Phantom, make_scan

LUNG_WINDOW, SOFT_WINDOW = (-1350, 150), (-160, 240)
TILE_MM, TILE_PIXELS = 40, 150
QUALITY = 82


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    chest = make_scan(1, PhantomConfig(slice_mm=(1.25, 1.25), without_nodules=0))
    save(out / "phantom-slices.jpg", slices(chest))
    config = PhantomConfig(
        slice_mm=(1.0, 1.0), without_nodules=0, extra_nodules=22, kind_weights=(1, 1, 1, 1, 1),
        diameter_median_mm=9,
    )  # fmt: skip
    many = make_scan(4, config)
    chosen = [n for kind in NODULE_KINDS for n in many.nodules if n.kind == kind]
    chosen = [n for k, n in enumerate(chosen) if [m.kind for m in chosen[:k]].count(n.kind) < 2]
    save(out / "phantom-nodules.jpg", gallery(many, chosen))
    for nodule in chosen:
        print(nodule.kind, f"{nodule.diameter_mm:.1f} mm", "malignant" * nodule.malignant)


def slices(phantom: Phantom) -> np.ndarray:
    """Axial in both windows, coronal in the lung window, side by side."""
    hu, spacing = phantom.scan.hu, phantom.scan.geometry.spacing_irc
    axial = hu[int(0.55 * len(hu))]
    coronal = hu[::-1, int(0.52 * hu.shape[1])]
    height = round(coronal.shape[0] * spacing[0] / spacing[2])
    tall = Image.fromarray(window(coronal, LUNG_WINDOW)).resize((coronal.shape[1], height))
    parts = [window(axial, LUNG_WINDOW), window(axial, SOFT_WINDOW), np.array(tall)]
    rows = max(len(p) for p in parts)
    return np.hstack([np.pad(p, ((0, rows - len(p)), (0, 0))) for p in parts])


def gallery(phantom: Phantom, nodules: list[Nodule]) -> np.ndarray:
    """Axial squares around nodules, five in a row."""
    tiles = []
    spacing = phantom.scan.geometry.spacing_irc
    side = round(TILE_MM / spacing[1])
    for nodule in nodules:
        center = phantom.scan.geometry.irc_from_xyz(nodule.center_xyz)
        crop = phantom.scan.crop(center, (1, side, side))[0]
        image = Image.fromarray(window(crop, LUNG_WINDOW))
        tiles.append(np.array(image.resize((TILE_PIXELS, TILE_PIXELS), Image.Resampling.BICUBIC)))
    rows = [np.hstack(tiles[k : k + 5]) for k in range(0, len(tiles), 5)]
    return np.vstack([r for r in rows if r.shape == rows[0].shape])


def window(hu: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    """Grey values of a window (low, high) HU."""
    low, high = limits
    return np.rint(np.clip((hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def save(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
