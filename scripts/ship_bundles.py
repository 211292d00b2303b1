"""Put trained bundles where luna ships them, with cards that say what they are.

python scripts/ship_bundles.py --validation CACHE --list FILE   series that validated
                                    --fold K                     …where fold K is the test
python scripts/ship_bundles.py --bundles FOLDER --ship FOLDER   bundles with their cards
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from luna.data.prepared import open_prepared
from luna.data.splits import SplitConfig
from luna.nets.bundle import Bundle, save_bundle
from luna.nets.models import load_models
from luna.train.recipes import split_of

NOTICE = (
    "These findings come from networks that were trained on synthetic scans only. They are for "
    "trying luna, never for patients."
)
TRAINING_DATA = (
    "120 synthetic scans of `luna phantom --seed 2001` with --config shipped-cohort; "
    "no patient. Every tenth scan chose the epoch, the temperature and the threshold."
)
LICENCE = "Apache-2.0"
DIAMETER_MM, SLICE_MM, PIXEL_MM = (3.2, 30.0), (0.6, 3.0), (0.5, 0.9)
"""What `luna phantom` draws with --config shipped-cohort."""
STRIDE = 10
"""Of the shipped configs and those of LUNA16."""
MOST_BYTES = 8 << 20


def list_validation(cache: Path, fold: int | None, path: Path) -> None:
    """The series that the configs' split keeps for validation, one UID a line."""
    config = SplitConfig(stride=STRIDE)
    if fold is not None:
        config = SplitConfig(method="folds", stride=STRIDE, test_fold=fold)
    series = split_of(open_prepared(cache), config).validation
    path.write_text("seriesuid\n" + "".join(f"{uid}\n" for uid in series), encoding="utf-8")


def ship(bundles: Path, out: Path) -> None:
    """A folder per role, whose card tells the origin; the sum of their sizes is bounded."""
    for bundle in load_models([bundles]).bundles():
        card = replace(
            bundle.card,
            name=f"luna-synthetic-{bundle.card.role}",
            training_data=TRAINING_DATA,
            licence=LICENCE,
            diameter_mm=DIAMETER_MM,
            slice_mm=SLICE_MM,
            pixel_mm=PIXEL_MM,
            notice=NOTICE,
            source="scripts/train_shipped.sh",
        )
        save_bundle(Bundle(card, bundle.module), out / bundle.card.role)
        print(f"{bundle.card.role}: {card.metrics}")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{size / 2**20:.2f} MiB in all")
    if size > MOST_BYTES:
        raise SystemExit(f"more than {MOST_BYTES >> 20} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--list", type=Path)
    parser.add_argument("--bundles", type=Path)
    parser.add_argument("--ship", type=Path)
    arguments = parser.parse_args()
    if arguments.validation:
        list_validation(arguments.validation, arguments.fold, arguments.list)
    if arguments.bundles:
        ship(arguments.bundles, arguments.ship)


if __name__ == "__main__":
    main()
